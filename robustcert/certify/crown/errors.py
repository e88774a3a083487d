"""What rounding may do to a bound, carried forward with the graph.

Every computed form stands for itself. Computing it from the form behind it, and its
product with the layer's values, errs by a small share of ``sum |a_i| size_i``, where
``size`` bounds what goes into the layer's values. The coefficients ``|a|`` of a unit
are themselves at most a product of absolute weights and steepest slopes, so that the
errors of all units of a layer come from one pass forward: errors of the layer in front,
through absolute weights, and the layer's own share on top.

Reference:
    Higham. Accuracy and Stability of Numerical Algorithms. 2002, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from robustcert.certify.crown.balls import Balls
from robustcert.certify.crown.pooling import Choice
from robustcert.certify.crown.relaxation import Lines
from robustcert.graph.execute import apply, apply_linear
from robustcert.graph.layers import Conv, Layer, LayerGraph, Linear
from robustcert.lipschitz.local.intervals import Interval
from robustcert.lipschitz.magnitude import magnitude, terms
from robustcert.lipschitz.rounding import UNIT, gamma

_FAINT = 1e-300
"""More than all underflows on the way to one coefficient: 2^-1022 each."""


def input_errors(graph: LayerGraph, balls: Balls) -> Tensor:
    """``(N, *shape)``: what the last step, over the ball, may lose a unit of ``|a|``.

    The step's terms are at most ``|a| (|x| + r)``, for L2 too: its multiplier is at
    most ``|a|_2 / r``.
    """
    return 4.0 * _share(graph.layers[0], graph) * balls.sizes


def layer_errors(
    layer: Layer,
    graph: LayerGraph,
    sources: Sequence[Interval],
    before: Sequence[Tensor],
    lines: Lines | Choice | None,
) -> Tensor:
    """Errors ``(N, *shape)`` of the layer's units as targets.

    Args:
        layer: of the graph.
        graph: float64.
        sources: bounds of the layer's inputs.
        before: errors of the layer's inputs.
        lines: of the layer, where it is an activation.
    """
    share = _share(layer, graph)
    match lines:
        case Lines():
            steepest = lines.steepest
            size = steepest * sources[0].size + lines.highest
            return steepest * before[0] + share * size
        case Choice():
            size = apply(layer, [sources[0].size])
            return apply(layer, [before[0]]) + share * size
        case None:
            whole = magnitude(layer)
            size = apply(whole, [source.size for source in sources])
            return apply_linear(whole, before) + share * size


def faint_errors(source: Interval) -> Tensor:
    """``(N,)``: what underflowing coefficients of a layer may cost any form."""
    return _FAINT * (1.0 + source.size.flatten(1).sum(dim=1))


def lowered(values: Tensor, errors: Tensor) -> Tensor:
    """Computed bounds ``(R,)``, moved down past their errors.

    Twice, because the errors were rounded, too.
    """
    return values - 2.0 * errors - 16.0 * UNIT * values.abs()


def _share(layer: Layer, graph: LayerGraph) -> float:
    """Relative error of a form's coefficients and products at a layer."""
    count = layer.size + 4 * len(graph.layers) + 64
    for source in layer.inputs:
        count += terms(layer, graph.layers[source].shape)
    if isinstance(layer, Linear | Conv):
        count += layer.weight.numel() // max(1, layer.weight.shape[1])
    return 2.0 * gamma(2 * count)
