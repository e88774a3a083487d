"""The rows of the catalogue that climb."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustcert.attacks.ascent.aims import Towards, entropy, margin
from robustcert.attacks.ascent.climb import Course, climb
from robustcert.attacks.ascent.hunt import Hunt
from robustcert.attacks.ascent.schedule import Geometric
from robustcert.attacks.ascent.starts import at_random
from robustcert.attacks.interface import Attack, Target, lacks_norm
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import ThreatModel


@dataclass(frozen=True, slots=True)
class Ascent:
    """Courses in order, each on what those before it left.

    Attributes:
        name: in the catalogue.
        courses: at least one.
        norms: the norms it can attack in.
        minimal: whether one run serves every epsilon.
    """

    name: str
    courses: tuple[Course, ...]
    norms: frozenset[Norm] = frozenset(THREAT_NORMS)
    minimal: bool = False

    def refusal(self, _: LoadedModel, threat: ThreatModel) -> str | None:
        """Why it cannot run here, ``None`` where it can."""
        return lacks_norm(self, threat)

    def perturb(self, target: Target) -> Tensor:
        """The best iterates ``(N, *input_shape)``, inside ball and box."""
        threat = target.threat
        if threat.epsilon == 0.0 or threat.box.width == 0.0 or not len(target.inputs):
            return target.inputs.clone()
        hunt = Hunt(target)
        for course in self.courses:
            climb(hunt, course)
        return hunt.points


_BLUNT = Geometric(5.0, 200.0)
"""Begins blunt enough to lead out of regions where units are dead."""

_SHARP = Geometric(10.0, 1000.0)
"""Ends so close to the model that its last steps are the model's."""

_SMOOTH = (
    Course(margin, 20, sharpness=_BLUNT),
    Course(margin, 30, sharpness=_SHARP),
    Course(margin, 20, (at_random,), _BLUNT),
)


def _targeted(first: int, last: int) -> tuple[Course, Course]:
    """Towards the classes of these ranks, on the model and then on its twin."""
    classes = Towards(first, last)
    return (
        Course(classes, 20),
        Course(classes, 20, sharpness=_BLUNT),
    )


LIKELY = 3
"""Classes that most targeted finds are among."""

TARGETS = 9
"""AutoAttack's APGD-T aims at as many."""

ROWS: dict[str, Attack] = {
    row.name: row
    for row in (
        Ascent("margin-ascent", (Course(margin, 20),)),
        Ascent("ce-ascent", (Course(entropy, 20),)),
        Ascent("smooth-ascent", _SMOOTH),
        Ascent("targeted-ascent-short", _targeted(0, LIKELY)[:1]),
        Ascent("targeted-ascent", _targeted(0, LIKELY)),
        Ascent("targeted-ascent-wide", _targeted(LIKELY, TARGETS)),
    )
}
