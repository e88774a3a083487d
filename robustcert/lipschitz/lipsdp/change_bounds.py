"""How far each unit can move when each input moves so far: LipLT unit by unit.

With slopes in [0, 1] an activation is half a line and half a map of constant 1, unit by
unit. Following the lines alone, the input of activation k is
``z_k = X_k0 x + sum_{j<k} X_kj phi_j``, so that, entry by entry,

    ``|dz_k| <= |X_k0| |dx| + sum_{j<k} |X_kj| |dz_j|``.

No entry is above that of an interval Jacobian: there ``|X_kj|`` would be a product of
absolute values instead of the absolute value of a product.

Reference:
    Fazlyab et al. Certified Robustness via Dynamic Margin Maximization and Improved
    Lipschitz Regularization. NeurIPS 2023 (LipLT, there with norms of layers).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from robustcert.errors import UnsupportedLayerError
from robustcert.lipschitz.lipsdp.program import Program, Stage
from robustcert.lipschitz.rounding import gamma, power_up

LARGEST = 2**26
"""Numbers held at a time, up to which products of maps are followed."""


@dataclass(frozen=True, slots=True, eq=False)
class ChangeBounds:
    """Of the outputs, on the program's scale, rounded up.

    Attributes:
        whole: ``(K, C)`` bounds on each output's change.
        straight: ``(K, n)``, the outputs' map with every activation replaced by 1/2.
        bent: ``(K, C)`` what the activations and rounding add to its change.
    """

    whole: Tensor
    straight: Tensor
    bent: Tensor


def change_bounds(
    program: Program, errors: tuple[float, ...], moves: Tensor
) -> ChangeBounds:
    """Bounds on the outputs' changes for C ways of moving the inputs.

    Args:
        program: dense.
        errors: bounds in L-infinity of what rounding did to its maps, one a step.
        moves: ``(n, C)`` how far each input moves at most; the identity asks for
            bounds on the Jacobian's entries.

    Raises:
        UnsupportedLayerError: the products are too large.
    """
    parts, moved = [program.start[0, 0]], [moves]
    rest = power_up(errors[0], program.exponents[0]) * moves.amax(dim=0)
    rest = rest.expand(len(parts[0]), -1)
    for number, stage in enumerate(program.stages):
        bent = _bent(parts, moved, rest)
        whole = _sum_up(parts[0].abs() @ moves, bent, len(moves))
        moved.append(whole[stage.acted])
        straight = straightened(stage, len(whole))[0, 0]
        noise = gamma(4 * (straight.shape[1] + 8))
        error = scaled_error(program, errors, number) * whole.amax(dim=0)
        rest = straight.abs() @ (rest + noise * whole) * (1.0 + noise) + error
        rest = rest * (1.0 + gamma(8))
        parts = [straight @ part for part in parts]
        parts.append(0.5 * stage.spread[0, 0])
        require_small(stage, parts)
    bent = _bent(parts, moved, rest)
    whole = _sum_up(parts[0].abs() @ moves, bent, len(moves))
    return ChangeBounds(whole, parts[0], bent)


def straightened(stage: Stage, width: int) -> Tensor:
    """``(F', A, n', n)``: the stage with every activation replaced by one half.

    Args:
        stage: any.
        width: n, that of the frontier in front of it.
    """
    half = 0.5 * stage.spread
    if stage.carry is None:
        straight = half.new_zeros(*half.shape[:3], width)
    else:
        straight = stage.carry.clone()
    straight[..., stage.acted] += half
    return straight


def scaled_error(program: Program, errors: tuple[float, ...], number: int) -> float:
    """The error of stage ``number``'s maps on the program's scale."""
    if len(errors) != len(program.exponents):
        raise ValueError("the errors are not those of the program's steps")
    ahead = program.exponents[number + 1] - program.exponents[number]
    return power_up(errors[number + 1], ahead)


def require_small(stage: Stage, parts: list[Tensor]) -> None:
    """Raise unless the products held behind a stage fit into memory.

    Raises:
        UnsupportedLayerError: names the stage's layer.
    """
    if sum(part.numel() for part in parts) > LARGEST:
        raise UnsupportedLayerError(
            stage.layer, f"the products of maps hold more than {LARGEST} numbers"
        )


def _bent(parts: list[Tensor], moved: list[Tensor], rest: Tensor) -> Tensor:
    total, terms = rest, 0
    for part, changes in zip(parts[1:], moved[1:], strict=True):
        total = total + part.abs() @ changes
        terms += part.shape[1]
    return total * (1.0 + gamma(terms + len(parts) + 8))


def _sum_up(straight: Tensor, bent: Tensor, terms: int) -> Tensor:
    return (straight * (1.0 + gamma(terms + 4)) + bent) * (1.0 + gamma(4))
