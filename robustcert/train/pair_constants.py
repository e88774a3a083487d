"""How far two logits can drift apart: constants of ``f_y - f_k`` to train with.

Both rules give, for a chain of layers, a ``(K, K)`` matrix of L2 constants that is
differentiable by the weights. Up to the convergence of power iteration they are upper
bounds, everywhere; for a linear net both are exact.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import torch
from torch import Tensor

from robustcert.train.chain import Chain
from robustcert.train.singular import SingularVectors

Constants = Callable[[Chain, SingularVectors], Tensor]
"""Maps a chain to ``(K, K)`` constants with a diagonal of zeros."""


class Rule(enum.StrEnum):
    """Which constants a margin is trained with."""

    PRODUCT = "product"
    LIPLT = "liplt"


def product(chain: Chain, vectors: SingularVectors) -> Tensor:
    """``|a_y - a_k|`` times the norms of all layers before the last rows a.

    Reference:
        Leino, Wang, Fredrikson. Globally-Robust Neural Networks. ICML 2021, section 4.
    """
    rows = chain.last_rows()
    reach = rows.new_ones(())
    for stretch, bend in zip(chain.stretches, chain.bends, strict=False):
        reach = reach * vectors.norm(stretch, rows) * bend.steepest
    return reach * distances(rows)


def liplt(chain: Chain, vectors: SingularVectors) -> Tensor:
    """Each bend is a line and a small map; what follows the lines is multiplied out.

    With L_j the constant of bend j's input, ``L_k <= |X_k0| + sum_j |X_kj| s_j L_j``:
    X_kj is the product of the linear maps from behind bend j to bend k with every bend
    between replaced by its line, and s_j the bend's spread. Behind the last bend rows
    are subtracted before norms are taken, so no iteration is needed there. Never above
    :func:`product`.

    Reference:
        Fazlyab, Entesari, Roy, Chellappa. Certified Robustness via Dynamic Margin
        Maximization and Improved Lipschitz Regularization. NeurIPS 2023, Theorem 2.
    """
    rows = chain.last_rows()
    inner = _inner_constants(chain, vectors, rows)
    total = torch.zeros_like(distances(rows))
    for place in reversed(range(len(chain.bends))):
        bend = chain.bends[place]
        total = total + bend.spread * inner[place] * distances(rows)
        if bend.centre == 0.0:
            return total
        rows = bend.centre * chain.stretches[place].pulled_back(rows)
    return total + distances(rows)


CONSTANTS: dict[Rule, Constants] = {Rule.PRODUCT: product, Rule.LIPLT: liplt}


def distances(rows: Tensor) -> Tensor:
    """``(K, K)`` L2 distances between rows ``(K, *shape)``; gradient 0 where equal."""
    flat = rows.flatten(1)
    return torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")


def _inner_constants(
    chain: Chain, vectors: SingularVectors, like: Tensor
) -> list[Tensor]:
    """The constant of each bend's input as a function of the net's input."""
    found: list[Tensor] = []
    for place in range(len(chain.bends)):
        through = chain.stretches[place]
        factor, total = 1.0, like.new_zeros(())
        for before in reversed(range(place)):
            bend = chain.bends[before]
            reach = abs(factor) * bend.spread * found[before]
            total = total + reach * vectors.norm(through, like)
            factor *= bend.centre
            through = through.after(chain.stretches[before])
            if factor == 0.0:
                break
        if factor != 0.0:
            total = total + abs(factor) * vectors.norm(through, like)
        found.append(total)
    return found
