"""Convolutional nets on tori: the bounds hold for the nets with zero padding."""

from __future__ import annotations

import pytest
import torch

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import apply, run
from robustcert.graph.extract import extract
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.lipsdp.compile import compiled, plain, refined
from robustcert.lipschitz.lipsdp.dense import dense_program
from robustcert.lipschitz.lipsdp.masks import with_masks
from robustcert.lipschitz.lipsdp.multipliers import begin, flat, scaled
from robustcert.lipschitz.lipsdp.program import Program, Unfolding
from robustcert.lipschitz.lipsdp.propagate import output_covariance
from robustcert.lipschitz.lipsdp.torus.frequencies import half
from robustcert.lipschitz.lipsdp.torus.program import hybrid_program, torus_program
from robustcert.lipschitz.lipsdp.torus.windows import as_convolution
from robustcert.lipschitz.lipsdp.unfold import unfolded
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.models.torchscript import load_torchscript
from tests.unit.lipschitz.convolutional import Unrolled, random_net, with_rectifiers
from tests.unit.lipschitz.graphs import Sketch
from tests.unit.lipschitz.programs import bound_of

LEAKY = Activation(ActivationKind.LEAKY_RELU, (0.2,))
NEGATIVE = Activation(ActivationKind.LEAKY_RELU, (-0.5,))


def finished(net: Sketch) -> LayerGraph:
    net.act()
    net.flatten()
    net.linear(3)
    return net.graph()


def room_in_front() -> LayerGraph:
    """Only the front is padded, and the last window ends at the border."""
    net = Sketch(1, 4, 5)
    net.random_conv(2, 3, padding=((2, 0), (1, 0)))
    net.act()
    net.random_conv(2, 3, padding=((2, 0), (2, 0)))
    return finished(net)


def room_behind() -> LayerGraph:
    net = Sketch(2, 5, 4)
    net.random_conv(2, 3, padding=((0, 2), (0, 2)))
    net.act()
    net.random_conv(3, 3, stride=(2, 1), padding=((0, 3), (0, 1)))
    return finished(net)


def signal() -> LayerGraph:
    net = Sketch(2, 11)
    net.random_conv(3, 4, stride=2, padding=1)
    net.act()
    net.random_conv(4, 3, stride=3, padding=2, dilation=2)
    return finished(net)


def separable() -> LayerGraph:
    """Depthwise, pointwise and padded layers with nothing between some of them."""
    net = Sketch(4, 6, 7)
    net.random_conv(3, 1)
    net.random_conv(3, 3, padding=1, groups=3)
    net.random_conv(4, 1)
    net.act()
    net.random_conv(2, 1, stride=2)
    net.random_conv(2, 3, padding=1)
    return finished(net)


def pooled() -> LayerGraph:
    net = Sketch(2, 9, 8)
    net.random_conv(3, 3, padding=1)
    net.act()
    net.average(3, 2, 1)
    net.random_conv(3, 1)
    net.act()
    net.average(2, 2)
    return finished(net)


def skipped() -> LayerGraph:
    """The input is carried past two activations."""
    net = Sketch(2, 6, 5)
    net.random_conv(3, 3, padding=1)
    net.act()
    net.random_conv(2, 3, padding=1)
    net.concat(0, len(net.layers) - 1)
    net.act()
    net.random_conv(2, 3, padding=1)
    net.add(len(net.layers) - 1, 0, weight=-1.0)
    return finished(net)


def globally_averaged() -> LayerGraph:
    net = Sketch(1, 6, 6)
    net.random_conv(3, 3, stride=2, padding=1)
    net.act()
    net.random_conv(4, 3, padding=1)
    net.act()
    net.random_conv(4, 3, padding=1)
    net.mean(1, 2)
    net.linear(3)
    return net.graph()


def linear_sum() -> LayerGraph:
    """A padded layer reads a sum of which one term only is zero outside."""
    net = Sketch(2, 5, 5)
    net.random_conv(2, 3, padding=1)
    shallow = net.act()
    net.random_conv(2, 3, padding=1)
    net.add(shallow, len(net.layers) - 1)
    net.random_conv(2, 3, padding=1)
    return finished(net)


