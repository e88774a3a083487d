"""Show balls to certifiers, and keep account of what that costs and yields."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustcert.certify.interface import CertificationTask, Certifier, Proof
from robustcert.certify.registry import TIMED
from robustcert.errors import UnsupportedLayerError
from robustcert.evaluation.account import Account
from robustcert.evaluation.certifiers import ReadyCertifiers, refusal
from robustcert.evaluation.standing import Standing
from robustcert.evaluation.subject import Subject
from robustcert.evaluation.suspects import verified_examples
from robustcert.results.certificate import CertifierRun
from robustcert.results.progress import Listener, Progress
from robustcert.results.report import Finding

CHUNK = 32
"""Samples that a certifier is shown at once."""

BEAT = 60.0
"""Fewer, where so many could keep a certifier busy for longer than these seconds."""


@dataclass(slots=True, eq=False)
class Bench:
    """The certifiers at work on the samples of one shard.

    Attributes:
        subject: the model and all samples.
        task: the shard's samples.
        start: index of the first of them.
        standing: what is known about them; suspects that stand up go there.
        ready: certifiers by name; one that refuses leaves.
        listener: hears of every chunk.
        left: ``(N,)`` seconds that each sample may still cost.
        findings: certifiers that refused.
        granted: seconds that each could cost at first.
        portion: of what is left to a sample, for one ball.
        late: positions that some certifier was not shown for want of time.
        accounts: by certifier that was shown something.
    """

    subject: Subject
    task: CertificationTask
    start: int
    standing: Standing
    ready: dict[str, Certifier]
    listener: Listener
    left: Tensor
    findings: list[Finding]
    granted: float = math.inf
    portion: float = 1.0
    late: set[int] = field(default_factory=set)
    accounts: dict[str, Account] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The certifiers that are left, cheapest first."""
        return tuple(self.ready)

    @property
    def runs(self) -> tuple[CertifierRun, ...]:
        """What each certifier cost and yielded."""
        accounts = self.accounts.items()
        return tuple(one.as_run(name) for name, one in accounts if one.balls)

    def account(self, name: str) -> Account:
        """The account of a certifier, opened at its first use."""
        if name not in self.accounts:
            never = torch.full_like(self.left, math.inf)
            self.accounts[name] = Account(never, name in TIMED)
        return self.accounts[name]

    def grant(self, seconds: float, portion: float = 1.0) -> None:
        """Every sample may cost so many seconds from now on, a portion of them a ball.

        The portion is of what is left at the time.
        """
        self.left = torch.full_like(self.left, seconds)
        self.granted, self.portion = seconds, portion
        self.late = set()

    def judge(self, name: str, rows: Tensor, radii: Tensor, stage: str) -> Tensor:
        """``(M,)`` bool: whether a certifier proves the balls around ``rows``.

        It is not shown balls that hold one at which it failed, nor samples whose time
        is up or would not suffice; about those it proves nothing.

        Args:
            name: of the certifier.
            rows: ``(M,)`` positions in the shard.
            radii: ``(M,)`` float64, in input units.
            stage: what a listener is told.
        """
        proved = torch.zeros(len(rows), dtype=torch.bool)
        account = self.account(name)
        places, done = (radii < account.failed[rows]).nonzero().flatten(), 0
        while done < len(places) and name in self.ready:
            chunk = places[done : done + self._size(name, rows[places[done:]])]
            done += len(chunk)
            left = self.left[rows[chunk]]
            able = (left > 0.0) & (left >= account.expected)
            self.late.update(rows[chunk[~able]].tolist())
            part = chunk[able]
            if len(part):
                proved[part] = self._judge(name, rows[part], radii[part])
                note = f"{int(proved.sum())} of {done} proved"
                self.listener(Progress(stage, done, len(places), note))
        return proved

    def confirms(self, name: str, row: int, radius: float) -> bool:
        """Whether a certifier proves one ball in a batch of one; costs no time."""
        if name not in self.ready:
            return False
        alone = torch.tensor([radius], dtype=torch.float64)
        proof = self._proof(name, torch.tensor([row]), alone, self.granted)
        return bool(proof.proved.item())

    def radii_at_once(self, name: str, rows: Tensor) -> Tensor:
        """Certified radii ``(M,)`` of ``rows`` by a certifier that has them at once."""
        endless = torch.full((len(rows),), math.inf, dtype=torch.float64)
        account, began = self.account(name), time.perf_counter()
        try:
            radii = self.ready[name].radii(self.task.subset(rows), endless)
        except UnsupportedLayerError as error:
            self._dismiss(name, error)
            return torch.zeros_like(endless)
        account.charge(rows, time.perf_counter() - began)
        account.proved += int((radii > 0.0).sum())
        return radii

    def _size(self, name: str, rows: Tensor) -> int:
        """How many of ``rows`` are shown next: one, to see how long it takes."""
        longest = float(self.left[rows].max())
        if not self.account(name).balls and math.isfinite(longest):
            return 1
        return max(1, int(min(CHUNK, BEAT / max(longest, 1.0))))

    def _judge(self, name: str, rows: Tensor, radii: Tensor) -> Tensor:
        account, before = self.account(name), self.account(name).seconds
        given = float(self.left[rows].min()) * self.portion
        proof = self._proof(name, rows, radii, given)
        spent = (account.seconds - before) / len(rows)
        lost = ~proof.proved
        self.left[rows] -= spent
        if account.timed:  # what it leaves open has had all that it was given
            undone = lost.clone()
            undone[list(proof.suspects)] = False
            self.left[rows[undone]] -= max(given - spent, 0.0)
        account.failed[rows[lost]] = account.failed[rows[lost]].minimum(radii[lost])
        return proof.proved

    def _proof(self, name: str, rows: Tensor, radii: Tensor, seconds: float) -> Proof:
        """What a certifier says; nothing where it refuses."""
        account, began = self.account(name), time.perf_counter()
        try:
            proof = self.ready[name].prove(self.task.subset(rows), radii, seconds)
        except UnsupportedLayerError as error:
            self._dismiss(name, error)
            return Proof(torch.zeros(len(rows), dtype=torch.bool))
        self._follow(name, rows, radii, proof)
        account.charge(rows, time.perf_counter() - began)
        account.proved += int(proof.proved.sum())
        return proof

    def _dismiss(self, name: str, error: UnsupportedLayerError) -> None:
        del self.ready[name]
        self.findings.append(refusal(name, error))

    def _follow(self, name: str, rows: Tensor, radii: Tensor, proof: Proof) -> None:
        """Verify the suspects; those that stand up break their samples."""
        if not proof.suspects:
            return
        balls = {
            self.start + int(rows[place]): (float(radii[place]), suspect)
            for place, suspect in proof.suspects.items()
        }
        found = verified_examples(self.subject, self.task.norm, balls, name)
        examples = [replace(one, index=one.index - self.start) for one in found]
        account = self.account(name)
        account.unverified += len(balls) - len(examples)
        account.broken.update(
            one.index
            for one in examples
            if math.isinf(self.standing.distance[one.index])
        )
        self.standing.break_by(examples)


def bench(
    subject: Subject,
    certifiers: ReadyCertifiers,
    standing: Standing,
    start: int,
    listener: Listener,
) -> Bench | None:
    """The certifiers before the samples from ``start`` on; ``None`` without a graph."""
    graph, stop = subject.read.graph, start + len(standing)
    if graph is None:
        return None
    task = CertificationTask(
        graph,
        subject.samples.inputs[start:stop].double().cpu(),
        subject.samples.labels[start:stop].cpu(),
        certifiers.norm,
        subject.box,
        subject.slack[start:stop],
    )
    return Bench(
        subject,
        task,
        start,
        standing,
        dict(certifiers.ready),
        listener,
        torch.full_like(standing.radius, math.inf),
        list(certifiers.refused),
    )
