"""Layers of constant 1: their proved norms, and what files hold of them."""

from __future__ import annotations

import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from robustcert.certify.interface import CertificationTask
from robustcert.certify.registry import CERTIFIERS
from robustcert.errors import UsageError
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.lipschitz.interface import Problem
from robustcert.lipschitz.matrix_norm import matrix_norm_bound
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.models.exported import load_exported
from robustcert.models.torchscript import load_torchscript
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from robustcert.tensors import margins
from robustcert.train.export import save_model
from robustcert.train.interface import Batch, Moment, Plan
from robustcert.train.lipschitz_layers import AOLLinear, MaxMin, SLLBlock
from robustcert.train.lipschitz_nets import aol_net, sll_net
from robustcert.train.margin import MarginOptions, margin_fit
from robustcert.train.plain import RectifiedResidual, plain
from tests.unit.train.robust_cases import generator, plane_data, seeded, trained

ROUNDING = 1.0 + 1e-9
SIZES = st.integers(1, 9)
SEEDS = st.integers(0, 2**20)
NETS = {"aol": aol_net, "sll": sll_net}


def built(name, widths=(8, 6), shape=(2, 3), classes=3, seed=0):
    """A net whose parameters are far from where they begin."""
    net = NETS[name](widths)(shape, classes, generator(seed))
    g = generator(seed + 1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=g)
    return net.double()


def torchscript(net):
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(net.eval()), buffer)
    return buffer.getvalue()


@given(inputs=SIZES, outputs=SIZES, seed=SEEDS, scale=st.sampled_from([1e-6, 1, 1e6]))
def test_an_aol_layer_has_a_proved_norm_of_at_most_1(inputs, outputs, seed, scale):
    layer = seeded(AOLLinear(inputs, outputs, generator(0)), seed)
    with torch.no_grad():
        layer.raw *= scale
        weight = layer.effective()
    assert matrix_norm_bound(weight, Norm.L2) <= ROUNDING


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 3), (3, 5), (4, 4)])
def test_an_orthogonal_aol_layer_uses_its_weight_as_it_is(inputs, outputs):
    layer = AOLLinear(inputs, outputs, generator(0)).double()
    torch.testing.assert_close(layer.effective(), layer.raw, rtol=0.0, atol=1e-6)


def test_an_aol_layer_of_zeros_returns_its_bias():
    layer = AOLLinear(3, 2, generator(0)).double()
    with torch.no_grad():
        layer.raw.zero_()
        layer.bias.fill_(0.5)
    assert (layer(torch.ones(4, 3).double()) == 0.5).all()
    gradients = torch.autograd.grad(layer.effective().sum(), layer.raw)
    assert gradients[0].isfinite().all()


@given(size=SIZES, hidden=SIZES, seed=SEEDS)
def test_an_sll_block_has_jacobians_of_a_proved_norm_of_at_most_1(size, hidden, seed):
    block = seeded(SLLBlock(size, hidden, generator(0)), seed)
    # Between two inputs each unit has some slope in [0, 1]; the block is that linear.
    slopes = torch.rand(hidden, generator=generator(seed), dtype=torch.float64)
    slopes[::2] = slopes[::2].round()
    with torch.no_grad():
        between = block.outward() @ (slopes[:, None] * block.raw)
    jacobian = torch.eye(size, dtype=torch.float64) + between
    assert matrix_norm_bound(jacobian, Norm.L2) <= ROUNDING


def test_an_sll_block_of_one_unit_is_a_reflection_on_its_side():
    block = SLLBlock(2, 1, generator(0)).double()
    with torch.no_grad():
        block.raw.copy_(torch.tensor([[3.0, 0.0]]))
    inputs = torch.tensor([[1.0, 2.0], [-1.0, 2.0]]).double()
    mirrored = torch.tensor([[-1.0, 2.0], [-1.0, 2.0]]).double()
    torch.testing.assert_close(block(inputs), mirrored)


def test_maxmin_sorts_pairs_and_loses_nothing():
    inputs = torch.tensor([[1.0, 5.0, 3.0, 2.0]])
    assert MaxMin(4)(inputs).tolist() == [[3.0, 5.0, 1.0, 2.0]]
    with pytest.raises(UsageError, match="paired"):
        MaxMin(3)


@pytest.mark.parametrize("name", NETS)
@settings(max_examples=20)
@given(seed=SEEDS)
def test_no_two_inputs_are_moved_apart_before_the_last_layer(name, seed):
    trunk = built(name, seed=seed)[:-1]
    g = generator(seed)
    first, second = torch.randn(2, 64, 2, 3, generator=g, dtype=torch.float64)
    second = torch.cat([second[:32], first[32:] + 1e-3 * second[32:]])
    moved = (trunk(first) - trunk(second)).norm(dim=1)
    assert (moved <= (first - second).flatten(1).norm(dim=1) * ROUNDING).all()


