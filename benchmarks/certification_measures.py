"""How one row of the benchmark of certificates is measured.

Seconds are the process's own. What a certifier suspects is judged on the model itself,
as any candidate of an attack.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.certification_lines import JointLine, Line, RatioLine
from benchmarks.certification_peers import PEERS
from benchmarks.peer_task import PeerTask
from robustcert.attacks.engine import run_attacks
from robustcert.attacks.ensemble import tier_rungs
from robustcert.attacks.verify import verify
from robustcert.certify.interface import CertificationTask, Certifier
from robustcert.certify.radius import searched
from robustcert.certify.registry import CERTIFIERS
from robustcert.evaluation.load import load_model
from robustcert.evaluation.subject import Subject, prepare, read_model
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples, load_samples
from robustcert.results.effort import Tier
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, ThreatModel, ThreatSweep

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
SEED = 0
BATCH = 256
"""Samples that a certifier is given at once, as in an evaluation."""

FIRST, LAST = "crown", "branch-and-bound"
"""Of the certifiers that settle a sample together, with attacks in between."""

MINIMAL = ("fmn", "fmn-smooth", "fab-t", "margin-ascent")
"""Attacks whose smallest perturbation is the adversarial distance."""

SETTLED = "settled"
"""All of :data:`TURNS`, one after another."""

TURNS = ((FIRST, 14, math.inf), ("alpha-crown", 6, math.inf), (LAST, 5, 2.0))
"""Certifiers that find a radius together: judgements, and seconds for each."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """A model with its graph and samples.

    Attributes:
        subject: model, graph and samples.
        seconds: a sample, for certifiers that could go on for ever.
    """

    subject: Subject
    seconds: float

    @property
    def right(self) -> Tensor:
        """Positions of the samples that the model gets right."""
        return self.subject.right.nonzero().flatten()

    def task(self, norm: Norm, rows: Tensor) -> CertificationTask:
        """The samples at ``rows``."""
        subject = self.subject
        whole = CertificationTask(
            subject.read.graph, subject.samples.inputs.double(),
            subject.samples.labels, norm, subject.box, subject.slack,
        )  # fmt: skip
        return whole.subset(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What is known of N samples at one radius."""

    proved: Tensor
    broken: Tensor

    @property
    def left(self) -> Tensor:
        """Positions of those that are neither."""
        return (~(self.proved | self.broken)).nonzero().flatten()


def loaded(model: str, samples: str, count: int, seconds: float) -> Bench:
    """A model of the folder of trained models, with its first samples."""
    given = load_samples(str(DATA / "samples" / f"{samples}.npz")).first(count)
    found = [DATA / "models" / f"{model}{end}" for end in (".ts.pt", ".onnx")]
    data = next(path for path in found if path.is_file()).read_bytes()
    net = load_model(data, sample_shape=tuple(given.inputs.shape[1:]))
    return bench_of(net, given, seconds)


def bench_of(model: LoadedModel, samples: Samples, seconds: float) -> Bench:
    """Samples are laid out as the model takes them; their numbers stay the same."""
    inputs = samples.inputs.reshape(-1, *model.input_shape)
    fitting = Samples(inputs, samples.labels, samples.name, samples.sha256)
    return Bench(prepare(read_model(model), fitting, UNIT_BOX), seconds)


def certified_share(bench: Bench, line: Line, method: str) -> Row:
    """One certifier alone: what it proves, and which of its suspects are right."""
    started = time.process_time()
    certifier = CERTIFIERS[method](bench.subject.read.graph, line.norm)
    prepared = time.process_time() - started
    found = judged(bench, certifier, line, bench.right)
    spent = time.process_time() - started - prepared
    return {**share(bench, found, spent), "prepare_seconds": prepared}


def attacked_share(bench: Bench, line: Line) -> Row:
    """The standard tier alone: what it leaves is an upper bound of the truth."""
    started = time.process_time()
    rows = bench.right
    broken = attacked(bench, line, rows, Tier.STANDARD)
    return share(bench, Verdicts(torch.zeros_like(broken), broken), _since(started))


