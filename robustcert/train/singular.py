"""Spectral norms of linear stretches, followed from step to step.

Power iteration approaches a norm from below, so these numbers train a net and prove
nothing about it. Bounds are those of :mod:`robustcert.lipschitz.operator_norm`.

Reference:
    Miyato, Kataoka, Koyama, Yoshida. Spectral Normalization for Generative Adversarial
        Networks. ICLR 2018, Algorithm 1; convolutions are iterated as maps of images.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from robustcert.train.chain import Stretch
from robustcert.train.interface import State

WARM_UP = 20
"""Iterations before a vector is first used; it is drawn at random."""


class SingularVectors:
    """The first right singular vector of each stretch that was asked for.

    Args:
        generator: on the CPU; draws the vectors that iterations begin with.
    """

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._vectors: dict[str, Tensor] = {}

    def norm(self, stretch: Stretch, like: Tensor) -> Tensor:
        """The spectral norm ``()`` after one more iteration.

        Differentiable by the weights: between constant singular vectors u and v the
        norm is ``u W v``, whose gradient ``u v^T`` is exact where they are.

        Args:
            stretch: known by its name.
            like: a tensor of the model's dtype and device.
        """
        vector = self._vectors.get(stretch.name)
        if vector is None:
            vector = self._begun(stretch, like)
        left, right = iterated(stretch, vector.to(like))
        self._vectors[stretch.name] = right
        return (left * stretch(right)).sum()

    def state(self) -> State:
        """The vectors, and where their generator stands."""
        vectors = {name: vector.clone() for name, vector in self._vectors.items()}
        return {"vectors": vectors, "generator": self._generator.get_state()}

    def restore(self, state: State) -> None:
        """Go on from a ``state``."""
        self._vectors = {name: each.clone() for name, each in state["vectors"].items()}
        self._generator.set_state(state["generator"])

    def _begun(self, stretch: Stretch, like: Tensor) -> Tensor:
        drawn = torch.randn((1, *stretch.shape), generator=self._generator).to(like)
        vector = _unit(drawn)
        for _ in range(WARM_UP):
            _, vector = iterated(stretch, vector)
        return vector


def iterated(
    apply: Callable[[Tensor], Tensor], vector: Tensor
) -> tuple[Tensor, Tensor]:
    """One power iteration with a linear map and its transpose.

    Args:
        apply: ``(1, *out)`` from ``(1, *in)``.
        vector: ``(1, *in)``.

    Returns:
        The left vector ``(1, *out)`` of length 1 and the next right vector, both
        detached. Where the map is 0 the left one is 0 and the right one stays.
    """
    with torch.enable_grad():
        right = vector.detach().requires_grad_()
        image = apply(right)
        left = _unit(image.detach())
        (back,) = torch.autograd.grad((image * left).sum(), right)
    return left, torch.where(back.any(), _unit(back), vector)


def _unit(vector: Tensor) -> Tensor:
    """At length 1; 0 stays 0."""
    length: Tensor = torch.linalg.vector_norm(vector)
    return vector / length.clamp(min=torch.finfo(vector.dtype).tiny)
