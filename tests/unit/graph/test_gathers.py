"""Slices and padding: read through every door, certified as the matrices they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustcert.certify.interface import CertificationTask
from robustcert.certify.registry import CERTIFIERS
from robustcert.errors import RobustCertError, UnsupportedLayerError
from robustcert.evaluation.load import load_model
from robustcert.graph.execute import apply, run
from robustcert.graph.extract import extract
from robustcert.graph.fold import folded
from robustcert.graph.layers import Affine, Conv, Gather, Input
from robustcert.graph.onnx.load import load_onnx
from robustcert.graph.transpose import pulled_back
from robustcert.lipschitz.check import pull_back
from robustcert.lipschitz.operator_norm import operator_norm_bound
from robustcert.lipschitz.registry import UPPER_METHODS
from robustcert.results.effort import Effort
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX
from tests.models import nets, onnx_files, programs
from tests.models.onnx_files import model_file, node
from tests.unit.lipschitz.graphs import Sketch, problem

IMAGE = nets.IMAGE

FUNCTIONS = {
    "slice": lambda x: x[:, :, 1:-2, ::3],
    "select": lambda x: x[:, 1, :, 2],
    "narrow": lambda x: x.narrow(3, 2, 4),
    "chunks": lambda x: x.chunk(3, dim=2)[1],
    "parts of one size": lambda x: x.split(3, dim=3)[2],
    "parts of given sizes": lambda x: x.split([1, 5, 2], dim=2)[1],
    "unbound": lambda x: x.unbind(1)[1],
    "flip": lambda x: x.flip([2, 3]),
    "roll": lambda x: x.roll(3, 2),
    "indices": lambda x: x[:, [1, 0, 1]],
    "selected indices": lambda x: x.index_select(2, torch.tensor([5, 0, 5])),
    "repetition": lambda x: x.repeat(1, 2, 1, 3),
    "stack": lambda x: torch.stack([x[:, 1], x[:, 0], x[:, 1]], dim=2),
    "zero padding": lambda x: F.pad(x, (1, 2, 0, 3)),
    "padded channels": lambda x: F.pad(x, (0, 0, 0, 0, 2, 1)),
    "constant padding": lambda x: F.pad(x, (1, 0, 2, 1), value=-1.5),
    "reflection": lambda x: F.pad(x, (3, 1, 2, 0), mode="reflect"),
    "replication": lambda x: F.pad(x, (1, 1, 0, 2), mode="replicate"),
    "channels to pixels": lambda x: F.pixel_shuffle(x.repeat(1, 2, 1, 1), 2),
}
NOT_AS_ONNX = {
    "cropping": lambda x: F.pad(x, (-1, 2, 0, -3), value=0.5),
    "expansion": lambda x: x[:, :1].expand(-1, 4, -1, -1),
    "indices of two dimensions": lambda x: x[:, [0, 1], [7, 2]],
}
"""PyTorch writes these as ONNX operators without a rule, or against ONNX's rules."""


class Function(nn.Module):
    """A function of pictures, in front of a linear layer."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function
        size = function(torch.zeros(1, *IMAGE))[0].numel()
        self.head = nn.Linear(size, 3)

    def forward(self, x):
        return self.head(self.function(x).flatten(1))


DOORS = {
    "trace": nets.traced,
    "torch.export": programs.exported,
    "core operators": programs.decomposed,
    "ONNX": onnx_files.exported,
}


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def graph_of(data, shape=IMAGE):
    return extract(load_model(data, sample_shape=shape))


@pytest.mark.parametrize(
    ("name", "door"),
    [(name, door) for name in FUNCTIONS for door in DOORS]
    + [(name, door) for name in NOT_AS_ONNX for door in DOORS if door != "ONNX"],
)
def test_what_moves_coordinates_is_read_through_every_door(name, door):
    net = nets.settled(Function((FUNCTIONS | NOT_AS_ONNX)[name]))
    graph = graph_of(DOORS[door](net, IMAGE))
    inputs = drawn(4, *IMAGE)
    wanted = net.double()(inputs)
    torch.testing.assert_close(run(graph, inputs), wanted, rtol=1e-6, atol=1e-6)


class Changed(nn.Module):
    """Changes a slice in place and reads the whole again."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(128, 3)

    def forward(self, x):
        whole = x + 1.0
        whole[:, :1].relu_()
        return self.head(whole.flatten(1))