def shifted() -> LayerGraph:
    """The first convolution's output reaches beyond its border in front alone."""
    net = Sketch(1, 6, 6)
    net.random_conv(2, 2, padding=((0, 1), (0, 1)))
    net.random_conv(2, 3, padding=1)
    return finished(net)


NETS = (
    room_in_front,
    room_behind,
    signal,
    separable,
    pooled,
    skipped,
    globally_averaged,
    linear_sum,
    shifted,
)
EACH_NET = pytest.mark.parametrize("build", NETS, ids=lambda build: build.__name__)


def require_same_maps(graph: LayerGraph) -> None:
    simple = with_rectifiers(with_masks(graph))
    program, dense = torus_program(simple), dense_program(simple)
    unrolled = Unrolled(simple, program)
    scale = 2.0 ** -dense.exponents[0]
    torch.testing.assert_close(unrolled.start(), scale * dense.start[0, 0])
    for number in range(len(program.torus)):
        spread, carry = unrolled.stage(number)
        stage = dense.stages[number]
        scale = 2.0 ** (dense.exponents[number] - dense.exponents[number + 1])
        torch.testing.assert_close(spread, scale * stage.spread[0, 0])
        assert (carry is None) == (stage.carry is None)
        if carry is not None:
            torch.testing.assert_close(carry, scale * stage.carry[0, 0])


