"""The attacks of torchattacks 3.5.1, through one door.

The library is a guest: it knows 4-D images in [0, 1] only, reseeds the global
generators, prints, and leaves gradients in parameters. It sees a
:class:`~robustcert.attacks.guest_model.GuestModel` inside a
:func:`~robustcert.attacks.quarantine.quarantine`, and what it returns is a claim.

Reference:
    Kim. Torchattacks: A PyTorch repository for adversarial attacks. 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor

from robustcert.attacks.guest_model import (
    GuestModel,
    Layout,
    LogitMap,
    as_they_are,
)
from robustcert.attacks.interface import Target, lacks_norm
from robustcert.attacks.quarantine import quarantine
from robustcert.attacks.requirements import Requirement
from robustcert.errors import UsageError
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel


@dataclass(frozen=True, slots=True)
class Setting:
    """What the arguments of a guest are derived from.

    Attributes:
        epsilon: radius in units of the unit box, above 0.
        norm: of the threat model.
        classes: K >= 2.
        size: number of coordinates of an input.
        seed: of every random step.
    """

    epsilon: float
    norm: Norm
    classes: int
    size: int
    seed: int

    @property
    def word(self) -> str:
        """The guest's name of the norm."""
        return {Norm.L2: "L2", Norm.LINF: "Linf"}[self.norm]


Options = Callable[[Setting], dict[str, Any]]


def _as_built(guest: Any) -> None:  # noqa: ANN401 - torchattacks ships no types
    """Leave the guest as its constructor made it."""


@dataclass(frozen=True, slots=True)
class GuestAttack:
    """One attack of torchattacks.

    Attributes:
        name: in the catalogue.
        guest: the class's name in torchattacks.
        norms: the norms it can attack in.
        options: the guest's arguments.
        minimal: whether one run serves every epsilon.
        requirements: each says why a model is refused, or ``None``.
        logit_map: applied to the logits before the guest sees them.
        inset: how far from the box's faces samples are handed over, in units of the
            unit box, for guests that cannot move a coordinate away from a face.
        prepare: called on the guest once it is built.
    """

    name: str
    guest: str
    norms: frozenset[Norm]
    options: Options
    minimal: bool = False
    requirements: tuple[Requirement, ...] = ()
    logit_map: LogitMap = as_they_are
    inset: float = 0.0
    prepare: Callable[[Any], None] = _as_built

    def refusal(self, model: LoadedModel, threat: ThreatModel) -> str | None:
        """Why the attack cannot run here, ``None`` where it can."""
        if lack := lacks_norm(self, threat):
            return lack
        reasons = (requirement(model) for requirement in self.requirements)
        return next((reason for reason in reasons if reason), None)

    def perturb(self, target: Target) -> Tensor:
        """Candidates ``(N, *input_shape)`` float64, in the box.

        Raises:
            UsageError: torchattacks is not installed.
        """
        threat = target.threat
        if threat.epsilon == 0.0 or threat.box.width == 0.0 or not len(target.inputs):
            return target.inputs.clone()
        library = torchattacks_library()
        layout = Layout(target.model.input_shape, threat.box)
        with quarantine(target.seed):
            model = GuestModel(target, layout, self.logit_map)
            guest = getattr(library, self.guest)(
                model, **self.options(_setting(target, layout))
            )
            self.prepare(guest)
            start = model.start.clamp(self.inset, 1.0 - self.inset)
            last = guest(start, target.labels.clone()).detach()
            last = last.where(last.isfinite(), model.start)
            return layout.from_picture(last if self.minimal else model.best_of(last))


def _setting(target: Target, layout: Layout) -> Setting:
    return Setting(
        target.threat.epsilon / layout.box.width,
        target.threat.norm,
        target.model.classes,
        layout.size,
        target.seed,
    )


def torchattacks_library() -> ModuleType:
    """The library, imported when it is first needed because it is optional.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import torchattacks
    except ImportError as error:
        raise UsageError(
            f"the attacks need torchattacks, which cannot be imported ({error})",
            remedy="Install it: pip install robustcert[attacks].",
        ) from error
    library: ModuleType = torchattacks
    return library