@pytest.mark.parametrize("door", ["trace", "torch.export"])
def test_a_slice_changed_in_place_is_refused(door):
    with pytest.raises(UnsupportedLayerError, match="in place"):
        graph_of(DOORS[door](Changed(), IMAGE))


class Copied(Changed):
    """Changes a copy in place, which leaves what was copied as it is."""

    def forward(self, x):
        turned = x.flip(1)
        turned.relu_()
        padded = F.pad(x, (0, 0))
        padded.relu_()
        return self.head((turned + padded + x).flatten(1))


@pytest.mark.parametrize("door", ["trace", "torch.export"])
def test_a_copy_may_be_changed_in_place(door):
    net = nets.settled(Copied())
    graph = graph_of(DOORS[door](net, IMAGE))
    inputs = drawn(4, *IMAGE)
    torch.testing.assert_close(run(graph, inputs), net.double()(inputs))


BATCHES = {
    "first samples": lambda x: x[:2],
    "every other sample": lambda x: x[::2],
    "reversed": lambda x: x + x.flip(0),
    "rolled": lambda x: x + x.roll(1, 0),
    "repeated": lambda x: x.repeat(2, 1, 1, 1),
    "one sample for all": lambda x: x[:1] + x,
    "a picture each": lambda x: x.split(1)[0],
}


@pytest.mark.parametrize("name", BATCHES)
def test_slices_of_the_batch_are_refused(name):
    data = nets.traced(nets.settled(Function(BATCHES[name])), IMAGE)
    with pytest.raises(RobustCertError) as caught:
        graph_of(data)
    assert caught.value.remedy


def test_one_number_a_sample_keeps_no_place_in_a_graph():
    net = Function(lambda x: (x[:, 0, 0, 0] * 2.0).unsqueeze(1))
    with pytest.raises(UnsupportedLayerError, match="without a dimension") as caught:
        graph_of(nets.traced(net, IMAGE))
    assert "keepdim" in caught.value.remedy


def test_padding_with_infinity_is_refused():
    net = Function(lambda x: F.pad(x, (1, 1), value=-math.inf).relu())
    with pytest.raises(UnsupportedLayerError, match="pads with -inf"):
        graph_of(nets.traced(net, IMAGE))


