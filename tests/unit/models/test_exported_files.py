"""Each .pt2 file that torch.export did not write is refused, and nothing in it runs."""

from __future__ import annotations

import json
import pickle
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustcert.archive.exported_scan import inspect_exported
from robustcert.archive.limits import ArchiveLimits
from robustcert.errors import ArchiveError, ModelLoadError, RobustCertError
from robustcert.models.exported import load_exported
from tests.models import nets, programs
from tests.models.programs import PROGRAM, WEIGHTS, edited, nodes, rewritten

CONSTANTS = "data/constants/model_constants_config.json"
LARGE = 10**12


@pytest.fixture(scope="module")
def good() -> bytes:
    return programs.exported(nets.settled(nets.IMAGE_NETS["concat"]()), nets.IMAGE)


def refusal(data: bytes) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        inspect_exported(data)
    for sentence in (caught.value.message, caught.value.remedy):
        assert sentence.isprintable()
        assert sentence.endswith(".")
        assert len(sentence) < 400
    with pytest.raises(ArchiveError):
        load_exported(data)
    return caught.value


def assert_refused_or_runs(data: bytes) -> None:
    """Any other exception than our own, or a model that does not run, is a fault."""
    try:
        model = load_exported(data)
    except RobustCertError:
        return
    assert model.logits(torch.ones(3, *model.input_shape)).shape == (3, model.classes)