def repeated(program: Program, multipliers, target: Program) -> list[torch.Tensor]:
    """The channels' multipliers for every unit, in the target's scale."""
    return [
        t.repeat_interleave(wide // len(t)) * 4.0 ** (there - here)
        for t, wide, here, there in zip(
            multipliers,
            target.units,
            program.exponents,
            target.exponents,
            strict=False,
        )
    ]


@pytest.mark.parametrize("seed", range(100))
def test_maps_of_a_torus_at_valid_positions_are_those_of_the_net(seed):
    require_same_maps(random_net(seed))


@EACH_NET
def test_nothing_wraps_into_valid_positions(build):
    require_same_maps(build())


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("choose", [flat, scaled])
def test_a_channels_multiplier_holds_for_each_of_its_units(seed, choose):
    graph = with_rectifiers(with_masks(random_net(seed)))
    torus, dense = torus_program(graph), dense_program(graph)
    multipliers = begin(torus, choose)
    bound = bound_of(dense, repeated(torus, multipliers, dense))
    assert bound is not None
    assert bound <= bound_of(torus, multipliers) * (1.0 + 1e-9)


@pytest.mark.parametrize("seed", range(30))
def test_a_multiplier_for_each_unit_is_never_worse_behind_an_unfolding(seed):
    graph = with_masks(random_net(seed))
    torus = torus_program(graph)
    multipliers = begin(torus, scaled)
    for name in torus.torus:
        hybrid = hybrid_program(graph, name)
        bound = bound_of(hybrid, repeated(torus, multipliers, hybrid))
        assert bound is not None
        assert bound <= bound_of(torus, multipliers) * (1.0 + 1e-9)


def test_pointwise_convolutions_lose_nothing_on_a_torus():
    net = Sketch(2, 3, 4)
    for _ in range(3):
        net.random_conv(3, 1)
        net.act()
    net.flatten()
    net.linear(4)
    torus, dense = torus_program(net.graph()), dense_program(net.graph())
    multipliers = begin(torus, scaled)
    bound = bound_of(dense, repeated(torus, multipliers, dense))
    assert bound == pytest.approx(bound_of(torus, multipliers), rel=1e-12)


def test_unfolding_at_the_first_activation_is_the_dense_program():
    graph = room_in_front()
    first = next(layer.name for layer in graph.layers if layer.kind == "elementwise")
    hybrid, dense = hybrid_program(graph, first), dense_program(graph)
    multipliers = begin(dense, scaled)
    assert bound_of(hybrid, multipliers) == bound_of(dense, multipliers)


@pytest.mark.parametrize("sizes", [(5,), (6,), (4, 5), (6, 3)])
def test_unfolding_is_the_sum_over_all_frequencies(sizes):
    generator = torch.Generator().manual_seed(0)
    channels, valid = 2, tuple(size - 1 for size in sizes)
    noise = torch.randn(3, channels, *sizes, generator=generator, dtype=torch.float64)
    dims = tuple(range(2, 2 + len(sizes)))
    spectrum = torch.fft.fftn(noise, dim=dims).flatten(2).permute(2, 1, 0)
    covariance = spectrum @ spectrum.mH
    frequencies, weights = half(sizes)
    number = sum(
        frequencies[:, d] * torch.Size(sizes[d + 1 :]).numel()
        for d in range(len(sizes))
    )
    found = unfolded(Unfolding(sizes, valid, frequencies, weights), covariance[number])
    expected = _shifts(noise, sizes, valid)
    torch.testing.assert_close(found[0], expected)


def _shifts(noise, sizes, valid):
    """``sum over all shifts`` of the noise's outer products, at valid positions."""
    total = 0.0
    for shift in torch.cartesian_prod(*map(torch.arange, sizes)).reshape(
        -1, len(sizes)
    ):
        moved = noise.roll(shift.tolist(), tuple(range(2, noise.ndim)))
        for dim, size in enumerate(valid):
            moved = moved.narrow(2 + dim, 0, size)
        rows = moved.flatten(1)
        total = total + rows.T @ rows
    return total


def test_bounds_are_differentiable_through_an_unfolding():
    net = Sketch(1, 5, 4)
    net.random_conv(2, 3, stride=2, padding=1)
    net.act()
    net.random_conv(2, 3, padding=1)
    second = net.act()
    net.flatten()
    net.linear(2)
    hybrid = hybrid_program(net.graph(), net.layers[second].name)
    start = [t.requires_grad_() for t in begin(hybrid, scaled)]

    def largest(*multipliers):
        covariance = output_covariance(hybrid, multipliers)
        return torch.linalg.eigvalsh(covariance)[-1]

    assert torch.autograd.gradcheck(largest, start)


@pytest.mark.parametrize("seed", range(20))
def test_masks_leave_the_function_as_it_is(seed):
    graph = random_net(seed)
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(4, *graph.input_shape, generator=generator).double()
    torch.testing.assert_close(
        run(with_masks(graph), points), run(graph, points), rtol=0.0, atol=0.0
    )


@pytest.mark.parametrize(
    ("build", "masks"),
    [(separable, 0), (pooled, 0), (skipped, 0), (linear_sum, 1), (shifted, 1)],
)
def test_masks_stand_only_where_padding_meets_a_linear_layer(build, masks):
    layers = with_masks(build()).layers
    assert sum(layer.name.endswith("(mask)") for layer in layers) == masks


def test_a_layer_that_needs_a_mask_leaves_the_torus_without_one():
    graph = linear_sum()
    assert len(torus_program(graph).torus) == 1
    assert len(torus_program(with_masks(graph)).torus) == 3


@pytest.mark.parametrize(("activation", "range_"), [(LEAKY, 1.0), (NEGATIVE, 1.5)])
def test_the_slope_of_what_is_masked_is_among_an_activations_slopes(activation, range_):
    net = Sketch(1, 5, 5)
    net.random_conv(2, 3, padding=1)
    net.act(activation)
    net.flatten()
    net.linear(2)
    program = torus_program(net.graph())
    rectified = torus_program(with_rectifiers(net.graph()))
    (stage,), (other,) = program.stages, rectified.stages
    scale = 2.0 ** (rectified.exponents[1] - program.exponents[1])
    torch.testing.assert_close(stage.spread * scale, other.spread * range_)


def test_two_grids_at_once_are_refused_by_name():
    net = Sketch(1, 8, 8)
    stem = net.act(source=net.random_conv(2, 3, padding=1))
    coarse = net.random_conv(2, 1, stride=2, source=stem)
    net.act(source=net.random_conv(2, 3, padding=1, source=stem))
    fine = net.random_conv(2, 3, stride=2, padding=1)
    net.add(fine, coarse)
    graph = finished(net)
    with pytest.raises(UnsupportedLayerError, match=r"conv\d.*its grid"):
        torus_program(graph)
    assert compiled(graph).torus == {}


def test_a_branch_that_leaves_the_torus_early_is_refused_by_name():
    net = Sketch(1, 6, 6)
    stem = net.act(source=net.random_conv(2, 3, padding=1))
    early = net.flatten()
    net.act(source=net.random_conv(2, 3, padding=1, source=stem))
    net.flatten()
    net.add(early, len(net.layers) - 1)
    net.linear(2)
    with pytest.raises(UnsupportedLayerError, match="leaves the torus while"):
        torus_program(net.graph())


def test_a_net_without_convolutions_has_no_torus():
    net = Sketch(1, 4, 4)
    net.flatten()
    net.linear(3)
    net.act()
    net.linear(2)
    with pytest.raises(UnsupportedLayerError, match="no activation"):
        torus_program(net.graph())
    assert compiled(net.graph()).torus == {}
    assert refined(net.graph()) is None


def test_values_with_other_valid_positions_are_not_unfolded_together():
    net = Sketch(1, 6, 6)
    wide = net.act(source=net.random_conv(2, 3, padding=1))
    narrow = net.act(source=net.random_conv(2, 3))
    net.add(net.random_conv(2, 3, padding=2), wide)
    graph = finished(net)
    require_same_maps(graph)
    with pytest.raises(UnsupportedLayerError, match="valid positions"):
        hybrid_program(graph, net.layers[narrow].name)


def test_only_an_activation_on_a_torus_can_be_unfolded():
    graph = signal()
    with pytest.raises(UnsupportedLayerError, match="not on a torus"):
        hybrid_program(graph, graph.layers[-1].name)


@pytest.mark.parametrize(
    ("shape", "settings"),
    [
        ((2, 6, 7), {}),
        ((1, 7, 7), {"kernel": 3, "stride": 2, "padding": 1}),
        ((1, 7, 7), {"kernel": 3, "stride": 2, "padding": 1, "ceil": True}),
        ((3, 9), {"kernel": 3, "stride": 3, "count": False}),
        ((1, 5, 6), {"kernel": (1, 2), "stride": (1, 2), "padding": 0}),
    ],
)
def test_average_pooling_is_a_depthwise_convolution(shape, settings):
    net = Sketch(*shape)
    net.average(**settings)
    layer = net.layers[-1]
    convolution = as_convolution(layer, shape)
    points = net.random(3, *shape)
    torch.testing.assert_close(apply(convolution, [points]), apply(layer, [points]))


@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 3, "stride": 2, "padding": 1, "count": False},
        {"kernel": 2, "stride": 2, "ceil": True},
    ],
)
def test_averages_of_fewer_values_at_the_border_are_no_convolution(settings):
    net = Sketch(1, 7, 7)
    net.average(**settings)
    assert as_convolution(net.layers[-1], (1, 7, 7)) is None


