"""A model as the measuring wing sees it: whatever it returned, logits come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.results.report import OutputKind


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A trained classifier, ready to be run.

    Attributes:
        function: maps ``(N, *input_shape)`` to whatever the model returns: ``(N, K)``,
            or ``(N,)`` or ``(N, 1)`` for a single logit. Differentiable.
        artifact: what the graph is read from, opaque here: a ScriptModule, the
            module of a torch.export program, or for ONNX the graph itself.
        sha256: of the file's bytes.
        format: ``torchscript``, ``torch.export`` or ``onnx``.
        input_shape: without the batch.
        classes: K >= 2; a single logit makes two classes.
        output: what ``function`` returns.
        parameters: number of trained numbers.
        dtype: of the weights, and of the inputs the model takes.
        device: where it runs.
    """

    function: Callable[[Tensor], Tensor]
    artifact: object
    sha256: str
    format: str
    input_shape: tuple[int, ...]
    classes: int
    output: OutputKind
    parameters: int
    dtype: torch.dtype
    device: torch.device

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of ``inputs`` ``(N, *input_shape)``.

        Inputs are converted to the model's dtype and device. A single logit z becomes
        (0, z); probabilities become their logarithms, which are logits up to a
        constant that no margin sees.
        """
        raw = self.function(inputs.to(device=self.device, dtype=self.dtype))
        return as_logits(raw, self.output)


def as_logits(raw: Tensor, output: OutputKind) -> Tensor:
    """Logits ``(N, K)``, K >= 2, from what a model returned."""
    if output is OutputKind.SINGLE_LOGIT:
        flat = raw.reshape(raw.shape[0])
        return torch.stack([torch.zeros_like(flat), flat], dim=1)
    if output is OutputKind.PROBABILITIES:
        return raw.clamp(min=torch.finfo(raw.dtype).tiny).log()
    return raw
