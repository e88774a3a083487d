"""What an attack needs of a model; each says why not, or ``None``."""

from __future__ import annotations

from collections.abc import Callable

from robustcert.attacks.guest_model import Layout
from robustcert.models.interface import LoadedModel
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX

Requirement = Callable[[LoadedModel], str | None]


def at_least_classes(count: int) -> Requirement:
    """The loss ranks this many logits."""

    def refusal(model: LoadedModel) -> str | None:
        if model.classes >= count:
            return None
        return f"its loss needs {count} classes, the model has {model.classes}"

    return refusal


def at_most_coordinates(count: int) -> Requirement:
    """The attack's memory grows with the square of the input's size."""

    def refusal(model: LoadedModel) -> str | None:
        size = Layout(model.input_shape, UNIT_BOX).size
        if size <= count:
            return None
        return f"it takes inputs of up to {count} coordinates, not {size}"

    return refusal


def picture(model: LoadedModel) -> str | None:
    """The attack moves or resizes pixels."""
    if Layout(model.input_shape, UNIT_BOX).is_picture:
        return None
    return f"it needs pictures, inputs have shape {model.input_shape}"


def square_picture(model: LoadedModel) -> str | None:
    """The attack resizes pictures to squares."""
    reason = picture(model)
    if reason is None and model.input_shape[1] != model.input_shape[2]:
        return f"it needs square pictures, inputs have shape {model.input_shape}"
    return reason


def three_channels(model: LoadedModel) -> str | None:
    """The attack convolves three channels."""
    reason = picture(model)
    if reason is None and model.input_shape[0] != 3:
        return f"it needs three channels, inputs have shape {model.input_shape}"
    return reason


def several_logits(model: LoadedModel) -> str | None:
    """The loss divides by the largest logit, which leaves nothing of a single one."""
    if model.output is OutputKind.SINGLE_LOGIT:
        return "its loss is constant where the model returns a single logit"
    return None