def test_maps_too_large_to_hold_are_refused_by_name():
    net = Sketch(3, 512, 512)
    for _ in range(2):
        net.random_conv(24, 3, padding=1)
        second = net.act()
    net.mean(1, 2)
    net.linear(2)
    name = net.layers[second - 2].name
    with pytest.raises(UnsupportedLayerError, match=f"{name!r}.*more than"):
        compiled(net.graph())


@pytest.mark.parametrize(
    ("name", "channels", "eclipse"),
    [
        ("mnist_conv_kw", 1, 211.107),
        ("fashion_conv_kw", 1, 193.341),
        # 984.406 with one multiplier for still channels and all others
        ("cifar_resnet2b", 3, 984.070),
    ],
)
def test_trained_nets_have_the_bounds_of_eclipse_fast(trained, name, channels, eclipse):
    side = 28 if channels == 1 else 32
    model = load_torchscript(
        (trained / "models" / f"{name}.ts.pt").read_bytes(),
        input_shape=(channels, side, side),
    )
    graph = sound_folded(extract(model))
    torus, hybrid = compiled(graph), refined(graph)
    assert bound_of(torus, begin(torus, flat)) == pytest.approx(eclipse, rel=1e-5)
    multipliers = begin(torus, scaled)
    finer = bound_of(hybrid, repeated(torus, multipliers, hybrid))
    assert finer <= bound_of(torus, multipliers)
    assert [layer.name for layer in plain(graph).layers] == [
        layer.name for layer in graph.layers
    ]
