"""What a Lipschitz method gets and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor

from robustcert.errors import InputShapeError, UnsupportedLayerError, UsageError
from robustcert.graph.execute import run
from robustcert.graph.layers import LayerGraph
from robustcert.results.bound import LowerBound, UpperBound
from robustcert.results.effort import Effort
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import Box

Map = Callable[[Tensor], Tensor]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class LiveBound:
    """A valid upper bound on the way to a better one.

    ``value`` is a plain float, without the rounding that a claim has; ``gap`` is that
    of :class:`~robustcert.results.bound.UpperBound`.
    """

    value: float
    gap: float | None


Heard = Callable[[LiveBound], None]
"""Hears the bounds that a search passes."""


class Memo:
    """What several methods make of one problem, made once."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What ``make`` returned the first time it was asked for under ``name``."""
        if name not in self._made:
            self._made[name] = make()
        return cast("Made", self._made[name])


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One Lipschitz constant to be bounded from both sides.

    The map is the graph's where there is a graph, so that both sides bound the same
    one: a model that returns probabilities is bounded before its softmax.

    Attributes:
        graph: the model as layers; ``None`` where it could not be read.
        function: inputs ``(N, *shape)`` to logits ``(N, K)``, differentiable; each row
            depends on its own input alone.
        inputs: ``(N, *shape)`` inside the box, in the dtype and on the device the
            model runs in; N may be 0.
        box: where witnesses lie.
        norm: of inputs and logits alike.
        seed: of every random step.
        sha256: of the model's file, for certificates; empty where there is none.
        memo: what methods share.
    """

    graph: LayerGraph | None
    function: Map
    inputs: Tensor
    box: Box
    norm: Norm
    seed: int = 0
    sha256: str = ""
    memo: Memo = field(default_factory=Memo, repr=False)

    def __post_init__(self) -> None:
        if self.norm not in THREAT_NORMS:
            raise UsageError(
                f"no Lipschitz bound is known in {self.norm.word}",
                remedy="Choose l2 or linf.",
            )
        shape = tuple(self.inputs.shape[1:])
        if self.graph is not None and shape != tuple(self.graph.input_shape):
            raise InputShapeError(
                f"the inputs have shape {shape}, the model's graph reads "
                f"{tuple(self.graph.input_shape)}"
            )

    @property
    def size(self) -> int:
        """Number of coordinates of one input."""
        return torch.Size(self.inputs.shape[1:]).numel()

    def working_map(self) -> Map:
        """The map in the dtype and on the device of the inputs."""
        if self.graph is None:
            return self.function
        graph = self.graph.to(self.inputs.dtype, self.inputs.device)
        return lambda inputs: run(graph, inputs)


class LowerMethod(Protocol):
    """Finds a pair of inputs that the map moves far apart."""

    def __call__(self, problem: Problem, effort: Effort, /) -> LowerBound:
        """A lower bound whose witness was evaluated again in float64."""
        ...


class UpperMethod(Protocol):
    """Proves a number that no pair of inputs exceeds."""

    def __call__(self, problem: Problem, effort: Effort, /) -> UpperBound:
        """An upper bound, rounded up.

        Raises:
            UnsupportedLayerError: a layer has no rule in this method.
        """
        ...


class UpperSearch(Protocol):
    """An upper method whose every iterate is an upper bound."""

    def __call__(self, problem: Problem, effort: Effort, heard: Heard, /) -> UpperBound:
        """The best upper bound within the effort's time, rounded up.

        Raises:
            UnsupportedLayerError: a layer has no rule in this method.
        """
        ...


def quiet(search: UpperSearch) -> UpperMethod:
    """The search as a method that nobody listens to."""
    return lambda problem, effort: search(problem, effort, lambda _: None)


def required_graph(problem: Problem) -> LayerGraph:
    """The problem's graph.

    Raises:
        UnsupportedLayerError: the model could not be read as layers.
    """
    if problem.graph is None:
        raise UnsupportedLayerError("model", "it could not be read as layers")
    return problem.graph