@pytest.mark.parametrize("name", NETS)
def test_training_does_not_move_the_proved_norm_above_1(name):
    net = NETS[name]((8,))((2,), 2, generator(0)).double()
    data = plane_data()
    fit = margin_fit(net, data, MarginOptions(0.2), Plan())
    before = [parameter.clone() for parameter in net.parameters()]
    trained(net, fit, data, 20)
    assert all(
        (old != new).any() for old, new in zip(before, net.parameters(), strict=True)
    )
    with torch.no_grad():
        weights = [m.effective() for m in net if isinstance(m, AOLLinear)]
    assert all(matrix_norm_bound(w, Norm.L2) <= ROUNDING for w in weights)
    assert lipsdp_bound(net[:-1], (2,)) <= 1.0 + 1e-4


def lipsdp_bound(net, shape):
    graph = extract(load_torchscript(torchscript(plain(net)), input_shape=shape))
    inputs = torch.zeros(1, *shape, dtype=torch.float64)
    problem = Problem(graph, net, inputs, UNIT_BOX, Norm.L2)
    return UPPER_METHODS["lipsdp"](problem, Effort.TIGHT).value


@pytest.mark.parametrize("name", NETS)
def test_a_plain_copy_returns_the_same_logits_from_plain_layers(name):
    net = built(name)
    copy = plain(net)
    inputs = torch.randn(32, 2, 3, generator=generator(4), dtype=torch.float64)
    torch.testing.assert_close(copy(inputs), net(inputs), rtol=0.0, atol=1e-12)
    kinds = {type(module) for module in copy.modules()}
    assert kinds <= {nn.Sequential, nn.Flatten, nn.Linear, RectifiedResidual}
    assert not {id(p) for p in copy.parameters()} & {id(p) for p in net.parameters()}


def test_a_plain_copy_leaves_other_layers_as_they_are():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    net.eval()
    inputs = torch.rand(2, 1, 5, 5, generator=generator(0))
    assert torch.equal(plain(net)(inputs), net(inputs))
    assert [type(m) for m in plain(net).modules()] == [type(m) for m in net.modules()]


@pytest.mark.parametrize(
    ("ending", "load"), [(".ts.pt", load_torchscript), (".pt2", load_exported)]
)
@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_file_holds_a_net_of_the_same_logits(
    name, ending, load, tmp_path
):
    net = built(name).float()
    path = tmp_path / f"net{ending}"
    save_model(net, (2, 3), path)
    graph = extract(load(path.read_bytes(), input_shape=(2, 3)))
    inputs = torch.rand(16, 2, 3, generator=generator(4), dtype=torch.float64)
    torch.testing.assert_close(
        run(graph, inputs), net.double()(inputs), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("name", NETS)
def test_certificates_of_a_plain_copy_reach_what_a_trunk_of_constant_1_promises(name):
    net = built(name)
    graph = extract(load_torchscript(torchscript(plain(net)), input_shape=(2, 3)))
    inputs = torch.rand(24, 2, 3, generator=generator(4), dtype=torch.float64)
    with torch.no_grad():
        logits = net(inputs)
    labels = logits.argmax(dim=1)
    slack = torch.zeros(24, dtype=torch.float64)
    task = CertificationTask(graph, inputs, labels, Norm.L2, Box(-1e3, 1e3), slack)
    radii = CERTIFIERS["lipschitz-margin"](graph, Norm.L2).radii(task, slack + 100.0)
    rows = net[-1].weight.detach()
    gaps = logits.gather(1, labels[:, None]) - logits
    lengths = (rows[labels][:, None] - rows).norm(dim=2)
    promised = (gaps / lengths).nan_to_num(nan=math.inf).amin(dim=1)
    assert (radii >= promised * (1.0 - 1e-3)).all()
    for seed in range(20):
        noise = torch.randn(inputs.shape, generator=generator(seed)).double()
        units = noise / noise.flatten(1).norm(dim=1)[:, None, None]
        moved = net(inputs + radii[:, None, None] * units)
        assert (margins(moved.detach(), labels) >= 0.0).all()


@pytest.mark.parametrize("name", NETS)
def test_nets_are_drawn_from_their_generator_alone(name):
    before = torch.random.get_rng_state()
    first, second = (NETS[name]((4, 4))((3,), 2, generator(5)) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("name", NETS)
def test_a_margin_fit_knows_that_the_trunk_has_constant_1(name):
    net = NETS[name]((8,))((2,), 2, generator(0)).double()
    data, epsilon = plane_data(), 0.2
    fit = margin_fit(net, data, MarginOptions(epsilon), Plan())
    late = Moment(0, 99, 100)
    fitted = fit(net, Batch(data.training.inputs, data.training.targets), late)
    rows = net[-1].weight
    gained = epsilon * (rows[0] - rows[1]).norm()
    sides = nn.functional.one_hot(1 - data.training.targets, 2)
    exact = nn.functional.cross_entropy(
        fitted.outputs + gained * sides, data.training.targets
    )
    torch.testing.assert_close(fitted.loss, exact, rtol=1e-4, atol=1e-6)
