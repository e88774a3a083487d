"""One trial of the law that a certificate is never wrong, and what it found.

A certifier says within which balls a random net keeps its class. Then everything that
may disprove it is tried: the network over the reals must keep the class at every input
of the ball, and so must the float32 model that runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustcert.attacks.engine import run_attacks
from robustcert.attacks.verify import fooled, judged_margins
from robustcert.certify.interface import CertificationTask, Certifier
from robustcert.certify.logits import binary_as_pair
from robustcert.certify.registry import CERTIFIERS, DEAR
from robustcert.certify.rounding import float_slack
from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatSweep
from robustcert.tensors import box_diameter, lp_norms
from tests.laws.fuzz_nets import FuzzNet
from tests.laws.fuzz_points import Balls, crossings, tried

INSIDE = 1.0 - 1e-9
"""Inputs are looked for within this share of a radius: beyond it float64 cannot tell
whether they lie in the ball."""

SECONDS = 0.2
"""A sample, for certifiers that could go on for ever."""

STRONG = ("apgd-margin", "smooth-ascent", "fmn")
"""Attacks on the balls that the engine attacks. It adds others where it suspects that
gradients mislead, so a ball that holds takes seconds."""


@dataclass(slots=True)
class Tally:
    """What trials found.

    Attributes:
        nets: nets of which something was certified.
        refused: nets with a layer that the certifier has no rule for.
        points: balls of a positive radius that were certified.
        inputs: inputs tried in them.
        attacked: balls that were attacked by the engine as well.
        broken: certified and broken; a line each, that makes it again.
    """

    nets: int = 0
    refused: int = 0
    points: int = 0
    inputs: int = 0
    attacked: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Take in what other trials found."""
        self.nets += other.nets
        self.refused += other.refused
        self.points += other.points
        self.inputs += other.inputs
        self.attacked += other.attacked
        self.broken += other.broken


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Balls that a certifier is asked about.

    Attributes:
        task: N samples.
        radii: ``(N,)`` float64.
        widest: the box' diameter; no ball is larger.
    """

    task: CertificationTask
    radii: Tensor
    widest: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One certifier on one net.

    Attributes:
        net: random.
        certifier: its name in the registry.
        norm: of the radii.
        seed: of the samples and of the inputs tried.
        samples: certified together.
        attacked: balls, at most, that the engine attacks one by one.
    """

    net: FuzzNet
    certifier: str
    norm: Norm
    seed: int
    samples: int = 8
    attacked: int = 0

    def run(self) -> Tally:
        """Certify, then try to break what is certified."""
        generator = torch.Generator().manual_seed(self.seed)
        inputs = samples(self.net, self.samples, generator)
        task = task_for(self.net, inputs, self.norm)
        if not len(task):
            return Tally()
        try:
            certifier = CERTIFIERS[self.certifier](self.net.graph, self.norm)
            radii = certified(certifier, self, asked_about(self.net, task, inputs))
        except UnsupportedLayerError:
            return Tally(refused=1)
        rows = (radii > 0.0).nonzero().flatten()
        tally = Tally(nets=int(len(rows) > 0), points=len(rows))
        if len(rows):
            self._break(task.subset(rows), radii[rows], inputs, generator, tally)
        return tally

    def _break(
        self,
        task: CertificationTask,
        radii: Tensor,
        others: Tensor,
        generator: torch.Generator,
        tally: Tally,
    ) -> None:
        balls = Balls(
            self.net.graph, task.inputs, task.labels, radii * INSIDE, task.norm,
            task.box,
        )  # fmt: skip
        tally.inputs += self._judge(balls, tried(balls, generator), tally)
        tally.inputs += self._judge(balls, crossings(balls, others), tally)
        for row in range(min(self.attacked, len(radii))):
            tally.attacked += 1
            self._attack(balls, row, tally)

    def _judge(self, balls: Balls, tries: Iterable[Tensor], tally: Tally) -> int:
        count = 0
        for points in tries:
            count += len(points)
            for what, wrong in (
                ("network", _broken_network(balls, points)),
                ("model", _broken_model(self.net, balls, points)),
            ):
                for row in wrong.nonzero().flatten().tolist():
                    line = self._line(what, balls, row)
                    if line not in tally.broken:
                        tally.broken.append(line)
        return count

    def _attack(self, balls: Balls, row: int, tally: Tally) -> None:
        """The engine, on one ball alone, at its own radius."""
        radius = balls.radii[row].item()
        found = run_attacks(
            self.net.model,
            balls.centres[row : row + 1],
            balls.labels[row : row + 1],
            ThreatSweep(balls.norm, (radius,), balls.box),
            STRONG,
            graph=self.net.graph,
        )
        if any(example.distance <= radius for example in found.examples):
            tally.broken.append(self._line("attack", balls, row))

    def _line(self, what: str, balls: Balls, row: int) -> str:
        return (
            f"{what}: {self.certifier}, {self.norm.word}, net {self.net.name}, seed "
            f"{self.seed}, radius {balls.radii[row].item()!r}, centre "
            f"{balls.centres[row].flatten().tolist()}"
        )


