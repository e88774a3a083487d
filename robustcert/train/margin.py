"""Training for margins that no perturbation of length epsilon can close.

A perturbation of length epsilon lets logit k gain at most ``epsilon K_yk`` on the
label's, K_yk being the Lipschitz constant of ``f_k - f_y``. The fit is cross-entropy
after every rival has been given that much, so what it maximises is what
``lipschitz-margin`` certifies.

References:
    Tsuzuku, Sato, Sugiyama. Lipschitz-Margin Training. NeurIPS 2018, section 4. (Every
        rival is raised.)
    Leino, Wang, Fredrikson. Globally-Robust Neural Networks. ICML 2021. (One constant a
        pair of logits. There the highest raised rival becomes a class of its own.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.results.norm import Norm
from robustcert.results.threat_model import ThreatModel
from robustcert.train.chain import chain_of
from robustcert.train.interface import (
    Batch,
    Fitted,
    Moment,
    Plan,
    State,
    TrainingData,
    drawn_from,
)
from robustcert.train.live import live_graph
from robustcert.train.pair_constants import CONSTANTS, Constants, Rule
from robustcert.train.ramp import Ramp
from robustcert.train.requirements import require_labels
from robustcert.train.singular import SingularVectors

PURPOSE = 30


@dataclass(frozen=True, slots=True)
class MarginOptions:
    """What margins are trained for.

    Attributes:
        epsilon: in L2, input units.
        ramp: share of the training during which epsilon grows from 0.
        constants: ``product`` of the layers' norms, which keeps every norm small, or
            ``liplt``, which asks less of the net at the same epsilon.
    """

    epsilon: float = 0.25
    ramp: float = 0.5
    constants: Rule = Rule.PRODUCT


@dataclass(frozen=True, slots=True, eq=False)
class MarginFit:
    """Cross-entropy of logits whose rivals are raised by what epsilon can gain them.

    Attributes:
        epsilon: in L2, input units, as the training goes on.
        constants: of pairs of logits.
        vectors: follow the weights; they are the fit's state.
    """

    epsilon: Ramp
    constants: Constants
    vectors: SingularVectors

    def __call__(self, model: nn.Module, batch: Batch, moment: Moment) -> Fitted:
        """The loss at the batch's own inputs.

        Raises:
            UnsupportedLayerError: a module has no rule, by name.
        """
        outputs = model(batch.inputs)
        chain = chain_of(live_graph(model, tuple(batch.inputs.shape[1:])))
        pairs = self.constants(chain, self.vectors)
        higher = raised(outputs, batch.targets, pairs, self.epsilon.at(moment))
        return Fitted(F.cross_entropy(higher, batch.targets), outputs)

    def state(self) -> State:
        """The singular vectors."""
        return self.vectors.state()

    def restore(self, state: State) -> None:
        """Go on with the vectors of a ``state``."""
        self.vectors.restore(state)


def raised(logits: Tensor, labels: Tensor, pairs: Tensor, epsilon: float) -> Tensor:
    """Logits ``(B, K)`` after each rival gained all it can within epsilon.

    Args:
        logits: ``(B, K)``.
        labels: ``(B,)``.
        pairs: ``(K, K)`` constants of ``f_y - f_k``, 0 on the diagonal.
        epsilon: in input units.
    """
    return logits + epsilon * pairs[labels]


def margin_fit(
    model: nn.Module, data: TrainingData, options: MarginOptions, plan: Plan
) -> MarginFit:
    """The fit for one training.

    Raises:
        UnsupportedLayerError: a module of ``model`` has no rule, by name.
        SamplesError: the targets are no labels.
        InvalidThreatModelError: epsilon is no radius.
    """
    require_labels(data)
    chain_of(live_graph(model, tuple(data.training.inputs.shape[1:])))
    vectors = SingularVectors(drawn_from(plan.seed, PURPOSE))
    threat = ThreatModel(Norm.L2, options.epsilon, data.box)
    epsilon = Ramp(0.0, threat.epsilon, options.ramp)
    return MarginFit(epsilon, CONSTANTS[options.constants], vectors)