ONNX = {
    "slice by attributes": (
        9, [node("Slice", ["x"], ["y"], starts=[1], ends=[-1], axes=[1])],
        lambda x: x[:, 1:-1],
    ),
    "slice backwards": (
        13, [node("Slice", ["x", "five", "low", "one", "step"], ["y"])],
        lambda x: x[:, [5, 3, 1]],
    ),
    "gather from behind": (
        13, [node("Gather", ["x", "places"], ["y"], axis=-1)], lambda x: x[:, [-1, 0]],
    ),
    "split by attributes": (
        11, [node("Split", ["x"], ["a", "y"], axis=1, split=[2, 4])],
        lambda x: x[:, 2:],
    ),
    "split by sizes": (
        13, [node("Split", ["x", "sizes"], ["y", "b"], axis=1)], lambda x: x[:, :1],
    ),
    "split into parts": (
        18, [node("Split", ["x"], ["a", "b", "c", "y"], axis=1, num_outputs=4)],
        lambda x: x[:, 6:],
    ),
    "expand": (
        13, [node("Unsqueeze", ["x", "one"], ["u"]),
             node("Expand", ["u", "wide"], ["e"]), node("Flatten", ["e"], ["y"])],
        lambda x: x.repeat(1, 2),
    ),
    "depth to space": (
        13, [node("Reshape", ["x", "image"], ["i"]),
             node("DepthToSpace", ["i"], ["d"], blocksize=2),
             node("SpaceToDepth", ["d"], ["s"], blocksize=2),
             node("Flatten", ["s"], ["y"])],
        lambda x: x,
    ),
    "tile": (13, [node("Tile", ["x", "twice"], ["y"])], lambda x: x.repeat(1, 2)),
    "pad by attributes": (
        9, [node("Pad", ["x"], ["y"], pads=[0, 1, 0, 2], value=2.5)],
        lambda x: F.pad(x, (1, 2), value=2.5),
    ),
    "pad an axis": (
        18, [node("Pad", ["x", "sides", "half", "one"], ["y"])],
        lambda x: F.pad(x, (1, 5), value=0.5),
    ),
    "pad by the edge": (
        13, [node("Pad", ["x", "four"], ["y"], mode="edge")],
        lambda x: torch.cat([x[:, :1], x, x[:, -1:], x[:, -1:]], dim=1),
    ),
}  # fmt: skip
NUMBERS = {
    "five": [5], "low": [-(2**31)], "one": [1], "step": [-2], "places": [-1, 0],
    "sizes": [1, 6], "wide": [1, 2, 7], "twice": [1, 2], "sides": [1, 5],
    "half": 0.5, "four": [0, 1, 0, 2], "image": [-1, 8, 1, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", ONNX)
def test_an_onnx_operator_moves_coordinates_as_pytorch_does(name):
    opset, nodes, wanted = ONNX[name]
    size = {"split by attributes": 6, "depth to space": 8}.get(name, 7)
    used = {place for part in nodes for place in part.input}
    constants = {key: value for key, value in NUMBERS.items() if key in used}
    model = load_onnx(model_file(nodes, ("N", size), constants, opset=opset))
    inputs = drawn(4, size).float()
    torch.testing.assert_close(model.function(inputs), wanted(inputs))


ONNX_REFUSED = {
    "a slice of the batch": [node("Slice", ["x", "zero", "two", "zero"], ["y"])],
    "a sample by its number": [node("Gather", ["x", "zero"], ["y"], axis=0)],
    "a padded batch": [node("Pad", ["x", "below"], ["y"])],
    "a split batch": [node("Split", ["x"], ["y", "z"], axis=0)],
    "indices from the data": [node("Gather", ["two", "x"], ["y"])],
    "sizes that do not fit": [node("Split", ["x", "two"], ["y", "z"], axis=1)],
    "too many names": [node("Split", ["x", "sizes"], ["y", "z", "w"], axis=1)],
    "a huge repetition": [node("Tile", ["x", "huge"], ["y"])],
    "nothing left": [node("Slice", ["x", "two", "two", "one"], ["y"])],
    "an unknown mode": [node("Pad", ["x", "four"], ["y"], mode="sideways")],
}


@pytest.mark.parametrize("name", ONNX_REFUSED)
def test_an_onnx_operator_that_does_not_fit_is_refused(name):
    constants = NUMBERS | {
        "zero": [0], "two": [2], "below": [0, 0, 1, 0], "huge": [1, 2**40],
    }  # fmt: skip
    with pytest.raises(UnsupportedLayerError) as caught:
        load_onnx(model_file(ONNX_REFUSED[name], ("N", 7), constants))
    assert caught.value.remedy


def convolution(graph):
    (found,) = [layer for layer in graph.layers if isinstance(layer, Conv)]
    return found


def test_zero_padding_becomes_the_convolutions_own():
    body = nn.Sequential(
        nn.ZeroPad2d((0, 1, 0, 0)),
        nn.ZeroPad2d((1, 0, 2, 1)),
        nn.Conv2d(2, 3, 3, padding=1),
    )
    net = nets.settled(nn.Sequential(body, nn.Flatten(), nn.Linear(330, 3)))
    for door in DOORS.values():
        graph = graph_of(door(net, IMAGE))
        assert convolution(graph).padding == ((3, 2), (2, 2))
        assert not any(isinstance(layer, Gather) for layer in graph.layers)


@pytest.mark.parametrize(
    "pad",
    [nn.ConstantPad2d(1, 0.5), nn.ReflectionPad2d(1), nn.ZeroPad3d((0, 0, 0, 0, 1, 1))],
)
def test_other_padding_stays_in_front_of_the_convolution(pad):
    conv = nn.Conv2d(pad(torch.zeros(1, *IMAGE)).shape[1], 3, 3)
    net = nn.Sequential(pad, conv, nn.Flatten(), nn.LazyLinear(3))
    net(torch.zeros(1, *IMAGE))
    graph = graph_of(nets.traced(nets.settled(net), IMAGE))
    assert convolution(graph).padding == ((0, 0), (0, 0))
    assert any(isinstance(layer, Gather) for layer in graph.layers)


def test_folding_takes_a_constant_border_into_the_convolution():
    net = Sketch(2, 5, 4, seed=1)
    net.zero_pad(1, 1, 2, 0)
    border = (net.layers[-1].places < 0).double() * 0.5
    net.affine(1.0, border)
    net.random_conv(3)
    graph, inputs = net.graph(), drawn(3, 2, 5, 4)
    simple = folded(graph)
    assert [type(layer) for layer in simple.layers] == [Input, Conv, Affine]
    torch.testing.assert_close(run(simple, inputs), run(graph, inputs))


def test_folding_moves_scales_and_shifts_past_slices():
    net = Sketch(3, 4, seed=2)
    net.affine(net.random(3, 1), net.random(3, 4))
    net.gather([[0, -1, 5], [11, 11, -1]])
    net.affine(net.random(2, 3), 1.0)
    graph, inputs = net.graph(), drawn(5, 3, 4)
    simple = folded(graph)
    assert [type(layer) for layer in simple.layers] == [Input, Gather, Affine]
    torch.testing.assert_close(run(simple, inputs), run(graph, inputs))


PLACES = {
    "slice": [[2, 3], [6, 7]],
    "padding": [-1, 0, 1, 2, -1],
    "repetition": [3, 3, 3, -1, 0, 0],
    "nothing": [-1, -1],
}


def gather_of(places):
    tensor = torch.tensor(places)
    return Gather("gather", (0,), tuple(tensor.shape), places=tensor)


def matrix_of(layer, size):
    return apply(layer, [torch.eye(size, dtype=torch.float64)]).flatten(1).T


@pytest.mark.parametrize("name", PLACES)
def test_reading_backwards_is_the_transpose(name):
    layer, shape = gather_of(PLACES[name]), (2, 4)
    matrix = matrix_of(layer, 8)
    rows = drawn(5, *layer.shape)
    wanted = (rows.flatten(1) @ matrix).reshape(5, *shape)
    torch.testing.assert_close(pulled_back(layer, rows, [shape])[0], wanted)
    (checked,) = pull_back.pulled_back(layer, rows.numpy(), [shape])
    np.testing.assert_allclose(checked, wanted.numpy())


@pytest.mark.parametrize("name", PLACES)
def test_the_norm_is_that_of_the_matrix_and_exact(name):
    layer = gather_of(PLACES[name])
    matrix = matrix_of(layer, 8)
    spectral = torch.linalg.matrix_norm(matrix, 2).item()
    found = operator_norm_bound(layer, (8,), Norm.L2)
    assert spectral <= found + 1e-12
    assert found == pytest.approx(spectral, abs=1e-12)
    rows = matrix.abs().sum(dim=1).max().item()
    assert operator_norm_bound(layer, (8,), Norm.LINF) == rows


def test_infinite_bounds_do_not_turn_padding_into_no_number():
    layer = gather_of([0, -1])
    infinite = torch.tensor([[torch.inf, 1.0]], dtype=torch.float64)
    assert apply(layer, [infinite]).tolist() == [[torch.inf, 0.0]]


def test_conversion_leaves_positions_whole():
    net = Sketch(4)
    net.gather([3, 1])
    net.linear(2)
    half = net.graph().to(torch.float32)
    assert half.layers[1].places.dtype is torch.int64
    assert half.dtype is torch.float32


def sliced(*, written_out: bool):
    """A net of slices, or the same with a matrix in place of each."""
    net = Sketch(2, 3, 3, seed=7)

    def gather(places):
        if not written_out:
            net.gather(places)
            return
        net.flatten()
        layer = gather_of(places)
        net.linear(matrix_of(layer, net.layers[-1].size))
        net.gather(torch.arange(layer.size).reshape(layer.shape).tolist())

    gather([[[0, 3, -1], [9, 9, 2], [17, 5, 8]]])
    net.random_conv(3, size=2)
    net.act()
    gather([5, 4, -1, 0, 0, 11, 7])
    net.linear(5)
    net.act()
    net.linear(3)
    return net.graph()


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("method", CERTIFIERS)
def test_a_slice_is_certified_as_the_matrix_that_it_is(method, norm):
    if method == "milp" and norm is Norm.L2:
        pytest.skip("milp knows balls in linf alone")
    found = []
    for graph in (sliced(written_out=False), sliced(written_out=True)):
        inputs = drawn(2, 2, 3, 3, seed=5).sigmoid()
        labels = run(graph, inputs).argmax(dim=1)
        slack = torch.zeros(2, dtype=torch.float64)
        task = CertificationTask(graph, inputs, labels, norm, UNIT_BOX, slack)
        most = torch.full_like(slack, 0.2)
        found.append(CERTIFIERS[method](graph, norm).radii(task, most))
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-9)
    assert found[0].min() > 0.0


@pytest.mark.parametrize(
    "method", ["spectral_product", "liplt", "eclipse_fast", "lipsdp"]
)
def test_a_slice_has_the_lipschitz_bounds_of_its_matrix(method):
    bound = UPPER_METHODS[method]
    sparse, dense = (
        bound(problem(sliced(written_out=written)), Effort.FAST).value
        for written in (False, True)
    )
    assert sparse == pytest.approx(dense, rel=1e-6)