def samples(net: FuzzNet, count: int, generator: torch.Generator) -> Tensor:
    """Inputs ``(count, *shape)`` that float32 can hold.

    Some are corners of the box, some lie close to another class.
    """
    box, shape = net.box, net.graph.input_shape
    unit = torch.rand(count, *shape, generator=generator)
    unit[::4] = unit[::4].round()
    unit[1::4] = (unit[1::4] * 4.0).round() / 4.0
    inputs = (box.low + box.width * unit).double()
    labels = _labels(net, inputs)
    balls = Balls(net.graph, inputs, labels, torch.ones(count), Norm.L2, box)
    near = next(crossings(balls, inputs[-1:]))
    share = 10.0 ** -(6.0 * torch.rand(1, generator=generator).item())
    inputs[2::4] = torch.lerp(near, inputs, share)[2::4]
    return inputs.float().clamp(box.low, box.high).double()


def task_for(net: FuzzNet, inputs: Tensor, norm: Norm) -> CertificationTask:
    """What the product would certify: the samples that the model gets right."""
    labels = _labels(net, inputs)
    with torch.no_grad():
        exact = binary_as_pair(run(net.graph, inputs))
        slack = float_slack(exact, net.model.logits(inputs))
    task = CertificationTask(net.graph, inputs, labels, norm, net.box, slack)
    return task.subset(judged_margins(net.model, inputs, labels) > 0.0)


def certified(certifier: Certifier, trial: Trial, asked: Asked) -> Tensor:
    """The largest radius ``(N,)`` that is claimed; 0 for none.

    Certifiers that are dear are asked for verdicts alone.
    """
    radii = torch.zeros_like(asked.radii)
    with torch.no_grad():
        proved = certifier.prove(asked.task, asked.radii, SECONDS).proved
        if trial.certifier not in DEAR:
            radii = certifier.radii(asked.task, torch.full_like(radii, asked.widest))
    return radii.maximum(asked.radii.where(proved, torch.zeros_like(radii)))


def asked_about(net: FuzzNet, task: CertificationTask, others: Tensor) -> Asked:
    """Radii from far below to just above the distance to another class.

    Args:
        net: random.
        task: N samples.
        others: ``(M, *shape)`` float64: the ways to these are searched.
    """
    widest = box_diameter(task.box, task.inputs[0].numel(), task.norm)
    near = torch.full_like(task.slack, widest)
    balls = Balls(net.graph, task.inputs, task.labels, near, task.norm, task.box)
    for points in crossings(balls, others):
        far = lp_norms(points - task.inputs, task.norm)
        near = near.minimum(far.where(balls.margins(points) <= 0.0, near))
    shares = torch.linspace(-1.5, 0.05, len(task), dtype=torch.float64)
    return Asked(task, near * 10.0**shares, widest)


def _labels(net: FuzzNet, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return net.model.logits(inputs).argmax(dim=1)


def _broken_network(balls: Balls, points: Tensor) -> Tensor:
    distances = lp_norms(points - balls.centres, balls.norm)
    with torch.no_grad():
        return (balls.margins(points) < 0.0) & (distances <= balls.radii)


def _broken_model(net: FuzzNet, balls: Balls, points: Tensor) -> Tensor:
    """As float32 stores them; those that rounding took out of the ball do not count."""
    stored = points.float()
    distances = lp_norms(stored.double() - balls.centres, balls.norm)
    inside = (stored >= balls.box.low) & (stored <= balls.box.high)
    counts = inside.flatten(1).all(dim=1) & (distances <= balls.radii)
    return fooled(net.model, stored, balls.labels) & counts
