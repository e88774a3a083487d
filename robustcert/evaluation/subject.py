"""What an evaluation is about: a model, its graph, and samples that fit it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustcert.certify.logits import binary_as_pair
from robustcert.certify.rounding import float_slack
from robustcert.errors import UnsoundModelError, UnsupportedLayerError
from robustcert.graph.agreement import check_agreement
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import LayerGraph
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples, check_fit
from robustcert.results.report import Finding, Level, UnsupportedLayer
from robustcert.results.threat_model import Box
from robustcert.tensors import margins

CHUNK = 256


@dataclass(frozen=True, slots=True, eq=False)
class ReadModel:
    """A model, and its graph where it has one.

    Attributes:
        model: as loaded.
        graph: float64 on the CPU, or ``None``.
        unsupported: why there is no graph; empty where there is one.
    """

    model: LoadedModel
    graph: LayerGraph | None
    unsupported: tuple[UnsupportedLayer, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """A warning where no certificate can be given."""
        return tuple(
            Finding(
                "no-graph",
                Level.WARNING,
                f"Nothing can be certified: layer {item.layer!r} {item.reason}.",
                "Export the model with supported layers, or read the attacks alone.",
            )
            for item in self.unsupported
        )


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model and samples that fit it.

    Attributes:
        read: the model and its graph.
        samples: inside ``box``, labels within the model's classes.
        box: the valid input range.
        predicted: ``(N,)`` int64.
        margins: ``(N,)`` float64, of the model as it runs; right where > 0.
        slack: ``(N,)`` float64, what rounding may eat of a margin.
    """

    read: ReadModel
    samples: Samples
    box: Box
    predicted: Tensor
    margins: Tensor
    slack: Tensor

    @property
    def right(self) -> Tensor:
        """``(N,)`` bool: where the model classifies the sample correctly."""
        return self.margins > 0.0


def read_model(model: LoadedModel) -> ReadModel:
    """The model with its graph, or with the reason why it has none."""
    try:
        return ReadModel(model, extract(model), ())
    except UnsupportedLayerError as error:
        reason = UnsupportedLayer(error.layer, error.reason)
        return ReadModel(model, None, (reason,))


def prepare(read: ReadModel, samples: Samples, box: Box) -> Subject:
    """Run the model on the samples and check that a claim about it can be made.

    Raises:
        SamplesError: a label or an input does not fit.
        InputShapeError: the samples have another shape than the model's input.
        UnsoundModelError: an output is NaN or infinite.
    """
    check_fit(samples, read.model, box)
    if read.graph is not None:
        try:
            check_agreement(read.graph, read.model, samples.inputs[:CHUNK])
        except UnsupportedLayerError as error:
            reason = UnsupportedLayer(error.layer, error.reason)
            read = ReadModel(read.model, None, (reason,))
    logits = _logits(read.model, samples.inputs)
    if not torch.isfinite(logits).all():
        raise UnsoundModelError("the model returns NaN or infinity on a sample")
    wide = logits.double()
    exact = wide if read.graph is None else _graph_logits(read.graph, samples.inputs)
    return Subject(
        read,
        samples,
        box,
        logits.argmax(dim=1),
        margins(wide, samples.labels),
        float_slack(exact, logits),
    )


def _logits(model: LoadedModel, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        parts = [model.logits(chunk) for chunk in torch.split(inputs, CHUNK)]
    return torch.cat(parts).cpu()


def _graph_logits(graph: LayerGraph, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        parts = [run(graph, chunk.double()) for chunk in torch.split(inputs, CHUNK)]
    return binary_as_pair(torch.cat(parts))
