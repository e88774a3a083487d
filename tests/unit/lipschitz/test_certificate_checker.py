"""What the checker proves: never less than the truth, and hardly more."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import torch

from robustcert.errors import CertificateError, UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import apply_linear
from robustcert.graph.layers import Elementwise
from robustcert.lipschitz.check.definite import definite_above
from robustcert.lipschitz.check.fourier import frequencies, symbol
from robustcert.lipschitz.check.pull_back import magnitude, pulled_back
from robustcert.lipschitz.check.tori import tori
from robustcert.lipschitz.check.value import certified_value, check
from robustcert.lipschitz.lipsdp.compile import compiled, plain
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.multipliers import begin, flat, scaled
from robustcert.lipschitz.lipsdp.torus.program import hybrid_program, torus_program
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.results.lipschitz_certificate import LayerMultipliers
from robustcert.results.norm import Norm
from tests.unit.lipschitz.certificates import (
    certificate_of,
    chain,
    exact_bound,
    exact_residual_bound,
    feasible,
    handmade,
    residual_chain,
)
from tests.unit.lipschitz.convolutional import random_net
from tests.unit.lipschitz.graphs import Sketch, random_orthogonal
from tests.unit.lipschitz.programs import bound_of

WIDTHS = (7, 10, 9, 8, 3)
GELU = Activation(ActivationKind.GELU)
LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.2,))
STEEP = Activation(ActivationKind.LEAKY_RELU, (-0.5,))


def gaussian(seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        generator.standard_normal((rows, columns))
        for columns, rows in itertools.pairwise(WIDTHS)
    ]


def rescaled(matrices, decades: float, seed: int) -> list[np.ndarray]:
    """The same function: rows times positive numbers, the next columns divided."""
    generator = np.random.default_rng(seed)
    changed = [matrix.copy() for matrix in matrices]
    for first, second in itertools.pairwise(changed):
        factors = 10.0 ** generator.uniform(-decades, decades, len(first))
        first *= factors[:, None]
        second /= factors
    return changed


def wild(seed: int) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    return [
        10.0 ** generator.uniform(-12, 12, matrix.shape) * np.sign(matrix)
        for matrix in gaussian(seed)
    ]


def cancelling(distance: float) -> list[np.ndarray]:
    """Two groups of units that are almost equal, and their enlarged difference."""
    first, second, *rest = gaussian(3)
    near = first[:5] + distance * np.random.default_rng(4).standard_normal((5, 7))
    pair = np.vstack([first[:5], near])
    return [pair, np.hstack([second[:, :5], -second[:, :5]]) / distance, *rest]


def rank_one() -> list[np.ndarray]:
    return [np.outer(matrix[:, 0], matrix[0]) for matrix in gaussian(5)]


def tiny_gap() -> list[np.ndarray]:
    return [1e-9 * matrix for matrix in gaussian(6)]


HARD = {
    "gaussian": gaussian(0),
    "rescaled by 3 decades": rescaled(gaussian(1), 3.0, 1),
    "rescaled by 12 decades": rescaled(gaussian(2), 12.0, 2),
    "rescaled by 25 decades": rescaled(gaussian(2), 25.0, 3),
    "weights over 24 decades": wild(4),
    "cancelling to 1e-3": cancelling(1e-3),
    "cancelling to 1e-9": cancelling(1e-9),
    "rank one": rank_one(),
    "tiny": tiny_gap(),
}


SPREADS = {
    "deviations": np.sqrt,
    "variances": lambda variances: variances,
    "flat": lambda variances: np.full_like(variances, variances.max()),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_the_proved_bound_is_just_above_the_exact_one(name, spread):
    matrices = HARD[name]
    multipliers = feasible(matrices, spread=spread)
    proved = certified_value(chain(matrices), handmade(chain(matrices), multipliers))
    exact = exact_bound(matrices, multipliers)
    assert exact <= mpmath.mpf(proved) <= exact * (1 + mpmath.mpf("1e-8"))


@pytest.mark.parametrize("decades", [0.0, 6.0, 12.0])
def test_a_residual_net_is_proved_just_above_its_exact_bound(decades):
    generator = np.random.default_rng(15)
    shapes = {"first": (6, 5), "skip": (4, 5), "branch": (4, 6), "direct": (3, 4)}
    parts = {
        name: generator.standard_normal(shape)
        * 10.0 ** generator.uniform(-decades, decades, shape)
        for name, shape in {**shapes, "last": (3, 4)}.items()
    }
    graph = residual_chain(parts)
    program = dense_program(graph)
    certificate = certificate_of(graph, program)
    exact = exact_residual_bound(
        parts,
        [
            [
                mpmath.mpf(value) / mpmath.mpf(4) ** part.exponent
                for value in part.values
            ]
            for part in certificate.layers
        ],
    )
    proved = mpmath.mpf(certificate.value)
    assert exact <= proved <= exact * (1 + mpmath.mpf("1e-8"))


@pytest.mark.parametrize("excess", [1e-2, 1e-4, 1e-6])
def test_multipliers_next_to_the_boundary_are_proved_from_above(excess):
    matrices = gaussian(7)[:2]
    multipliers = feasible(matrices, 1.0 + excess)
    proved = certified_value(chain(matrices), handmade(chain(matrices), multipliers))
    exact = exact_bound(matrices, multipliers)
    assert exact <= mpmath.mpf(proved) <= exact * (1 + mpmath.mpf("1e-5"))


def test_multipliers_on_or_below_the_boundary_prove_nothing():
    matrices = gaussian(8)
    for factor in (1.0, 1.0 - 1e-6, 0.5, 0.0):
        multipliers = feasible(matrices)
        multipliers[0] = factor * feasible(matrices[:2], 1.0)[0]
        with pytest.raises(CertificateError, match="prove nothing"):
            certified_value(chain(matrices), handmade(chain(matrices), multipliers))


def test_one_unit_is_bounded_by_its_two_weights():
    matrices = [np.array([[3.0]]), np.array([[-2.0]])]
    graph = chain(matrices)
    proved = certified_value(graph, handmade(graph, [[4.5]]))
    assert 6.0 <= proved <= 6.0 * (1.0 + 1e-12)


def test_orthogonal_layers_have_the_constant_one():
    net = Sketch(16)
    for number in range(4):
        net.linear(random_orthogonal(16, number))
        if number < 3:
            net.act()
    graph = net.graph()
    proved = certified_value(graph, handmade(graph, [[0.5] * 16] * 3))
    assert 1.0 <= proved <= 1.0 + 1e-10


def test_a_net_without_activations_has_the_norm_of_its_matrix():
    net = Sketch(5)
    net.linear(torch.tensor([[3.0, 0.0, 0.0, 0.0, 4.0]], dtype=torch.float64))
    proved = certified_value(net.graph(), handmade(net.graph(), []))
    assert 5.0 <= proved <= 5.0 * (1.0 + 1e-12)


@pytest.mark.parametrize("layer", range(4))
def test_a_net_with_a_layer_of_zeros_is_proved_constant(layer):
    matrices = gaussian(9)
    multipliers = feasible(matrices)
    matrices[layer] = 0.0 * matrices[layer]
    graph = chain(matrices)
    assert certified_value(graph, handmade(graph, multipliers)) == 0.0


def test_units_that_hear_nothing_need_no_multiplier():
    matrices = gaussian(10)
    matrices[0][3], matrices[1][4] = 0.0, 0.0
    alive = [np.delete(matrices[0], 3, 0), np.delete(matrices[1], 3, 1)]
    alive = [alive[0], np.delete(alive[1], 4, 0), np.delete(matrices[2], 4, 1)]
    multipliers = feasible([*alive, matrices[3]])
    expected = exact_bound([*alive, matrices[3]], multipliers)
    for given in (0.0, 1e-30, 1.0):
        whole = [
            np.insert(multipliers[0], 3, given),
            np.insert(multipliers[1], 4, given),
        ]
        graph = chain(matrices)
        proved = certified_value(graph, handmade(graph, [*whole, multipliers[2]]))
        assert expected <= mpmath.mpf(proved) <= expected * (1 + mpmath.mpf("1e-8"))


@pytest.mark.parametrize("power", [-200, -60, 60, 200])
def test_the_bound_scales_with_the_last_layer_by_powers_of_two_exactly(power):
    matrices = gaussian(11)
    multipliers = feasible(matrices)
    plain_bound = certified_value(
        chain(matrices), handmade(chain(matrices), multipliers)
    )
    matrices[-1] = np.ldexp(matrices[-1], power)
    larger = certified_value(chain(matrices), handmade(chain(matrices), multipliers))
    assert larger == math.ldexp(plain_bound, power)


def test_what_the_multipliers_exponent_says_is_what_the_multipliers_say():
    matrices = gaussian(12)
    graph = chain(matrices)
    certificate = handmade(graph, feasible(matrices))
    shifted = replace(
        certificate,
        layers=tuple(
            LayerMultipliers(
                part.layer, tuple(v * 4.0**k for v in part.values), k, part.torus
            )
            for k, part in zip((-9, 0, 30), certificate.layers, strict=True)
        ),
    )
    assert certified_value(graph, certificate) == certified_value(graph, shifted)


def test_products_that_would_underflow_are_refused():
    net = Sketch(2)
    for _ in range(2):
        net.linear(1e-200 * torch.eye(2, dtype=torch.float64))
    net.act()
    for _ in range(2):
        net.linear(1e200 * torch.eye(2, dtype=torch.float64))
    with pytest.raises(CertificateError, match="range of float64"):
        certified_value(net.graph(), handmade(net.graph(), [[1.0, 1.0]]))


def test_products_that_overflow_are_refused():
    matrices = [1e200 * matrix for matrix in gaussian(13)]
    graph = chain(matrices)
    with pytest.raises(CertificateError):
        certified_value(graph, handmade(graph, [[1e300] * n for n in WIDTHS[1:-1]]))


def residual_convolutional():
    """Strides, groups, dilation, pools, a branch, an affine, other slopes; images."""
    net = Sketch(2, 9, 7, seed=1)
    net.random_conv(4, padding=1)
    stem = net.act(LEAKY)
    net.random_conv(4, padding=2, dilation=2, groups=2)
    net.act(GELU)
    last = net.random_conv(4, size=1)
    net.add(stem, last, -0.5)
    net.act(STEEP)
    net.affine(net.random(4, 1, 1), net.random(4, 1, 1))
    net.average(2, 2)
    net.act()
    left = net.random_conv(3, size=2, stride=2)
    net.act()
    net.concat(left, left + 1)
    net.random_conv(2, size=1)
    net.act()
    net.flatten()
    net.linear(3)
    return net.graph()


def one_dimensional():
    net = Sketch(2, 11, seed=2)
    net.random_conv(3, padding=((2, 1),), stride=2)
    net.act()
    net.random_conv(3, padding=1, stride=2)
    net.act()
    net.mean(1)
    net.linear(2)
    return net.graph()


def pooled():
    net = Sketch(1, 8, 8, seed=3)
    net.random_conv(3, padding=1)
    net.maximum(2, 2)
    net.act()
    net.random_conv(3, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    return net.graph()


NETS = {
    "residual": residual_convolutional,
    "one-dimensional": one_dimensional,
    "max-pooled": pooled,
    **{f"random {seed}": lambda seed=seed: random_net(seed) for seed in (2, 3, 5, 11)},
}


@pytest.mark.parametrize("choose", [flat, scaled])
@pytest.mark.parametrize("name", NETS)
def test_the_checker_agrees_with_every_program_it_did_not_see(name, choose):
    graph = sound_folded(NETS[name]())
    simple = plain(graph)
    for program in programs_of(simple):
        found = begin(program, choose)
        proved = certificate_of(graph, program, choose).value
        assert proved == pytest.approx(bound_of(program, found), rel=1e-8)


def programs_of(graph):
    """Dense; on tori; on tori up to an activation in the middle."""
    yield dense_program(graph)
    yield torus_program(graph)
    names = [layer.name for layer in graph.layers if isinstance(layer, Elementwise)]
    try:
        yield hybrid_program(graph, names[len(names) // 2])
    except UnsupportedLayerError:
        return


def test_the_trained_nets_are_proved_to_nine_digits(trained):
    from robustcert.evaluation.load import load_model, read_model_file
    from robustcert.graph.extract import extract

    for name in ("mnist_mlp_lipsdp", "fashion_conv_kw", "cifar_resnet2b"):
        path = trained / "models" / f"{name}.ts.pt"
        graph = sound_folded(extract(load_model(read_model_file(str(path)))))
        program = compiled(graph)
        certificate = certificate_of(graph, program)
        expected = bound_of(program, begin(program, scaled))
        assert certificate.value == pytest.approx(expected, rel=1e-9)
        assert certificate.value >= expected * (1.0 - 1e-13)


def convolutional():
    net = Sketch(1, 6, 6, seed=4)
    net.random_conv(3, padding=1)
    net.act()
    net.random_conv(2, size=4, stride=2, padding=1)
    net.act()
    net.flatten()
    net.linear(3)
    return net.graph()


def torus_multipliers(sizes):
    """Flat multipliers of :func:`convolutional` on tori, from norms of its symbols."""
    graph = convolutional()
    first, _, second = graph.layers[1:4]
    norms = [
        float(
            np.linalg.norm(
                symbol(layer, torus, frequencies(torus, torus).at), 2, (1, 2)
            ).max()
        )
        for layer, torus in zip((first, second), sizes, strict=False)
    ]
    one = norms[0] ** 2 / 2.0
    gain = 2.0 * norms[1] * math.sqrt(one)
    return [[one] * 3, [gain**2] * 2]


@pytest.mark.parametrize("sizes", [((8, 8), (4, 4)), ((10, 8), (5, 4))])
def test_tori_that_hold_the_padding_are_accepted_and_bound_the_unrolled_net(sizes):
    graph = convolutional()
    certificate = handmade(graph, torus_multipliers(sizes), sizes)
    unrolled = certificate_of(graph, dense_program(graph))
    units = [
        np.repeat(part.values, graph.layers[i].size // len(part.values))
        for i, part in zip((2, 4), certificate.layers, strict=True)
    ]
    proved = certified_value(graph, certificate)
    repeated = certified_value(graph, handmade(graph, units))
    assert unrolled.value <= proved
    assert repeated <= proved * (1.0 + 1e-9)  # the unrolled net is a part


@pytest.mark.parametrize(
    "tori_sizes",
    [
        ((6, 6), (3, 3)),  # the padding would wrap into the image
        ((7, 8), (3, 4)),  # no multiple of the stride
        ((8, 8), (8, 8)),  # the stride is forgotten
        ((8,), (4,)),  # one dimension is missing
        ((8, 8, 1), (4, 4, 1)),
        ((2**10, 2**10), (2**9, 2**9)),  # too large to be looked at
        (None, (4, 4)),  # a torus behind units
    ],
)
def test_tori_on_which_values_would_wrap_are_refused(tori_sizes):
    graph = convolutional()
    values = torus_multipliers(((8, 8), (4, 4)))
    if tori_sizes[0] is None:
        values[0] = [values[0][0]] * graph.layers[2].size
    with pytest.raises(CertificateError):
        certified_value(graph, handmade(graph, values, tori_sizes))


def test_a_padded_layer_right_behind_a_linear_one_cannot_stand_on_a_torus():
    net = Sketch(1, 6, 6)
    net.random_conv(2, padding=1)
    net.random_conv(2, padding=1)
    net.act()
    net.flatten()
    net.linear(2)
    graph = net.graph()
    with pytest.raises(CertificateError, match="torus"):
        certified_value(graph, handmade(graph, [[1e9] * 2], [(9, 9)]))


def test_clean_layers_are_zero_off_their_valid_positions():
    graph = sound_folded(random_net(3))
    program = torus_program(plain(graph))
    simple = plain(graph)
    claimed = {
        position: program.torus.get(layer.name)
        for position, layer in enumerate(simple.layers)
        if isinstance(layer, Elementwise)
    }
    places = tori(simple, claimed)
    assert places[0].clean
    assert all(places[i].clean for i in places if i in claimed)
    assert not all(place.clean for place in places.values())


def test_slopes_on_a_torus_contain_zero():
    net = Sketch(1, 4, seed=5)
    kernel = torch.tensor([[[1.0]]], dtype=torch.float64)
    net.conv(kernel)
    net.act(Activation(ActivationKind.LEAKY_RELU, (0.9,)))
    net.conv(kernel)
    net.flatten()
    graph = net.graph()
    proved = certified_value(graph, handmade(graph, [[0.5]], [(4,)]))
    assert proved >= 1.0  # with slopes from 0.9 to 1, (0.9 + 0.1 v) z would give less


@pytest.mark.parametrize("name", ["residual", "one-dimensional", "random 5"])
def test_layers_are_pulled_back_by_their_transposed_matrices(name):
    graph = sound_folded(NETS[name]())
    generator = torch.Generator().manual_seed(0)
    for layer in graph.layers[1:]:
        if isinstance(layer, Elementwise):
            continue
        shapes = [graph.layers[i].shape for i in layer.inputs]
        inputs = [
            torch.randn(3, *shape, generator=generator, dtype=torch.float64)
            for shape in shapes
        ]
        rows = torch.randn(3, *layer.shape, generator=generator, dtype=torch.float64)
        forward = float((apply_linear(layer, inputs) * rows).sum())
        parts = pulled_back(layer, rows.numpy(), shapes)
        backward = sum(
            float((torch.tensor(part) * x).sum())
            for part, x in zip(parts, inputs, strict=True)
        )
        assert forward == pytest.approx(backward, rel=1e-12)
        assert magnitude(layer).shape == layer.shape


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("count", [False, True])
def test_average_pooling_divides_at_the_border_as_torch_does(ceil, count):
    net = Sketch(2, 7, 8)
    net.average(3, 2, 1, ceil=ceil, count=count)
    layer = net.layers[-1]
    ones = torch.ones(1, 2, 7, 8, dtype=torch.float64)
    sums = apply_linear(layer, [ones]).sum()
    rows = np.ones((1, *layer.shape))
    assert pulled_back(layer, rows, [(2, 7, 8)])[0].sum() == pytest.approx(float(sums))


def test_definite_matrices_are_told_from_those_that_are_not():
    generator = np.random.default_rng(0)
    for size in (1, 2, 30):
        square = generator.standard_normal((3, size, size))
        square = square + 1j * generator.standard_normal((3, size, size))
        whole = square @ square.conj().swapaxes(1, 2) + np.eye(size)
        least = np.linalg.eigvalsh(whole)[:, 0].min()
        assert definite_above(whole, np.full(size, 0.99 * least))
        assert not definite_above(whole, np.full(size, 1.01 * least))


@pytest.mark.parametrize("entry", [np.nan, np.inf, -np.inf])
def test_matrices_with_what_is_no_number_are_never_definite(entry):
    matrix = np.eye(3)[None].copy()
    matrix[0, 2, 1] = matrix[0, 1, 2] = entry
    assert not definite_above(matrix, np.zeros(3))
    matrix = np.eye(3)[None].copy()
    matrix[0, 2, 2] = entry
    assert not definite_above(matrix, np.zeros(3))


def test_an_indefinite_matrix_by_less_than_rounding_is_not_proved():
    size = 40
    ones = np.ones((1, size, size))
    assert not definite_above(ones, np.zeros(size))  # eigenvalue 0
    assert not definite_above(ones + 1e-14 * np.eye(size), np.zeros(size))
    assert definite_above(ones + 1e-10 * np.eye(size), np.zeros(size))


def test_another_norm_or_shape_is_refused():
    matrices = gaussian(14)
    graph = chain(matrices)
    certificate = handmade(graph, feasible(matrices))
    with pytest.raises(CertificateError, match="linf"):
        certified_value(graph, replace(certificate, norm=Norm.LINF))
    with pytest.raises(CertificateError, match="shape"):
        certified_value(graph, replace(certificate, input_shape=(8,)))


def test_check_compares_what_is_claimed_with_what_is_proved():
    graph = sound_folded(convolutional())
    certificate = certificate_of(graph, torus_program(graph))
    assert check(graph, certificate) == certificate.value
    for value in (certificate.value * (1.0 - 1e-12), 0.0):
        with pytest.raises(CertificateError, match="prove only"):
            check(graph, replace(certificate, value=value))
