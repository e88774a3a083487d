"""What no certificate can speak of is refused through every front door, by name."""

from __future__ import annotations

import io
import warnings

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from robustcert.errors import ArchiveError, UnsoundModelError, UnsupportedLayerError
from robustcert.evaluation.load import load_model
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Affine, Elementwise
from tests.models import nets, onnx_files, programs

TABLE = nets.TABLE


class Function(nn.Module):
    """A function of ``(N, 6)``, in front of a linear layer."""

    def __init__(self, function, features: int = 6) -> None:
        super().__init__()
        self.function = function
        self.head = nn.Linear(features, 3)

    def forward(self, x):
        return self.head(self.function(x))


class Reshaped(Function):
    """Takes half of a row for a row."""

    def __init__(self) -> None:
        super().__init__(None)

    def forward(self, x):
        halves = x.reshape(x.shape[0] * 2, 3).relu()
        return self.head(halves.reshape(x.shape[0], 6))


class Reversed(Function):
    """Adds another sample to each sample."""

    def __init__(self) -> None:
        super().__init__(None)

    def forward(self, x):
        return self.head(x + x.flip(0))


class Recurrent(nn.Module):
    """A cell whose state comes from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 4)
        self.state = nn.Linear(3, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.cell(x[:, :3], self.state(x[:, 3:])))


class Sine(Function):
    def __init__(self) -> None:
        super().__init__(None)

    def forward(self, x):
        return self.head(torch.sin(x))


class Sorted(Function):
    """Takes coordinates from where the data say."""

    def __init__(self) -> None:
        super().__init__(None)

    def forward(self, x):
        return self.head(torch.gather(x, 1, x.argsort(1)))


def with_weight(value: float) -> nn.Module:
    net = nets.settled(nets.mlp(6, 5, 3))
    net[1].weight.data[0, 0] = value
    return net


def onnx_as_it_is(net: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The net as PyTorch exports it in the mode that it is in."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net,
            (torch.zeros(2, *shape),),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}},
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
        )
    return buffer.getvalue()


DOORS = {
    "script": lambda net, _: nets.scripted(net),
    "trace": nets.traced,
    "torch.export": programs.exported,
    "ONNX": onnx_as_it_is,
}
BAD = {
    "NaN weights": lambda: with_weight(torch.nan),
    "infinite weights": lambda: with_weight(torch.inf),
    "batch norm in train mode": lambda: nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 3)
    ).train(),
    "dropout in train mode": lambda: nn.Sequential(
        nn.Linear(6, 5), nn.Dropout(0.5), nn.Linear(5, 3)
    ).train(),
    "batch-mixing reshape": Reshaped,
    "samples reversed": Reversed,
    "recurrent cell": Recurrent,
    "unknown operator": Sine,
    "indices from the data": Sorted,
}
UNSOUND = dict.fromkeys(DOORS, (UnsoundModelError, "NaN or infinite"))
REFUSED = {
    "NaN weights": UNSOUND,
    "infinite weights": UNSOUND,
    "batch norm in train mode": {
        "trace": (UnsupportedLayerError, "changes a buffer, so the model keeps state"),
        "torch.export": (ArchiveError, "'batch_norm' runs in train mode"),
        "ONNX": (UnsupportedLayerError, "'1': is a batch norm in train mode"),
    },
    "dropout in train mode": {
        "trace": (UnsupportedLayerError, "'dropout': is a dropout in train mode"),
        "torch.export": (ArchiveError, "'dropout' runs in train mode"),
        "ONNX": (UnsupportedLayerError, "Dropout': is a dropout in train mode"),
    },
    "batch-mixing reshape": dict.fromkeys(
        ("script", "torch.export"),
        (UnsupportedLayerError, "'reshape': its output .* mixes the 2 samples"),
    )
    | dict.fromkeys(
        ("trace", "ONNX"),
        (UnsupportedLayerError, "computes with the number of samples"),
    ),
    "samples reversed": dict.fromkeys(
        ("script", "trace", "torch.export"),
        (UnsupportedLayerError, "'flip': moves numbers from one sample to another"),
    )
    | {"ONNX": (UnsupportedLayerError, "Slice': moves numbers from one sample")},
    "recurrent cell": {
        "script": (UnsupportedLayerError, "aten::gru_cell has no rule"),
        "trace": (UnsupportedLayerError, "aten::unsafe_chunk has no rule"),
        "torch.export": (UnsupportedLayerError, "aten.gru_cell.default has no rule"),
        "ONNX": (UnsupportedLayerError, "multiplies two tensors that depend"),
    },
    "unknown operator": dict.fromkeys(
        ("script", "trace"), (UnsupportedLayerError, "aten::sin has no rule")
    )
    | {
        "torch.export": (UnsupportedLayerError, "aten.sin.default has no rule"),
        "ONNX": (UnsupportedLayerError, "operator Sin has no rule"),
    },
    "indices from the data": dict.fromkeys(
        ("script", "trace"), (UnsupportedLayerError, "aten::argsort has no rule")
    )
    | {
        "torch.export": (UnsupportedLayerError, "aten.argsort.default has no rule"),
        "ONNX": (UnsupportedLayerError, "TopK has no rule"),
    },
}
CELLS = [(bad, door) for bad, doors in REFUSED.items() for door in doors]
SCRIPTS_IN_TRAIN_MODE = ("batch norm in train mode", "dropout in train mode")


def read(data: bytes):
    return extract(load_model(data, sample_shape=TABLE))


def batch() -> torch.Tensor:
    return torch.rand(4, 6, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize(("bad", "door"), CELLS)
def test_what_no_certificate_can_speak_of_is_refused_by_name(bad, door):
    kind, reason = REFUSED[bad][door]
    with pytest.raises(kind, match=reason) as caught:
        read(DOORS[door](BAD[bad](), TABLE))
    assert caught.value.remedy


def test_every_cell_of_the_table_is_tested():
    missing = {(bad, door) for bad in BAD for door in DOORS} - set(CELLS)
    assert missing == {(bad, "script") for bad in SCRIPTS_IN_TRAIN_MODE}


@pytest.mark.parametrize("bad", SCRIPTS_IN_TRAIN_MODE)
def test_a_script_in_train_mode_is_measured_in_eval_mode(bad):
    net = BAD[bad]()
    graph = read(nets.scripted(net))
    wanted = net.eval().double()(batch())
    torch.testing.assert_close(run(graph, batch()), wanted)


def test_a_script_that_branches_on_the_data_is_refused():
    with pytest.raises(UnsupportedLayerError, match="aten::sum has no rule"):
        read(nets.scripted(nets.DataBranch()))


@pytest.mark.parametrize("door", ["trace", "ONNX"])
def test_a_recording_holds_the_branch_that_was_taken_and_no_other(door):
    net = nets.settled(nets.DataBranch())
    graph = read(DOORS[door](net, TABLE))
    taken = net.double().head(-batch())  # zeros were recorded: the sum is not above 0
    torch.testing.assert_close(run(graph, batch()), taken, rtol=1e-6, atol=1e-6)
    assert not any(isinstance(layer, Elementwise) for layer in graph.layers)
    assert any(isinstance(layer, Affine) for layer in graph.layers)


class Conditional(nn.Module):
    """A branch on the data that torch.export writes into the program."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        def ahead(y):
            return y.relu()

        def behind(y):
            return y.neg()

        return self.head(torch.cond(x.sum() > 0, ahead, behind, (x,)))


def test_a_program_that_branches_on_the_data_is_refused():
    with pytest.raises(ArchiveError, match=r"higher_order|subgraph"):
        read(programs.exported(Conditional(), TABLE))


def test_an_onnx_file_that_branches_on_the_data_is_refused():
    with pytest.raises(ArchiveError, match="control flow"):
        read(onnx_files.model_file(_branch(), ("N", 6), {"zero": 0.0}))


def _branch() -> list[onnx.NodeProto]:
    def graph(operator: str) -> onnx.GraphProto:
        output = helper.make_tensor_value_info(operator, TensorProto.FLOAT, None)
        nodes = [onnx_files.node(operator, ["x"], [operator])]
        return helper.make_graph(nodes, operator, [], [output])

    return [
        onnx_files.node("ReduceMean", ["x"], ["mean"], keepdims=0),
        onnx_files.node("Greater", ["mean", "zero"], ["above"]),
        onnx_files.node(
            "If",
            ["above"],
            ["y"],
            then_branch=graph("Relu"),
            else_branch=graph("Neg"),
        ),
    ]
