"""Penalties on the weights alone: their squares, or the product of their norms.

Both see no data. The squares are weight decay, the baseline "WR" of the reference; the
product of the layers' constants is its equation (4), an upper bound of the Lipschitz
constant as far as power iteration has come.

References:
    Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of Neural
        Networks. SSVM 2021, arXiv 2103.12531.
    Yoshida, Miyato. Spectral Norm Regularization for Improving the Generalizability of
        Deep Learning. arXiv 1705.10941.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robustcert.graph.layers import Shape
from robustcert.train.chain import chain_of
from robustcert.train.interface import Moment, State
from robustcert.train.live import live_graph
from robustcert.train.singular import SingularVectors


@dataclass(frozen=True, slots=True)
class SquaredWeights:
    """The sum of all squared weights; biases do not count."""

    def value(
        self,
        model: nn.Module,
        moment: Moment,  # noqa: ARG002 - the protocol's
    ) -> Tensor:
        """``()``: the squared Frobenius norms of all matrices and kernels, summed."""
        matrices = [p for p in model.parameters() if p.dim() > 1]
        return torch.stack([matrix.square().sum() for matrix in matrices]).sum()

    def after_backward(self, model: nn.Module, weight: float) -> None:
        """Nothing climbs here."""

    def state(self) -> State:
        """Nothing is kept."""
        return {}

    def restore(self, state: State) -> None:
        """Nothing was kept."""


@dataclass(frozen=True, slots=True, eq=False)
class SpectralProduct:
    """The squared product of the constants of all layers, in L2.

    Attributes:
        shape: of the model's inputs, without the batch.
        vectors: follow the weights.
    """

    shape: Shape
    vectors: SingularVectors

    def value(
        self,
        model: nn.Module,
        moment: Moment,  # noqa: ARG002 - the protocol's
    ) -> Tensor:
        """``()``: spectral norms times steepest slopes, squared.

        Raises:
            UnsupportedLayerError: a module has no rule, by name.
        """
        chain = chain_of(live_graph(model, self.shape))
        like = next(model.parameters())
        product = like.new_ones(())
        for stretch in chain.stretches:
            product = product * self.vectors.norm(stretch, like)
        for bend in chain.bends:
            product = product * bend.steepest
        return product.square()

    def after_backward(self, model: nn.Module, weight: float) -> None:
        """The vectors have moved already."""

    def state(self) -> State:
        """The vectors."""
        return self.vectors.state()

    def restore(self, state: State) -> None:
        """Go on with the vectors of a ``state``."""
        self.vectors.restore(state)
