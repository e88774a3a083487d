"""What a certifier suspects, judged on the model like any other candidate."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from robustcert.attacks.verify import shrink, verify
from robustcert.evaluation.subject import Subject
from robustcert.results.attack import AdversarialExample
from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel


def verified_examples(
    subject: Subject,
    norm: Norm,
    balls: Mapping[int, tuple[float, Tensor]],
    certifier: str,
) -> list[AdversarialExample]:
    """An example of each suspect that stands up, shrunk towards its sample.

    Args:
        subject: the model and its samples.
        norm: of the balls.
        balls: by index in the sample set, the ball's radius and the suspect
            ``(*shape)``.
        certifier: name of the finder.
    """
    examples: list[AdversarialExample] = []
    for index, (radius, suspect) in balls.items():
        device = subject.read.model.device
        centre = subject.samples.inputs[index : index + 1].to(device)
        label = subject.samples.labels[index : index + 1].to(device)
        threat = ThreatModel(norm, radius, subject.box)
        candidate = suspect[None].to(device)
        found = verify(subject.read.model, candidate, centre, label, threat)
        if found.passed.item():
            found = shrink(subject.read.model, found, centre, label, threat)
            distance = float(found.distances)
            examples.append(AdversarialExample(index, distance, certifier))
    return examples
