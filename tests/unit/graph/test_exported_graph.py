"""A torch.export program is read as the same graph as TorchScript, or refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustcert.errors import UnsupportedLayerError
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import LayerGraph
from robustcert.models.exported import load_exported
from robustcert.models.torchscript import load_torchscript
from tests.models import nets, programs

ALL_NETS = [(name, nets.IMAGE, build) for name, build in nets.IMAGE_NETS.items()] + [
    (name, nets.TABLE, build) for name, build in nets.TABLE_NETS.items()
]
SERIES = (3, 12)
SPELLED_OUT = {"celu": "expm1", "softplus": "exp", "hardswish": "mul", "prelu": "gt"}
"""Activations that the core set of operators writes out, and what is refused then."""
DECOMPOSED = [
    *("mlp", "conv same", "batch norm", "selu", "silu", "gelu tanh", "hardsigmoid"),
    *("max pool", "adaptive max pool", "global pool", "residual", "concat", "softmax"),
]


def read(data: bytes) -> LayerGraph:
    return extract(load_exported(data))


def batch(shape: tuple[int, ...], rows: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(rows, *shape, generator=generator, dtype=torch.float64)


def described(graph: LayerGraph) -> list[tuple]:
    return [
        (layer.kind, layer.name, layer.inputs, layer.shape) for layer in graph.layers
    ]


@pytest.mark.parametrize(
    ("name", "shape", "build"), ALL_NETS, ids=[name for name, *_ in ALL_NETS]
)
def test_script_trace_and_program_of_a_net_are_the_same_graph(name, shape, build):
    net = nets.settled(build())
    graph = read(programs.exported(net, shape))
    script = extract(load_torchscript(nets.scripted(net), input_shape=shape))
    trace = extract(load_torchscript(nets.traced(net, shape), input_shape=shape))
    assert described(graph) == described(script)
    points = batch(shape)
    for other in (script, trace):
        gap = (run(graph, points) - run(other, points)).abs().max().item()
        assert gap <= 1e-9


@pytest.mark.parametrize("name", DECOMPOSED)
def test_a_decomposed_program_computes_the_same(name):
    net = nets.settled(nets.IMAGE_NETS[name]())
    ours = run(read(programs.decomposed(net, nets.IMAGE)), batch(nets.IMAGE))
    plain = run(read(programs.exported(net, nets.IMAGE)), batch(nets.IMAGE))
    torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SPELLED_OUT)
def test_an_activation_that_was_written_out_is_refused_with_the_way_out(name):
    net = nets.settled(nets.IMAGE_NETS[name]())
    error = refusal(programs.decomposed(net, nets.IMAGE))
    assert SPELLED_OUT[name] in error.layer
    assert "run_decompositions" in error.remedy


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("name", ["mlp", "concat", "residual", "batch norm"])
def test_a_program_of_a_fixed_batch_is_the_same_graph(name, rows):
    net = nets.settled(nets.IMAGE_NETS[name]())
    graph = read(programs.fixed(net, nets.IMAGE, rows))
    dynamic = read(programs.exported(net, nets.IMAGE))
    assert described(graph) == described(dynamic)
    points = batch(nets.IMAGE, 7)
    assert torch.equal(run(graph, points), run(dynamic, points))


@pytest.mark.parametrize("name", ["mlp", "residual", "normalised", "max pool"])
def test_the_graph_computes_what_torch_export_computes(name):
    net = nets.settled(nets.IMAGE_NETS[name]()).double()
    points = batch(nets.IMAGE)
    theirs = programs.reference(
        programs.saved(
            torch.export.export(net, (points,), dynamic_shapes=({0: programs.BATCH},))
        )
    )
    ours = run(read(programs.exported(net.float(), nets.IMAGE)), points)
    torch.testing.assert_close(ours, theirs(points), rtol=1e-9, atol=1e-9)


class Function(nn.Module):
    """A function of ``(N, 6)``, in front of a linear layer."""

    def __init__(self, function, features: int = 6):
        super().__init__()
        self.function = function
        self.register_buffer("row", torch.linspace(-1.0, 2.0, 6))
        self.register_buffer("square", torch.linspace(-1.0, 1.0, 36).reshape(6, 6))
        self.register_buffer("one", torch.tensor(0.25))
        self.head = nn.Linear(features, 3)

    def forward(self, x):
        return self.head(self.function(self, x))


TABLE_FUNCTIONS = {
    "add a number": lambda _, x: x + 2.5,
    "add a row": lambda m, x: x + m.row,
    "add twice a row": lambda m, x: torch.add(x, m.row, alpha=2),
    "subtract from one": lambda _, x: 1 - x,
    "subtract a row": lambda m, x: m.row - x,
    "difference of tensors": lambda _, x: torch.sub(x.relu(), x, alpha=3),
    "negate": lambda _, x: -x,
    "multiply by a row": lambda m, x: m.row * x,
    "divide by a number": lambda _, x: x / 255.0,
    "divide by a row": lambda m, x: x / (m.row + 3.0),
    "subtract in place": lambda m, x: x.sub_(m.row),
    "matmul": lambda m, x: x @ m.square,
    "matmul transposed": lambda m, x: x @ m.square.t(),
    "mm": lambda m, x: torch.mm(x, m.square.permute(1, 0)),
    "addmm": lambda m, x: torch.addmm(m.row, x, m.square, beta=0.5, alpha=2.0),
    "linear without bias": lambda m, x: F.linear(x, m.square),
    "scaled weight": lambda m, x: F.linear(x, m.square * m.one / 3.0),
    "silu written out": lambda _, x: x * torch.sigmoid(x),
    "clamp below": lambda _, x: x.clamp(min=-0.3),
    "clamp above": lambda _, x: x.clamp(max=0.3),
    "clamp by tensors": lambda m, x: torch.clamp(x, min=-m.one, max=m.one),
    "relu6": lambda _, x: F.relu6(x),
    "unsqueeze and squeeze": lambda _, x: x.unsqueeze(1).squeeze(1),
    "view and transpose": lambda _, x: x.view(-1, 2, 3).transpose(1, 2).flatten(1),
    "permute": lambda _, x: x.reshape(x.shape[0], 3, 2).permute(0, 2, 1).reshape(-1, 6),
    "unflatten": lambda _, x: x.unflatten(1, (2, 3)).flatten(1),
    "concatenate": lambda m, x: (
        torch.cat([x, x + m.row], dim=-1)[:, :] @ torch.cat([m.square, m.square])
    ),
    "clone": lambda _, x: x.clone().relu_() + x,
    "contiguous": lambda _, x: x.contiguous().detach(),
    "dropout in eval mode": lambda _, x: F.dropout(x, 0.5, training=False),
    "a constant in the code": lambda _, x: x * torch.tensor([1.0, 2, 3, 4, 5, 6]),
    "size arithmetic": lambda _, x: x.view(x.shape[0] * 1, 6 * 1),
}


@pytest.mark.parametrize("name", TABLE_FUNCTIONS)
def test_every_function_of_a_row_is_read(name):
    net = nets.settled(Function(TABLE_FUNCTIONS[name]))
    graph = read(programs.exported(net, (6,)))
    points = batch((6,))
    gap = run(graph, points) - net.double()(points.clone())
    assert gap.abs().max().item() <= 1e-6  # constants that the net rounds to float32


def test_the_mean_of_a_dimension_is_read():
    net = nets.settled(Function(lambda _, x: x.view(-1, 2, 3).mean(dim=2), features=2))
    points = batch((6,))
    ours = run(read(programs.exported(net, (6,))), points)
    torch.testing.assert_close(ours, net.double()(points), rtol=1e-6, atol=1e-6)


def test_a_conversion_to_the_type_it_has_is_left_out():
    net = nets.settled(Function(lambda _, x: x.to(torch.float32).relu()))
    graph = read(programs.exported(net, (6,)))
    assert [layer.kind for layer in graph.layers] == ["input", "elementwise", "linear"]


SERIES_LAYERS = {
    "conv1d": lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1),
    "conv1d same": lambda: nn.Conv1d(3, 4, 5, padding="same"),
    "conv1d grouped": lambda: nn.Conv1d(3, 6, 3, groups=3, dilation=2, bias=False),
    "batch norm": lambda: nn.BatchNorm1d(3),
    "max pool": lambda: nn.MaxPool1d(3, stride=2, padding=1),
    "average pool": lambda: nn.AvgPool1d(3, stride=3),
    "adaptive average pool": lambda: nn.AdaptiveAvgPool1d(4),
    "adaptive max pool": lambda: nn.AdaptiveMaxPool1d(4),
}


@pytest.mark.parametrize("name", SERIES_LAYERS)
@pytest.mark.parametrize("export", [programs.exported, programs.decomposed])
def test_every_layer_of_a_series_is_read(name, export):
    layer = SERIES_LAYERS[name]()
    size = layer.eval()(torch.zeros(1, *SERIES)).numel()
    net = nets.settled(nn.Sequential(layer, nn.Flatten(), nn.Linear(size, 3)))
    data = export(net, SERIES)
    points = batch(SERIES)
    ours = run(read(data), points)
    torch.testing.assert_close(ours, net.double()(points), rtol=1e-6, atol=1e-6)


def test_layers_carry_the_names_of_the_users_modules():
    net = nets.settled(nets.Residual(2))
    whole = nn.Sequential(net, nn.Flatten(), nn.Linear(128, 4))
    for export in (programs.exported, programs.decomposed):
        names = {layer.name for layer in read(export(whole, nets.IMAGE)).layers}
        assert {"0.conv1", "0.norm", "0.conv2", "2"} <= names


def refusal(data: bytes) -> UnsupportedLayerError:
    model = load_exported(data)
    with pytest.raises(UnsupportedLayerError) as caught:
        extract(model)
    assert caught.value.remedy
    return caught.value


REFUSED = {
    "layer norm": (
        lambda _, x: F.layer_norm(x, (6,)),
        "layer_norm.default has no rule",
    ),
    "noise": (lambda _, x: x + torch.rand_like(x), "rand_like.default has no rule"),
    "sorting": (lambda _, x: x.sort(dim=1).values, "sort.default has no rule"),
    "mean of the batch": (lambda _, x: x - x.mean(dim=0, keepdim=True), "the batch"),
    "product": (lambda m, x: x * (x @ m.square), "multiplies two tensors"),
    "sums of a dimension": (
        lambda _, x: x.cumsum(1),
        "cumsum.default has no rule",
    ),
    "softmax inside": (lambda _, x: x.softmax(1), "reads a softmax"),
    "half precision": (lambda _, x: x.half().float(), "converts its input"),
    "input as a weight": (
        lambda m, x: F.linear(m.row, x).view(-1, 1) + x,
        "depend on the input",
    ),
    "a view in place": (
        lambda _, x: (y := x + 1, y.view(-1, 2, 3).relu_(), y)[2],
        "in place",
    ),
    "batch moved": (
        lambda _, x: x.transpose(0, 1).transpose(0, 1),
        "moves the batch",
    ),
    "samples mixed": (
        lambda _, x: x.reshape(x.shape[0] * 2, 3).relu().reshape(x.shape[0], 6),
        "mixes the 2 samples",
    ),
    "divided by the batch size": (lambda _, x: x / x.shape[0], "number of samples"),
    "different for other batches": (
        lambda m, x: x + (x.shape[0] - 2) * (x.shape[0] - 6) * m.row,
        "number of samples",
    ),
    "ones of the batch": (
        lambda _, x: x + torch.ones(x.shape[0]).sum(),
        "number of samples",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_layer_stands_for_is_refused_by_name(name):
    function, reason = REFUSED[name]
    error = refusal(programs.exported(nets.settled(Function(function)), (6,)))
    assert reason in error.reason


def test_a_transposed_convolution_is_refused():
    net = nn.Sequential(nn.ConvTranspose2d(2, 1, 3), nn.Flatten(), nn.Linear(100, 2))
    assert "conv_transpose2d" in refusal(programs.exported(net, nets.IMAGE)).reason
    core = refusal(programs.decomposed(net, nets.IMAGE))
    assert "transposed convolution" in core.reason


def test_an_uneven_adaptive_pool_is_refused():
    net = nets.settled(nets.pooled(nn.AdaptiveAvgPool2d(3)))
    assert "does not divide" in refusal(programs.exported(net, nets.IMAGE)).reason


def test_reading_leaves_the_model_and_the_global_generator_alone():
    model = load_exported(programs.exported(nets.settled(nets.Concat()), nets.IMAGE))
    before = torch.random.get_rng_state()
    points = torch.rand(2, *nets.IMAGE, generator=torch.Generator().manual_seed(0))
    scores = model.logits(points)
    extract(model)
    assert model.logits(points).dtype is torch.float32
    assert torch.equal(model.logits(points), scores)
    assert torch.equal(before, torch.random.get_rng_state())
