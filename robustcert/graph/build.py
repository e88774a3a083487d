"""Collects layers in order while a front door reads a model.

Every front door (TorchScript, ONNX) drives one :class:`GraphBuilder`: it hands over a
layer's attributes and the symbols it reads, and gets a symbol back. Output shapes come
from running each layer on an example batch, so what is collected has been executed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import apply
from robustcert.graph.gathers import simplified
from robustcert.graph.layers import Gather, Input, Layer, LayerGraph, Reshape, Shape
from robustcert.graph.placement import places_of
from robustcert.graph.pruning import pruned
from robustcert.graph.splines import with_splines
from robustcert.results.report import OutputKind

EXAMPLE_BATCH = 2


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """A tensor that depends on the model's input.

    Attributes:
        position: of the layer whose output it is.
        example: its value ``(EXAMPLE_BATCH, *shape)`` in float64 on the example input.
        storage: symbols with equal storage are views of one another, so an in-place
            change of one changes the others.
    """

    position: int
    example: Tensor
    storage: int

    @property
    def shape(self) -> Shape:
        """The shape without the batch."""
        return tuple(self.example.shape[1:])


@dataclass(frozen=True, slots=True, eq=False)
class Final:
    """A (log-)softmax: allowed as the model's last step only."""

    symbol: Symbol
    output: OutputKind


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A model that is its own graph, because its format is a list of layers.

    Attributes:
        graph: float64, on the CPU, up to the logits.
        output: what a final softmax returns; ``None`` where there is none.
    """

    graph: LayerGraph
    output: OutputKind | None


@dataclass(slots=True)
class GraphBuilder:
    """The layers read so far."""

    layers: list[Layer] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    copies: int = 0

    def start(self, shape: Shape) -> Symbol:
        """Add the input and return its symbol."""
        generator = torch.Generator().manual_seed(0)
        example = torch.rand(
            EXAMPLE_BATCH, *shape, generator=generator, dtype=torch.float64
        )
        self.layers.append(Input("input", (), shape))
        return Symbol(0, example, 0)

    def add(
        self,
        kind: type[Layer],
        name: str,
        sources: list[Symbol],
        attributes: Mapping[str, object],
    ) -> Symbol:
        """Add a layer that reads ``sources``; tensors in ``attributes`` are float64.

        Raises:
            UnsupportedLayerError: the layer cannot run on the example.
        """
        inputs = tuple(source.position for source in sources)
        unique = self._unique(name)
        draft = kind(unique, inputs, (), **attributes)
        try:
            example = apply(draft, [source.example for source in sources])
        except (RuntimeError, IndexError, ValueError) as error:
            raise UnsupportedLayerError(unique, f"cannot be read: {error}") from error
        self._check_batch(unique, example)
        shape = tuple(example.shape[1:])
        self.layers.append(kind(unique, inputs, shape, **attributes))
        position = len(self.layers) - 1
        return Symbol(position, example, position)

    def reshape(self, name: str, source: Symbol, example: Tensor) -> Symbol:
        """Add a reshape of ``source``, whose example becomes ``example``."""
        unique = self._unique(name)
        self._check_batch(unique, example)
        shape = tuple(example.shape[1:])
        if shape == source.shape:
            return source
        self.layers.append(Reshape(unique, (source.position,), shape))
        return Symbol(len(self.layers) - 1, example, source.storage)

    def gather(self, name: str, source: Symbol, moved: Tensor) -> Symbol:
        """Add what an operator does that only moves numbers about.

        Args:
            name: of the layer.
            source: what the operator reads.
            moved: what it makes of the source's coordinates, ``numbered``.

        Returns:
            A view of ``source``; the source itself where nothing is moved.

        Raises:
            UnsupportedLayerError: samples are mixed or lost.
        """
        places = places_of(name, moved, source.shape)
        if torch.equal(places.flatten(), torch.arange(source.example[0].numel())):
            if places.shape == source.example.shape[1:]:
                return source
            example = source.example.reshape(EXAMPLE_BATCH, *places.shape)
            return self.reshape(name, source, example)
        found = self.add(Gather, name, [source], {"places": places})
        return replace(found, storage=source.storage)

    def finish(self, output: Symbol) -> LayerGraph:
        """The graph that ends in ``output``, without layers it does not need.

        Splines are put together here, so that every method sees the same layers, and
        the agreement with the model is that of what is certified.

        Raises:
            UnsupportedLayerError: a layer has one number a sample and no dimension.
        """
        layers = pruned(simplified(self.layers), output.position)
        for layer in layers:
            _require_dimension(layer)
        return with_splines(LayerGraph(layers))

    def reading(self, output: Symbol | Final) -> Reading:
        """The graph that ends in ``output``, and what a final softmax makes of it."""
        if isinstance(output, Final):
            return Reading(self.finish(output.symbol), output.output)
        return Reading(self.finish(output), None)

    def new_storage(self) -> int:
        """A number for the storage of a tensor that is no view; never given twice."""
        self.copies += 1
        return -self.copies

    def _unique(self, name: str) -> str:
        self.names[name] = self.names.get(name, 0) + 1
        uses = self.names[name]
        return name if uses == 1 else f"{name}_{uses}"

    @staticmethod
    def _check_batch(name: str, example: Tensor) -> None:
        if example.ndim < 1 or example.shape[0] != EXAMPLE_BATCH:
            raise UnsupportedLayerError(
                name,
                f"its output {tuple(example.shape)} mixes the {EXAMPLE_BATCH} samples "
                "of a batch",
                remedy="Export the model so that the first dimension stays the batch.",
            )


def _require_dimension(layer: Layer) -> None:
    if not layer.shape:
        raise UnsupportedLayerError(
            layer.name,
            "gives one number for each sample, without a dimension",
            remedy="Keep the dimension: x[:, 2:3] instead of x[:, 2], or keepdim=True.",
        )