def settled_share(bench: Bench, line: Line) -> Row:
    """Cheap bounds, a quick attack on what is left, then branch and bound."""
    started = time.process_time()
    rows, graph = bench.right, bench.subject.read.graph
    found = judged(bench, CERTIFIERS[FIRST](graph, line.norm), line, rows)
    found.broken[found.left] = attacked(bench, line, rows[found.left], Tier.QUICK)
    left = found.left
    last = judged(bench, CERTIFIERS[LAST](graph, line.norm), line, rows[left])
    found.proved[left], found.broken[left] = last.proved, last.broken
    return share(bench, found, _since(started))


def peer_share(bench: Bench, line: Line, name: str) -> Row:
    """What a peer calls certified."""
    task = peer_task(bench, line)
    started = time.process_time()
    proved = PEERS[name].certified(task)
    found = Verdicts(proved, torch.zeros_like(proved))
    return share(bench, found, _since(started))


def peer_task(bench: Bench, line: Line) -> PeerTask:
    """The samples that the model gets right."""
    task = bench.task(line.norm, bench.right)
    return PeerTask(
        task.graph, task.inputs, task.labels, task.norm, line.epsilon, task.box
    )


def judged(bench: Bench, certifier: Certifier, line: Line, rows: Tensor) -> Verdicts:
    """A certifier's proofs and its suspects, verified on the model."""
    nothing = torch.zeros(len(rows), dtype=torch.bool)
    found = Verdicts(nothing.clone(), nothing.clone())
    for start, task in _batches(bench.task(line.norm, rows)):
        radii = torch.full_like(task.slack, line.epsilon)
        with torch.no_grad():
            proof = certifier.prove(task, radii, bench.seconds)
        found.proved[start : start + len(task)] = proof.proved
        for row, suspect in proof.suspects.items():
            found.broken[start + row] = _is_broken(bench, task, line, row, suspect)
    if (found.proved & found.broken).any():
        raise ArithmeticError(f"{line.name}: certified and broken")
    return found


def attacked(bench: Bench, line: Line, rows: Tensor, tier: Tier) -> Tensor:
    """``(N,)`` bool: which samples the tier breaks."""
    broken = torch.zeros(len(rows), dtype=torch.bool)
    if not len(rows):
        return broken
    subject = bench.subject
    found = run_attacks(
        subject.read.model,
        subject.samples.inputs[rows],
        subject.samples.labels[rows],
        ThreatSweep(line.norm, (line.epsilon,), subject.box),
        tier_rungs(tier, line.norm, subject.read.model.classes),
        seed=SEED,
        graph=subject.read.graph,
    )
    broken[list(found.adversarial)] = True
    return broken


def share(bench: Bench, found: Verdicts, seconds: float) -> Row:
    """Shares of all samples, those that the model gets wrong included."""
    count, rows = len(bench.subject.samples), bench.right
    return {
        "clean": len(rows) / count,
        "certified": int(found.proved.sum()) / count,
        "broken": int(found.broken.sum()) / count,
        "open": len(found.left) / count,
        "proved_rows": rows[found.proved].tolist(),
        "broken_rows": rows[found.broken].tolist(),
        "cpu_seconds": seconds,
        "seconds_a_sample": seconds / count,
    }


def distances(bench: Bench, line: RatioLine) -> Row:
    """The smallest adversarial perturbation of the first samples that are right."""
    started, subject = time.process_time(), bench.subject
    rows = bench.right[: line.count]
    found = run_attacks(
        subject.read.model,
        subject.samples.inputs[rows],
        subject.samples.labels[rows],
        ThreatSweep(line.norm, (line.reach,), subject.box),
        MINIMAL,
        seed=SEED,
        graph=subject.read.graph,
    )
    known = {example.index: example.distance for example in found.examples}
    return {
        "rows": rows.tolist(),
        "distances": [known.get(place) for place in range(len(rows))],
        "cpu_seconds": _since(started),
    }


def ratio(bench: Bench, line: RatioLine, method: str, reached: Row) -> Row:
    """Median of adversarial distance over certified radius."""
    rows = torch.tensor(reached["rows"])
    most = torch.tensor(
        [line.reach if far is None else far for far in reached["distances"]],
        dtype=torch.float64,
    )
    started = time.process_time()
    with torch.no_grad():
        radii = _radii(bench, line, method, rows, most)
    spent = _since(started)
    if (radii > most).any():
        raise ArithmeticError(f"{line.name}: {method} certifies beyond the distance")
    ratios = most / radii
    return {
        "median_ratio": ratios.median().item(),
        "uncertified": int((radii == 0.0).sum()),
        "radii": radii.tolist(),
        "cpu_seconds": spent,
        "seconds_a_sample": spent / len(rows),
    }