class Evil:
    """Something that, were it unpickled, would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_program_is_scanned_without_loading_it(good):
    report = inspect_exported(good)
    assert report.format == "torch.export"
    assert report.size == len(good)
    assert report.tensors == 6  # two convolutions and a linear layer


def test_pickled_sample_inputs_are_never_opened(good, tmp_path):
    trap = tmp_path / "opened"
    data = edited(good, {"data/sample_inputs/model.pt": pickle.dumps(Evil(trap))})
    assert load_exported(data).classes == 4
    assert not trap.exists()


def test_pickled_weights_are_refused_unopened(good, tmp_path):
    trap = tmp_path / "opened"

    def change(record):
        record["config"]["head.weight"]["use_pickle"] = True

    data = rewritten(good, change, WEIGHTS)
    data = edited(data, {"data/weights/weight_4": pickle.dumps(Evil(trap))})
    assert "pickle" in refusal(data).message
    assert not trap.exists()


def test_the_formula_of_a_size_is_never_evaluated(good, tmp_path):
    trap = tmp_path / "evaluated"

    def change(record):
        for meta in record["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = f"open({str(trap)!r}, 'w')"
        record["guards_code"] = [f"open({str(trap)!r}, 'w')"]

    assert load_exported(rewritten(good, change)).classes == 4
    assert not trap.exists()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(good, share):
    refusal(good[: int(len(good) * share)])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0.0, 1.0, exclude_max=True), value=st.integers(0, 255))
def test_a_changed_byte_is_harmless_or_refused(good, where, value):
    at = int(where * len(good))
    changed = good[:at] + bytes([value]) + good[at + 1 :]
    assert_refused_or_runs(changed)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_in_the_description_is_harmless_or_refused(good, data):
    strange = st.sampled_from(
        [None, True, -1, 0, 3, LARGE, 0.5, "", "input", "Infinity", [], {}, [{}], [-7]]
    )

    def change(record):
        holder, key = record, "graph_module"
        for _ in range(data.draw(st.integers(2, 9))):
            inner = holder[key]
            keys = list(inner) if isinstance(inner, dict) else range(len(inner))
            if not isinstance(inner, dict | list) or not keys:
                break
            holder, key = inner, data.draw(st.sampled_from(sorted(keys)))
            if not isinstance(holder[key], dict | list):
                break
        holder[key] = data.draw(strange)

    assert_refused_or_runs(rewritten(good, change))


def first(record, operator):
    return next(node for node in nodes(record) if operator in node["target"])


TARGETS = {
    "torch.ops.mylib.fast_linear.default": "no classifier needs",
    "torch.ops.aten.from_file.default": "no classifier needs",
    "torch.ops.aten.as_strided.default": "no classifier needs",
    "torch.ops.aten.conv2d.default.__class__": "no classifier needs",
    "torch.ops.aten.conv2d.de fault": "no classifier needs",
    "torch.ops.higher_order.cond": "higher-order",
    "torch.ops.higher_order.wrap_with_set_grad_enabled": "higher-order",
    "os.system": "no classifier needs",
    "_operator.setitem": "no classifier needs",
    "builtins.eval": "no classifier needs",
}


@pytest.mark.parametrize("target", TARGETS)
def test_an_operator_that_is_not_allowed_is_refused_by_name(good, target):
    data = rewritten(good, lambda r: first(r, "conv2d").update(target=target))
    error = refusal(data)
    assert TARGETS[target] in error.message
    assert target in error.message


@pytest.mark.parametrize("overload", ["out", "nothing", "overloads", "_schema"])
def test_an_overload_that_does_not_exist_or_writes_is_refused(good, overload):
    target = f"torch.ops.aten.relu.{overload}"
    data = rewritten(good, lambda r: first(r, "relu").update(target=target))
    with pytest.raises(ModelLoadError):
        load_exported(data)


def test_an_overload_that_writes_to_another_argument_is_refused(good):
    def change(record):
        call = first(record, "relu")
        weight = {"as_tensor": {"name": "p_head_weight"}}
        call["inputs"].append({"name": "out", "arg": weight, "kind": 2})
        call["target"] = "torch.ops.aten.relu.out"

    with pytest.raises(ModelLoadError, match="writes to"):
        load_exported(rewritten(good, change))


@pytest.mark.parametrize("kind", ["as_graph", "as_custom_obj", "as_operator"])
def test_arguments_that_are_no_data_are_refused(good, kind):
    def change(record):
        first(record, "conv2d")["inputs"][0]["arg"] = {kind: {"name": "x"}}

    assert "no classifier needs" in refusal(rewritten(good, change)).message


def test_an_unknown_argument_is_refused(good):
    extra = {"name": "out", "arg": {"as_tensor": {"name": "x"}}, "kind": 2}
    data = rewritten(good, lambda r: first(r, "tanh")["inputs"].append(extra))
    with pytest.raises(ModelLoadError, match="other arguments"):
        load_exported(data)


def test_a_value_that_is_read_before_it_is_known_is_refused(good):
    assert (
        "unknown value"
        in refusal(rewritten(good, lambda r: nodes(r).reverse())).message
    )


def test_a_value_that_is_given_twice_is_refused(good):
    again = rewritten(good, lambda r: nodes(r).append(nodes(r)[0]))
    assert "given twice" in refusal(again).message


def test_a_weight_that_is_changed_in_place_is_refused(good):
    def change(record):
        arguments = {"other": "x", "self": "p_left_weight"}
        inputs = [
            {"name": key, "arg": {"as_tensor": {"name": name}}, "kind": 1}
            for key, name in arguments.items()
        ]
        call = first(record, "tanh")
        call.update(target="torch.ops.aten.mul_.Tensor", inputs=inputs)

    assert "changes a stored tensor" in refusal(rewritten(good, change)).message


@pytest.mark.parametrize("switch", [{"as_bool": True}, {"as_int": 1}])
def test_a_switch_to_train_mode_is_refused_however_it_is_written(switch):
    net = nets.settled(nets.IMAGE_NETS["batch norm"]())
    data = programs.exported(net, nets.IMAGE)

    def change(record):
        for entry in first(record, "batch_norm")["inputs"]:
            if entry["name"] == "training":
                entry["arg"] = switch

    assert "train mode" in refusal(rewritten(data, change)).message


def test_an_output_that_is_a_weight_is_refused(good):
    def change(record):
        signature = record["graph_module"]["signature"]
        signature["output_specs"][0]["user_output"]["arg"] = {
            "as_tensor": {"name": "p_head_weight"}
        }

    assert "does not depend" in refusal(rewritten(good, change)).message


METAS = {
    "huge": {"sizes": [LARGE, LARGE]},
    "repeated": {"sizes": [4, LARGE], "strides": [0, 0]},
    "negative": {"sizes": [-4, 512]},
    "backwards": {"strides": [-512, 1]},
    "behind the end": {"storage_offset": 1},
    "far away": {"storage_offset": LARGE},
    "of many dimensions": {"sizes": [1] * 40, "strides": [1] * 40},
    "of unequal dimensions": {"strides": [1]},
}


@pytest.mark.parametrize("name", METAS)
def test_a_tensor_that_does_not_fit_its_bytes_is_refused(good, name):
    def change(record):
        meta = record["config"]["head.weight"]["tensor_meta"]
        for key, value in METAS[name].items():
            sizes = value if isinstance(value, list) else [value]
            numbers = [{"as_int": size} for size in sizes]
            meta[key] = numbers if isinstance(value, list) else numbers[0]

    refusal(rewritten(good, change, WEIGHTS))


@pytest.mark.parametrize("code", [0, 11, 29, 99, -1])
def test_a_tensor_type_that_is_not_read_is_refused(good, code):
    def change(record):
        record["config"]["head.weight"]["tensor_meta"]["dtype"] = code

    assert "tensor type" in refusal(rewritten(good, change, WEIGHTS)).message


def test_a_tensor_from_outside_its_folder_is_refused(good):
    def change(record):
        record["config"]["head.weight"]["path_name"] = "../weights/weight_0"

    refusal(rewritten(good, change, WEIGHTS))


def test_a_huge_input_is_refused_before_it_is_made(good):
    def change(record):
        meta = record["graph_module"]["graph"]["tensor_values"]["x"]
        meta["sizes"][1:] = [{"as_int": LARGE}] * 3

    with pytest.raises(ModelLoadError, match="too large"):
        load_exported(rewritten(good, change))


def test_a_huge_reshape_is_refused(good):
    def change(record):
        size = {"name": "size", "arg": {"as_ints": [LARGE, LARGE]}, "kind": 1}
        first(record, "view")["inputs"][1] = size

    with pytest.raises(ModelLoadError):
        load_exported(rewritten(good, change))


TEXTS = {
    "no JSON": b"{",
    "no text": b"\xff\xfe{}",
    "a number": b"7",
}
ODDITIES = {
    "nested deeply": b"[" * 100_000 + b"]" * 100_000,
    "NaN": b"NaN",
    "a long number": b"9" * 400,
    "a key twice": b'{"major": 9, "major": 8}',
    "many values": b"[" + b"0," * 1_100_000 + b"0]",
}


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("member", [PROGRAM, WEIGHTS])
def test_a_description_that_is_malformed_is_refused(good, name, member):
    assert "malformed" in refusal(edited(good, {member: TEXTS[name]})).message


def test_an_entry_that_nobody_reads_is_let_be(good):
    whole = programs.parts(good)[PROGRAM]
    data = edited(good, {PROGRAM: b'{"new_in_a_later_minor": 7,' + whole[1:]})
    assert inspect_exported(data).tensors == 6


@pytest.mark.parametrize("name", ODDITIES)
def test_an_entry_that_strains_the_reader_is_refused(good, name):
    whole = programs.parts(good)[PROGRAM]
    start = b'{"new_in_a_later_minor": ' + ODDITIES[name] + b","
    assert "malformed" in refusal(edited(good, {PROGRAM: start + whole[1:]})).message


MEMBERS = {
    "data/aotinductor/model/run.so": "compiled code",
    "data/constants/custom_obj_0": "not part of a classifier",
    "models/other.json": "not part of a classifier",
    "data/weights/model.pt": "old version",
    "serialized_exported_program.json": "old version",
    "data/weights/weight_77": "belongs to no tensor",
}


@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_that_is_not_needed_is_refused_by_name(good, name):
    assert MEMBERS[name] in refusal(edited(good, {name: b"12345678"})).message


@pytest.mark.parametrize("name", [PROGRAM, WEIGHTS, CONSTANTS, "archive_version"])
def test_a_member_that_is_missing_is_named(good, name):
    assert name in refusal(edited(good, {name: None})).message


def test_another_version_is_refused(good):
    newer = rewritten(good, lambda r: r["schema_version"].update(major=9))
    assert "schema 9" in refusal(newer).message
    assert "archive_version" in refusal(edited(good, {"archive_version": b"1"})).message


def test_a_compressed_member_is_refused(good):
    data = programs.packed(programs.parts(good), kind=zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(data).message


def test_a_file_over_the_limit_is_refused(good):
    with pytest.raises(ArchiveError, match="at most 1000"):
        inspect_exported(good, ArchiveLimits(size_bytes=1000))


def test_a_program_of_many_operators_is_refused(good):
    def change(record):
        record["graph_module"]["graph"]["nodes"] = [{}] * 20_001

    assert "20001 operators" in refusal(rewritten(good, change)).message


def test_extra_files_of_the_user_are_let_be(good):
    data = edited(good, {"extra/notes.txt": b"trained on a Tuesday"})
    assert torch.equal(
        load_exported(data).logits(torch.ones(1, *nets.IMAGE)),
        load_exported(good).logits(torch.ones(1, *nets.IMAGE)),
    )
    assert json.loads(programs.parts(data)[PROGRAM])["schema_version"]["major"] == 8
