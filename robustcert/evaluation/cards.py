"""What a report says about its model and its samples."""

from __future__ import annotations

from robustcert.evaluation.subject import ReadModel
from robustcert.lipschitz.upper.spectral_product import layer_norms
from robustcert.models.samples import Samples
from robustcert.results.norm import Norm
from robustcert.results.report import LayerCard, ModelCard, SampleSetCard


def model_card(read: ReadModel, norm: Norm) -> ModelCard:
    """The model, with an upper bound on each layer's operator norm in ``norm``."""
    model = read.model
    return ModelCard(
        sha256=model.sha256,
        format=model.format,
        input_shape=model.input_shape,
        classes=model.classes,
        parameters=model.parameters,
        output=model.output,
        layers=_layer_cards(read, norm),
        unsupported=read.unsupported,
    )


def sample_card(samples: Samples, seed: int) -> SampleSetCard:
    """The samples that were used."""
    return SampleSetCard(samples.name, samples.sha256, len(samples), seed)


def _layer_cards(read: ReadModel, norm: Norm) -> tuple[LayerCard, ...]:
    if read.graph is None:
        return ()
    norms = layer_norms(read.graph, norm)
    return tuple(
        LayerCard(layer.name, layer.kind, layer.shape, value)
        for layer, value in zip(read.graph.layers, norms, strict=True)
    )
