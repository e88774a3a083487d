"""Training with bounds: cross-entropy at margins that no input of the ball falls below.

``interval`` bounds layer by layer (IBP). ``crown-interval`` begins with CROWN's
backward bounds, which are tighter while the net is untrained, and moves over to
intervals, which regularise more (CROWN-IBP).

References:
    Gowal et al. On the Effectiveness of Interval Bound Propagation for Training
        Verifiably Robust Models. 2018, section 3 and equation (12).
    Zhang et al. Towards Stable and Efficient Training of Verifiably Robust Neural
        Networks. ICLR 2020, equation (8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.errors import UsageError
from robustcert.graph.layers import LayerGraph
from robustcert.results.norm import Norm
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.train.backward_floors import backward_margin_floors
from robustcert.train.interface import Batch, Fitted, Moment, Plan, TrainingData
from robustcert.train.intervals import Span, hidden_spans, input_span, margin_floors
from robustcert.train.live import live_graph
from robustcert.train.ramp import Ramp
from robustcert.train.requirements import require_labels

Floors = Callable[[LayerGraph, Sequence[Span], Tensor, Moment], Tensor]
"""Lower bounds ``(B, K)`` of ``f_y - f_k`` from a graph, spans, labels and moment."""

BEGIN = Moment(epoch=0, step=0, steps=1)


@dataclass(frozen=True, slots=True)
class IntervalOptions:
    """What bounds are trained for.

    Attributes:
        epsilon: L-infinity, input units.
        ramp: share of the training during which epsilon grows from 0.
        clean: weight of plain cross-entropy at the end of the ramp, in [0, 1]; the
            rest goes to the bounds. It begins at 1.
    """

    epsilon: float = 0.1
    ramp: float = 0.5
    clean: float = 0.5


@dataclass(frozen=True, slots=True)
class CrownIntervalOptions:
    """What bounds are trained for.

    Attributes:
        epsilon: L-infinity, input units.
        ramp: share of the training during which epsilon grows from 0.
        clean: weight of plain cross-entropy at the end of the ramp, in [0, 1]; the
            rest goes to the bounds. It begins at 1.
        backward: weight of the backward bounds at the end of the ramp, in [0, 1]; the
            rest goes to intervals. It begins at 1.
    """

    epsilon: float = 0.1
    ramp: float = 0.5
    clean: float = 0.5
    backward: float = 0.0


@dataclass(frozen=True, slots=True)
class IntervalFit:
    """``clean CE(f(x), y) + (1 - clean) CE(-floors, y)``.

    Attributes:
        epsilon: L-infinity, input units, as the training goes on.
        clean: weight of the first term.
        box: of the inputs.
        floors: what no margin falls below.
    """

    epsilon: Ramp
    clean: Ramp
    box: Box
    floors: Floors

    def __call__(self, model: nn.Module, batch: Batch, moment: Moment) -> Fitted:
        """The loss; the outputs at the batch's own inputs.

        Raises:
            UnsupportedLayerError: a module has no rule, by name.
        """
        outputs = model(batch.inputs)
        graph = live_graph(model, tuple(batch.inputs.shape[1:]))
        start = input_span(batch.inputs, self.epsilon.at(moment), self.box)
        floors = self.floors(graph, hidden_spans(graph, start), batch.targets, moment)
        share = self.clean.at(moment)
        natural = F.cross_entropy(outputs, batch.targets)
        worst = F.cross_entropy(-floors, batch.targets)
        return Fitted(share * natural + (1.0 - share) * worst, outputs)


def interval_floors(
    graph: LayerGraph, spans: Sequence[Span], labels: Tensor, _: Moment
) -> Tensor:
    """:func:`~robustcert.train.intervals.margin_floors`, at every moment."""
    return margin_floors(graph, spans, labels)


@dataclass(frozen=True, slots=True)
class BlendedFloors:
    """``b`` times the backward bounds plus ``1 - b`` times those of intervals.

    Attributes:
        backward: b, in [0, 1].
    """

    backward: Ramp

    def __call__(
        self, graph: LayerGraph, spans: Sequence[Span], labels: Tensor, moment: Moment
    ) -> Tensor:
        """Lower bounds ``(B, K)``; backward ones are left out where they count 0."""
        forward = margin_floors(graph, spans, labels)
        share = self.backward.at(moment)
        if share == 0.0:
            return forward
        return forward.lerp(backward_margin_floors(graph, spans, labels), share)


def interval_fit(
    model: nn.Module, data: TrainingData, options: IntervalOptions, _: Plan
) -> IntervalFit:
    """The fit of IBP for one training.

    Raises:
        UnsupportedLayerError: a module of ``model`` has no rule, by name.
        SamplesError: the targets are no labels.
        InvalidThreatModelError: epsilon is no radius.
        UsageError: a weight is not between 0 and 1.
    """
    return _checked(_interval_fit(data, options, interval_floors), model, data)


def crown_interval_fit(
    model: nn.Module, data: TrainingData, options: CrownIntervalOptions, _: Plan
) -> IntervalFit:
    """The fit of CROWN-IBP for one training.

    Raises:
        UnsupportedLayerError: a module of ``model`` has no rule, by name.
        SamplesError: the targets are no labels.
        InvalidThreatModelError: epsilon is no radius.
        UsageError: a weight is not between 0 and 1.
    """
    blended = BlendedFloors(
        Ramp(1.0, _share("backward", options.backward), options.ramp)
    )
    return _checked(_interval_fit(data, options, blended), model, data)


def _interval_fit(
    data: TrainingData, options: IntervalOptions | CrownIntervalOptions, floors: Floors
) -> IntervalFit:
    threat = ThreatModel(Norm.LINF, options.epsilon, data.box)
    epsilon = Ramp(0.0, threat.epsilon, options.ramp)
    clean = Ramp(1.0, _share("clean", options.clean), options.ramp)
    return IntervalFit(epsilon, clean, threat.box, floors)


def _share(name: str, value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise UsageError(
            f"{name} is {value}, not a weight between 0 and 1",
            remedy="Give 0 for bounds of one kind alone, or a share such as 0.5.",
        )
    return value


def _checked(fit: IntervalFit, model: nn.Module, data: TrainingData) -> IntervalFit:
    """The fit, after one try on two examples: what has no rule is refused at once."""
    require_labels(data)
    with torch.no_grad():
        like = next(model.parameters())
        few = data.training.rows(slice(0, 2))
        fit(model, Batch(few.inputs.to(like), few.targets.to(like.device)), BEGIN)
    return fit
