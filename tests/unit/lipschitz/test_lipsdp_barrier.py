"""The barrier's derivatives, and the block algebra below them."""

from __future__ import annotations

import pytest
import torch

from robustcert.lipschitz.lipsdp.multipliers import begin, scaled
from robustcert.lipschitz.lipsdp.propagate import chosen_covariance
from robustcert.lipschitz.lipsdp.search.barrier import Barrier, lowest_sigma
from robustcert.lipschitz.lipsdp.search.barrier_joint import Push
from robustcert.lipschitz.lipsdp.search.coupled import (
    Layout,
    factored,
    gram,
    halfway,
    inverse,
    solution,
)
from robustcert.lipschitz.lipsdp.search.unrolled import unrolled
from tests.unit.lipschitz.lipsdp_nets import PROGRAMS

PUSHES = {"weak": Push(0.01, 0.0), "strong": Push(0.02, 0.5)}


def covariances(program, multipliers):
    """The outputs' covariance, and that of each activation's inputs."""
    seen = []

    def choose(stage, inputs):
        seen.append(inputs)
        return multipliers[stage]

    return chosen_covariance(program, choose), seen


def barrier_by_definition(program, push, sigma):
    """``-logdet(sigma I - G) - e logdet K``, by ellipsoids from stage to stage.

    K's Schur complement at a stage is ``T^-1 (T - N/4) T^-1``.
    """
    torus = [i for i, stage in enumerate(program.stages) if stage.leaves_torus]
    border = torus[0] + 1 if torus else 0

    def value(logarithms):
        multipliers = (0.5 * (-logarithms).exp()).split(program.units)
        outputs, seen = covariances(program, multipliers)
        total = -torch.logdet(sigma * torch.eye(len(outputs)).to(outputs) - outputs)
        for stage, (inputs, own) in enumerate(zip(seen, multipliers, strict=True)):
            schur = torch.diag(own) - 0.25 * inputs
            logdets = torch.linalg.slogdet(schur).logabsdet.real - 2.0 * own.log().sum()
            factor = push.torus if stage < border else push.dense
            total = total - factor * logdets.sum()
        return total

    return value


@pytest.mark.parametrize("push", PUSHES.values(), ids=PUSHES)
@pytest.mark.parametrize("build", PROGRAMS.values(), ids=PROGRAMS)
def test_the_barriers_derivatives_are_those_of_its_definition(build, push):
    program = build()
    start = torch.cat(begin(program, scaled))
    wiggle = torch.rand(len(start), generator=torch.Generator().manual_seed(1))
    logarithms = (0.5 / start).log() - 0.3 * wiggle.double()
    barrier = Barrier(unrolled(program), push)
    state = barrier.at(logarithms.exp())
    sigma = 1.3 * float(state.values[-1])
    value = barrier_by_definition(program, push, sigma)
    with torch.enable_grad():
        gradient = torch.autograd.functional.jacobian(value, logarithms)
        hessian = torch.autograd.functional.hessian(value, logarithms)
    found = barrier.derivatives(state, sigma)
    own = logarithms.exp()
    expected = own * found.gradient
    torch.testing.assert_close(expected, gradient, rtol=1e-8, atol=1e-10)
    curvature = own[:, None] * found.hessian * own + torch.diag(expected)
    torch.testing.assert_close(curvature, hessian, rtol=1e-7, atol=1e-9)
    by_definition = state.offset - float((sigma - state.values).log().sum())
    assert by_definition == pytest.approx(float(value(logarithms)), rel=1e-10)


def test_the_lowest_sigma_makes_the_weights_add_up_to_the_sharpness():
    values = torch.tensor([0.5, 2.0, 2.0, 3.0], dtype=torch.float64)
    sigma = lowest_sigma(values, 7.0)
    assert sigma > 3.0
    assert float((1.0 / (sigma - values)).sum()) == pytest.approx(7.0)


LAYOUT = Layout(groups=2, counts=(4, 2, 1), widths=(2, 3, 2))


def coupled_matrix(seed=0):
    """Blocks of a positive definite matrix, and the two groups written out."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.complex128)

    diagonal = []
    for count, width in zip(LAYOUT.counts, LAYOUT.widths, strict=True):
        part = random(2 * count, width, width)
        diagonal.append(part @ part.mH + 20.0 * torch.eye(width))
    couplings = {(0, 1): random(8, 2, 3), (0, 2): random(8, 2, 2)}
    whole = torch.zeros(2, LAYOUT.size, LAYOUT.size, dtype=torch.complex128)
    for group in range(2):
        for node, (count, width) in enumerate(
            zip(LAYOUT.counts, LAYOUT.widths, strict=True)
        ):
            for block in range(count):
                begin = LAYOUT.offsets[node] + block * width
                rows = slice(begin, begin + width)
                whole[group, rows, rows] = diagonal[node][group * count + block]
        for (i, j), coupling in couplings.items():
            ratio = LAYOUT.counts[i] // LAYOUT.counts[j]
            for block in range(LAYOUT.counts[i]):
                top = LAYOUT.offsets[i] + block * LAYOUT.widths[i]
                left = LAYOUT.offsets[j] + block // ratio * LAYOUT.widths[j]
                rows = slice(top, top + LAYOUT.widths[i])
                columns = slice(left, left + LAYOUT.widths[j])
                own = coupling[group * LAYOUT.counts[i] + block]
                whole[group, rows, columns] = own
                whole[group, columns, rows] = own.mH
    return diagonal, couplings, whole


def test_blocks_coupled_by_a_tree_are_inverted_like_the_whole_matrix():
    diagonal, couplings, whole = coupled_matrix()
    factor = factored(LAYOUT, diagonal, couplings)
    expected = torch.linalg.inv(whole)
    torch.testing.assert_close(inverse(factor, 0), expected)
    begin = LAYOUT.offsets[1]
    torch.testing.assert_close(inverse(factor, 1), expected[:, begin:, begin:])
    logdets = torch.linalg.slogdet(whole).logabsdet
    torch.testing.assert_close(factor.logdets(), logdets)


def test_a_tree_of_blocks_solves_for_columns_that_start_anywhere():
    diagonal, couplings, whole = coupled_matrix(seed=1)
    factor = factored(LAYOUT, diagonal, couplings)
    right = torch.zeros(2, LAYOUT.size, 3, dtype=torch.complex128)
    generator = torch.Generator().manual_seed(2)
    begin = LAYOUT.offsets[1]
    right[:, begin:] = torch.randn(2, LAYOUT.size - begin, 3, generator=generator)
    by_node = {
        1: right[:, begin : LAYOUT.offsets[2]].reshape(4, 3, 3),
        2: right[:, LAYOUT.offsets[2] :],
    }
    half = halfway(factor, by_node)
    expected = torch.linalg.solve(whole, right)
    torch.testing.assert_close(solution(factor, half), expected)
    inner = (right.mH @ expected).real.sum(dim=0)
    torch.testing.assert_close(gram(factor, half), inner)


def test_an_indefinite_matrix_has_no_factor():
    diagonal, couplings, _ = coupled_matrix()
    diagonal[2] = -diagonal[2]
    assert factored(LAYOUT, diagonal, couplings) is None