def _radii(
    bench: Bench, line: RatioLine, method: str, rows: Tensor, most: Tensor
) -> Tensor:
    task, graph = bench.task(line.norm, rows), bench.subject.read.graph
    if method != SETTLED:
        certifier = CERTIFIERS[method](graph, line.norm)
        parts = _batches(task)
        return torch.cat([certifier.radii(t, most[i : i + len(t)]) for i, t in parts])
    known = torch.zeros_like(most)
    for name, steps, seconds in TURNS:
        certifier = CERTIFIERS[name](graph, line.norm)
        prove = partial(certifier.prove, seconds=seconds)
        known = searched(prove, task, known, most, steps)
    return known


def joint(bench: Bench, line: JointLine, method: str, reference: Row | None) -> Row:
    """Certificates first, then the standard tier on what is left.

    Args:
        bench: model and samples.
        line: the threat.
        method: the certifier.
        reference: the original AutoAttack's row on the same samples.
    """
    plain = Line(line.model, line.samples, line.norm, line.epsilon, line.count)
    certifier = certified_share(bench, plain, method)
    proved = torch.zeros(len(bench.subject.samples), dtype=torch.bool)
    proved[certifier["proved_rows"]] = True
    rows = bench.right[~proved[bench.right]]
    started = time.process_time()
    broken = int(attacked(bench, plain, rows, Tier.STANDARD).sum())
    spent = _since(started)
    total = certifier["cpu_seconds"] + certifier["prepare_seconds"] + spent
    cost = None if reference is None else total / reference["cpu_seconds"]
    return {
        "certified": certifier["certified"],
        "robust": (len(bench.right) - broken) / len(proved),
        "certify_seconds": total - spent,
        "attack_seconds": spent,
        "cpu_seconds": total,
        "reference_seconds": reference and reference["cpu_seconds"],
        "reference_robust": reference and reference["robust"],
        "cost": cost,
    }


def instances() -> list[Row]:
    """The verification instances, as the folder of samples states them."""
    return json.loads((DATA / "samples" / "mnistfc_instances.json").read_text())


def settled_instance(bench: Bench, instance: Row) -> Row:
    """One instance: certified, broken or open, and whether that is what is known."""
    row = instance["mnist_test_index"]
    line = Line(instance["model"], "", Norm.LINF, instance["epsilon"], 1)
    started, wall = time.process_time(), time.perf_counter()
    certifier = CERTIFIERS[LAST](bench.subject.read.graph, line.norm)
    found = judged(bench, certifier, line, torch.tensor([row]))
    verdict = {(True, False): True, (False, True): False}.get(
        (found.proved.item(), found.broken.item())
    )
    return {
        **instance,
        "verdict": verdict,
        "outcome": outcome(instance["robust"], verdict),
        "cpu_seconds": _since(started),
        "wall_seconds": time.perf_counter() - wall,
    }


def outcome(known: bool | None, verdict: bool | None) -> str:  # noqa: FBT001 - verdicts
    """``alike``, ``wrong``, ``open``, or ``new`` where none was known."""
    if verdict is None:
        return "open"
    if known is None:
        return "new"
    return "alike" if verdict == known else "wrong"


def _is_broken(
    bench: Bench, task: CertificationTask, line: Line, row: int, suspect: Tensor
) -> bool:
    alone = slice(row, row + 1)
    threat = ThreatModel(line.norm, line.epsilon, task.box)
    judgement = verify(
        bench.subject.read.model, suspect[None], task.inputs[alone],
        task.labels[alone], threat,
    )  # fmt: skip
    return bool(judgement.passed.item())


def _batches(task: CertificationTask) -> Iterator[tuple[int, CertificationTask]]:
    for start in range(0, len(task), BATCH):
        yield start, task.rows(start, start + BATCH)


def _since(started: float) -> float:
    return time.process_time() - started
