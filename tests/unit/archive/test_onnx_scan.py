"""ONNX files are scanned by their structure; what no plain network needs is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from robustcert.archive.inspect import inspect
from robustcert.archive.limits import ArchiveLimits
from robustcert.errors import ArchiveError
from tests.models.onnx_files import edited, model_file, node


@pytest.fixture(scope="module")
def good() -> bytes:
    return model_file(
        [node("Gemm", ["x", "w", "b"], ["y"])],
        ("N", 3),
        {"w": np.ones((3, 2), np.float32), "b": np.zeros(2, np.float32)},
    )


def refusal(data: bytes, **limits: int) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        inspect(data, ArchiveLimits(**limits))
    error = caught.value
    for sentence in (error.message, error.remedy):
        assert sentence.isprintable()
        assert sentence.endswith(".")
        assert len(sentence) < 400
    return error


def test_a_plain_network_is_accepted(good):
    report = inspect(good)
    assert (report.format, report.version, report.tensors) == ("onnx", 17, 2)
    assert report.size == len(good)


def test_the_files_that_others_exported_are_accepted(trained):
    files = sorted((trained / "models").glob("*.onnx"))
    assert len(files) == 3
    assert {inspect(file.read_bytes()).format for file in files} == {"onnx"}


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_truncated_file_is_refused(good, share):
    assert refusal(good[: int(share * len(good))])


def test_weights_in_another_file_are_refused(good):
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"

    error = refusal(edited(good, change))
    assert "another file" in error.message
    assert "external_data=False" in error.remedy


def test_a_location_without_a_file_name_is_refused(good):
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].data_location = TensorProto.EXTERNAL

    assert "another file" in refusal(edited(good, change)).message


@pytest.mark.parametrize("dims", [[2**39, 2**39], [2**62], [7], [-1, 6], [1] * 40])
def test_a_tensor_of_another_size_than_its_bytes_is_refused(good, dims):
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer[0].dims[:] = dims

    assert refusal(edited(good, change))


def test_a_tensor_of_texts_is_refused(good):
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(helper.make_tensor("t", 8, [1], [b"text"]))

    assert "holds texts" in refusal(edited(good, change)).message


def branch() -> onnx.GraphProto:
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    return helper.make_graph([node("Relu", ["x"], ["z"])], "branch", [], [output])


@pytest.mark.parametrize(
    "flow",
    [
        node("If", ["c"], ["y"], then_branch=branch(), else_branch=branch()),
        node("Loop", ["n", "c", "x"], ["y"], body=branch()),
        node("Scan", ["x"], ["y"], body=branch(), num_scan_inputs=1),
    ],
    ids=["If", "Loop", "Scan"],
)
def test_control_flow_is_refused(flow):
    assert "control flow" in refusal(model_file([flow], ("N", 3))).message


def test_functions_are_refused(good):
    def change(model: onnx.ModelProto) -> None:
        model.functions.append(
            helper.make_function(
                "own", "F", ["a"], ["b"], [node("Relu", ["a"], ["b"])],
                [helper.make_opsetid("", 17)],
            )
        )  # fmt: skip

    assert "functions" in refusal(edited(good, change)).message


def test_operators_of_other_domains_are_refused_by_name():
    nodes = [node("FusedConv", ["x"], ["y"], domain="com.microsoft")]
    error = refusal(model_file(nodes, ("N", 3)))
    assert "'FusedConv' of the domain 'com.microsoft'" in error.message


def test_names_from_the_file_are_shown_as_printable_text():
    nodes = [node("\x1b[2J\n", ["x"], ["y"], domain="\u202e")]
    assert "\\x1b" in refusal(model_file(nodes, ("N", 3))).message


@pytest.mark.parametrize("opset", [1, 6, 29, 1000])
def test_operators_of_an_unknown_version_are_refused(opset):
    data = model_file([node("Relu", ["x"], ["y"])], ("N", 3), opset=opset)
    assert f"version {opset}" in refusal(data).message


def test_a_file_without_a_version_of_its_operators_is_refused(good):
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].domain = "ai.onnx.ml"

    assert "no version" in refusal(edited(good, change)).message


def test_unknown_fields_are_refused(good):
    assert "unknown field 100" in refusal(good + b"\xa0\x06\x01").message


def test_groups_and_endless_numbers_are_refused(good):
    assert "malformed" in refusal(good + b"\x0b").message
    assert "malformed" in refusal(good + b"\x08" + b"\xff" * 11).message


def test_the_number_of_parts_is_bounded(good):
    assert "more parts" in refusal(good, fields=20).message
    assert "bytes" in refusal(good, size_bytes=100).message
