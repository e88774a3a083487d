"""Other people's attacks, run side by side with ours; one function a peer.

Each takes samples that the model gets right and returns candidates: mere claims, which
the benchmark judges in the same way as ours. Peers are optional; a missing one says so.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel

STEPS = 100
BATCH = 250
"""Samples at once, as the original AutoAttack has it; the others take the same."""

PGD_STEP = 2.5 / STEPS
"""Step size over epsilon.

Reference:
    Madry et al. Towards deep learning models resistant to adversarial attacks. 2018.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """What a peer is given: 4-D images in [0, 1] that the model gets right."""

    model: LoadedModel
    inputs: Tensor
    labels: Tensor
    threat: ThreatModel
    seed: int

    @property
    def word(self) -> str:
        """The norm as the peers call it."""
        return {Norm.L2: "L2", Norm.LINF: "Linf"}[self.threat.norm]


Peer = Callable[[Task], Tensor]


class Plain(nn.Module):
    """A loaded model as the plain module that peers want."""

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.logits = model.logits
        # Peers look for the device on a parameter.
        anchor = torch.zeros(1, dtype=model.dtype, device=model.device)
        self.anchor = nn.Parameter(anchor, requires_grad=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, K)``."""
        return self.logits(inputs)


def autoattack(task: Task) -> Tensor:
    """The original AutoAttack, standard version, as pyautoattack packs it."""
    package = importlib.import_module("pyautoattack")
    with _isolated(task):
        attack = package.AutoAttack(
            Plain(task.model).eval(),
            norm=task.word,
            eps=task.threat.epsilon,
            seed=task.seed,
            device=task.model.device,
        )
        found, _ = attack.run_standard_evaluation(
            task.inputs, task.labels, batch_size=BATCH
        )
        return found


def torchattacks_autoattack(task: Task) -> Tensor:
    """The AutoAttack of torchattacks, standard version."""
    package = importlib.import_module("torchattacks")
    return _in_batches(
        task,
        lambda model: package.AutoAttack(
            model,
            norm=task.word,
            eps=task.threat.epsilon,
            n_classes=task.model.classes,
            seed=task.seed,
        ),
    )


def torchattacks_pgd(task: Task) -> Tensor:
    """PGD of torchattacks, 100 steps from a random start."""
    package = importlib.import_module("torchattacks")
    epsilon = task.threat.epsilon
    kind = package.PGDL2 if task.threat.norm is Norm.L2 else package.PGD
    return _in_batches(
        task,
        lambda model: kind(model, eps=epsilon, alpha=PGD_STEP * epsilon, steps=STEPS),
    )


def foolbox_pgd(task: Task) -> Tensor:
    """PGD of foolbox, 100 steps from a random start."""
    kind = {Norm.L2: "L2PGD", Norm.LINF: "LinfPGD"}[task.threat.norm]
    return _foolbox(task, kind, rel_stepsize=PGD_STEP, steps=STEPS)


def foolbox_ddn(task: Task) -> Tensor:
    """DDN of foolbox, 100 steps; L2 alone."""
    return _foolbox(task, "DDNAttack", steps=STEPS)


def foolbox_fmn(task: Task) -> Tensor:
    """FMN of foolbox, 100 steps."""
    kind = {Norm.L2: "L2FMNAttack", Norm.LINF: "LInfFMNAttack"}[task.threat.norm]
    return _foolbox(task, kind, steps=STEPS)


PEERS: dict[str, Peer] = {
    "torchattacks PGD-100": torchattacks_pgd,
    "foolbox PGD-100": foolbox_pgd,
    "foolbox DDN-100": foolbox_ddn,
    "foolbox FMN-100": foolbox_fmn,
    "torchattacks AutoAttack": torchattacks_autoattack,
    "AutoAttack": autoattack,
}
"""Cheapest first, so that an early end loses least."""

PACKAGES = ("pyautoattack", "torchattacks", "foolbox", "eagerpy")


def refusal(name: str, norm: Norm) -> str:
    """Why the peer cannot run here; empty where it can."""
    if name == "foolbox DDN-100" and norm is not Norm.L2:
        return "it has no version for this norm"
    package = "pyautoattack" if name == "AutoAttack" else name.split()[0]
    try:
        _imported(package)
    except ImportError as error:
        return f"{package} cannot be imported ({error})"
    return ""


def _imported(package: str) -> types.ModuleType:
    if package == "foolbox" and "git" not in sys.modules and not find_spec("git"):
        # foolbox imports GitPython for its model zoo, which nobody enters here.
        stand_in = types.ModuleType("git")
        stand_in.Repo = type("Absent", (), {})
        sys.modules["git"] = stand_in
    return importlib.import_module(package)


def _foolbox(task: Task, kind: str, **settings: float) -> Tensor:
    package = _imported("foolbox")
    wrapped = package.PyTorchModel(
        Plain(task.model).eval(), bounds=(0.0, 1.0), device=task.model.device
    )
    attack = getattr(package.attacks, kind)(**settings)
    with _isolated(task):
        parts = [
            attack(wrapped, inputs, labels, epsilons=[task.threat.epsilon])[0][0]
            for inputs, labels in _batches(task)
        ]
    return torch.cat(parts)


def _in_batches(task: Task, make: Callable[[nn.Module], Callable[..., Tensor]]):
    with _isolated(task):
        attack = make(Plain(task.model).eval())
        return torch.cat([attack(x, y) for x, y in _batches(task)])


def _batches(task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    parts = zip(task.inputs.split(BATCH), task.labels.split(BATCH), strict=True)
    return iter(parts)


@contextmanager
def _isolated(task: Task) -> Iterator[None]:
    """The peers' global generator, seeded; what they print, unheard."""
    with torch.random.fork_rng(), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(task.seed)
        yield
