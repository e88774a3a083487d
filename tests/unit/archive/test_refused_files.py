"""Each file that is no usable model is refused by name, with a remedy that fits."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile

import pytest
import torch
from archive_edits import (
    Call,
    edited,
    packed,
    parts,
    patched_end,
    pickled,
    with_code,
)
from benign_models import saved
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from robustcert.archive.inspect import inspect
from robustcert.archive.limits import ArchiveLimits
from robustcert.errors import ArchiveError


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(12, 3)
        self.sizes = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.out(x)) * self.sizes[0]


@pytest.fixture(scope="module")
def good() -> bytes:
    return saved(torch.jit.script(Small().eval()))


def refusal(data: bytes, **limits) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        inspect(data, ArchiveLimits(**limits))
    error = caught.value
    for sentence in (error.message, error.remedy):
        assert sentence.isprintable()
        assert sentence.endswith(".")
        assert len(sentence) < 400
    return error


def torch_saved(value, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


# --- what the file is


def test_an_archive_repacked_without_changes_is_still_accepted(good):
    assert inspect(good).tensors == 2
    assert inspect(edited(good, {})).tensors == 2


def test_an_empty_file_says_so():
    error = refusal(b"")
    assert "empty" in error.message
    assert "send it again" in error.remedy


def test_garbage_is_no_model():
    assert "not a TorchScript archive" in refusal(b"hello, world" * 100).message


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_archive_is_cut_short(good, kept):
    error = refusal(good[: int(kept * len(good))])
    assert "cut short" in error.message
    assert "send it again" in error.remedy


def test_a_compressed_file_is_to_be_unpacked(good):
    assert "Unpack" in refusal(gzip.compress(good)).remedy


@pytest.mark.parametrize("value", [{"w": torch.ones(2)}, nn.Linear(2, 2)])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_save_file_is_to_be_scripted(value, zipped):
    data = torch_saved(value, _use_new_zipfile_serialization=zipped)
    error = refusal(data)
    assert "no program" in error.message
    assert "torch.jit.save(torch.jit.script(model.eval())" in error.remedy


def test_an_eager_module_is_to_be_scripted():
    assert "eager module" in refusal(torch_saved(nn.Linear(2, 2))).message


def test_the_format_is_told_by_the_bytes(good):
    program = torch.export.export(nn.Linear(2, 2).eval(), (torch.zeros(1, 2),))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    assert inspect(buffer.getvalue()).format == "torch.export"
    assert inspect(good).format == "torchscript"


def test_safetensors_hold_no_network():
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    data = struct.pack("<Q", len(header)) + header + bytes(4)
    assert "without a network" in refusal(data).message


def test_a_zip_of_something_else_holds_no_model():
    assert "without a model" in refusal(packed({"readme.txt": b"hi"})).message


def test_a_mobile_archive_says_so(good):
    assert "mobile" in refusal(edited(good, {"bytecode.pkl": b""})).message


# --- the archive's own rules


def test_a_file_over_its_quota_is_refused(good):
    assert str(len(good)) in refusal(good, size_bytes=len(good) - 1).message


def test_too_many_members_are_refused_before_they_are_listed(good):
    assert "members" in refusal(good, members=3).message
    claimed = patched_end(
        patched_end(edited(good, {}), 8, "<H", 60000), 10, "<H", 60000
    )
    assert "60000 members" in refusal(claimed).message


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "./x", "a//b", "back\\slash", "", "bell\x07"]
)
def test_an_unsafe_member_name_is_refused(good, name):
    assert "unsafe name" in refusal(packed({**parts(good), name: b""})).message


def test_an_absolute_member_name_is_refused(good):
    assert "unsafe name" in refusal(packed(parts(good), root="/etc/")).message


def test_a_nul_in_a_member_name_is_refused(good):
    data = packed({**parts(good), "extra/a~b": b""}).replace(b"a~b", b"a\0b")
    assert "unsafe name" in refusal(data).message


def test_two_roots_are_refused(good):
    buffer = io.BytesIO(edited(good, {}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("other/data.pkl", b"")
    assert "2 top folders" in refusal(buffer.getvalue()).message


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("twin", ["data.pkl", "DATA.pkl"])
def test_a_member_that_is_there_twice_is_refused(good, twin):
    members = {**parts(good), twin: parts(good)["data.pkl"]}
    twice = (twin,) if twin == "data.pkl" else ()
    assert "same name" in refusal(packed(members, twice=twice)).message


@pytest.mark.parametrize("name", ["data/0", "data.pkl", "constants.pkl"])
def test_compressed_tensors_and_pickles_are_refused(good, name):
    data = packed(parts(good), deflated=lambda n: n == name)
    assert "compressed" in refusal(data).message


def test_an_unusual_compression_is_refused(good):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        for name, body in parts(good).items():
            archive.writestr("archive/" + name, body)
    assert "unusual way" in refusal(buffer.getvalue()).message


def test_an_unknown_member_is_refused(good):
    assert "'run.sh'" in refusal(edited(good, {"run.sh": b"rm"})).message


def test_code_that_inflates_beyond_its_cap_is_refused(good):
    bomb = {**parts(good), "code/__torch__/bomb.py": b"x = 1\n" * 2**20}
    data = packed(bomb, deflated=lambda name: name.startswith("code/"))
    assert len(data) < 2**20
    assert "larger than a model needs" in refusal(data).message


def test_code_that_inflates_beyond_its_claim_is_refused(good):
    name = "code/__torch__/bomb.py"
    body = b"#" * 1_234_567
    data = packed({**parts(good), name: body}, deflated=lambda n: n == name)
    lie = data.replace(struct.pack("<L", len(body)), struct.pack("<L", 1000))
    assert lie != data
    assert "does not inflate to the size" in refusal(lie).message


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"MZ" + data,
        lambda data: data + b"tail",
        lambda data: data[:-22] + b"PK\x05\x06" + data[-18:-2] + b"\x01\x00" + b"x",
        lambda data: patched_end(data, 10, "<H", 5),
        lambda data: patched_end(data, 16, "<L", 10),
        lambda data: patched_end(data, 4, "<H", 1),
        lambda data: data.replace(b"archive/version", b"archive/version"[::-1], 1),
    ],
)
def test_an_archive_that_two_readers_would_read_differently_is_refused(good, damage):
    refusal(damage(edited(good, {})))


def test_an_unknown_version_is_refused(good):
    assert "version" in refusal(edited(good, {"version": b"99\n"})).message
    assert "version" in refusal(edited(good, {"version": None})).message


def test_big_endian_weights_are_refused(good):
    assert "big-endian" in refusal(edited(good, {"byteorder": b"big"})).message


# --- pickles


@pytest.mark.parametrize("member", ["data.pkl", "constants.pkl"])
@pytest.mark.parametrize("function", [os.system, eval, os.getenv, torch.load])
def test_a_pickle_that_would_call_a_foreign_function_is_refused(
    good, member, function, tmp_path
):
    pickle = pickled(Call(function, f"touch {tmp_path}/owned"))
    assert "pickle" in refusal(edited(good, {member: pickle})).message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "pickle",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02N",
        b"\x80\x02NN.",
        b"\x80\x02N.N.",
        b"\x80\x02q\x00.",
        b"\x80\x02h\x05.",
        b"\x80\x02t.",
        b"\x80\x02(NR.",
        b"\x80\x04N.",
        b"\x80\x02cos\nsystem\n.",
        b"\x80\x02ctorch\nQInt8Storage\n.",
        b"\x80\x02c__torch__\nMissing\n.",
        b"\x80\x02c__torch__.torch.classes.quantized\nLinear\n.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02X\x00\x00\x02\x00" + b"x" * 0x20000 + b".",
        b"\x80\x02\x8a\x10" + b"\x7f" * 16 + b".",
        b"\x80\x02)" + b"\x85" * 65 + b".",
        b"\x80\x02)" + b"\x85" * 2_000_000 + b".",
        b"\x80\x02" + b"(" * 100_000 + b".",
        b"\x80\x02]q\x00(h\x00e.",
        b"\x80\x02ccollections\nOrderedDict\n(NtR.",
        b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\n](X\x03\x00\x00\x00a;btR.",
    ],
)
def test_a_malformed_or_foreign_pickle_is_refused(good, pickle):
    assert "pickle" in refusal(edited(good, {"constants.pkl": pickle})).message


def test_a_type_text_nested_too_deep_for_the_loader_is_refused(good):
    text = b"List[" * 100 + b"int" + b"]" * 100
    pickle = b"\x80\x02ctorch.jit._pickle\nrestore_type_tag\n](X"
    pickle += struct.pack("<L", len(text)) + text + b"l\x86R."
    assert "pickle" in refusal(edited(good, {"constants.pkl": pickle})).message


def test_a_container_cannot_come_to_hold_itself(good):
    cyclic = b"\x80\x02]q\x00h\x00a."
    assert "pickle" in refusal(edited(good, {"constants.pkl": cyclic})).message


# --- tensors against the bytes that are there


def test_a_short_tensor_member_is_refused(good):
    short = parts(good)["data/0"][:4]
    assert "has 4 bytes where 144" in refusal(edited(good, {"data/0": short})).message


def test_a_long_tensor_member_is_refused(good):
    long = parts(good)["data/0"] + b"more"
    assert "has 148 bytes" in refusal(edited(good, {"data/0": long})).message


def test_a_missing_tensor_member_is_refused(good):
    assert "is missing" in refusal(edited(good, {"data/1": None})).message


def test_a_tensor_member_that_nothing_uses_is_refused(good):
    assert "belongs to no tensor" in refusal(edited(good, {"data/7": b"x"})).message


def test_a_view_beyond_its_storage_is_refused(good):
    pickle = parts(good)["data.pkl"]
    rows = b"(K\x03K\x0ct"  # the weight's shape (3, 12)
    assert pickle.count(rows) == 1
    grown = pickle.replace(rows, b"(K\x04K\x0ct")
    assert "odd arguments" in refusal(edited(good, {"data.pkl": grown})).message


# --- code

FORWARD = "return torch.mul"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ('torch.save(x, "/tmp/f")', "torch.save"),
        ('(x).save("/tmp/f")', "save"),
        ('torch.autograd.save(x, "/tmp/f")', "torch.autograd.save"),
        ('torch.from_file("/etc/passwd")', "torch.from_file"),
        ("torch.manual_seed(0)", "torch.manual_seed"),
        ("torch.set_grad_enabled(False)", "torch.set_grad_enabled"),
        ("ops.mkldnn.data_ptr(x)", "ops.mkldnn.data_ptr"),
        ("ops.aten.save(x)", "ops.aten.save"),
        ("ops.prim.rpc_sync(x)", "ops.prim.rpc_sync"),
        ("fork(x)", "fork"),
        ("awaitable(x)", "awaitable"),
        ('print("flood")', "print"),
        ("__torch__.torch.classes.x.Y.z(x)", "__torch__.torch.classes"),
        ("t = torch", "torch"),
        ("save = torch.save", "torch.save"),
        ('getattr(torch, "save")(x)', "torch"),
        ('getattr(x, "save")("/tmp/f")', "calls the result"),
        ("f = x.save\n    f(x)", "'f'"),
        ("torch = x", "torch"),
        ("(lambda: x)()", "lambda"),
        ("[x for x in x]", "listcomp"),
        ("while True:\n      pass", "while loop"),
        ("with x:\n      pass", "with block"),
        ("import os", "import"),
        ("def inner(x):\n      return x", "function inside"),
    ],
)
def test_code_that_reaches_outside_is_refused(good, code, word):
    changed = with_code(good, FORWARD, f"{code}\n    {FORWARD}")
    assert word in refusal(changed).message


@pytest.mark.parametrize(
    "method", ["__setstate__", "__getstate__", "__del__", "__enter__", "save"]
)
def test_a_method_that_runs_at_load_or_hides_an_operator_is_refused(good, method):
    extra = (
        f"def {method}(self, state: int) -> NoneType:\n    return None\n  def forward"
    )
    assert method in refusal(with_code(good, "def forward", extra)).message


@pytest.mark.parametrize(
    "code",
    [
        "(" * 200_000 + "x" + ")" * 200_000,
        "(" * 65 + "x" + ")" * 65,
        "-" * 200_000 + "x",
        "- " * 100 + "x",
        "not " * 100 + "x",
        "-(" * 60 + "x" + ")" * 60,
        "x" + ".y" * 100_000,
        "+".join("x" * 9_000),
        "x # hidden",
        "x; y",
        '"""x"""',
        "b'x'",
        'f"{x}"',
        "x \\\n + y",
        "x\ry",
        "x\x0c",
        "é",
        "x = '\\n",
        ")))",
    ],
)
def test_text_that_parsers_choke_on_or_read_differently_is_refused(good, code):
    changed = with_code(good, FORWARD, f"y = {code}\n    {FORWARD}")
    assert "code" in refusal(changed).message


def test_code_of_too_many_lines_is_refused(good):
    changed = with_code(good, FORWARD, "x = x\n    " * 60_000 + FORWARD)
    assert "50000 lines" in refusal(changed).message


def test_statements_outside_functions_are_refused(good):
    members = parts(good)
    name = next(n for n in members if n.endswith(".py"))
    changed = edited(good, {name: members[name] + b"x = torch.ones([1])\n"})
    assert "outside functions" in refusal(changed).message


def test_calls_in_a_class_body_are_refused(good):
    changed = with_code(
        good, "training : bool", "training : bool\n  a = torch.ones([1])"
    )
    assert "runs code in the class" in refusal(changed).message


# --- any damage at all


@given(st.data())
def test_any_change_of_bytes_is_accepted_or_refused_and_nothing_else(data):
    original = bytearray(GOOD_BYTES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(original) - 1))
        original[at] = data.draw(st.integers(0, 255))
    try:
        report = inspect(bytes(original))
    except ArchiveError:
        return
    assert report.format == "torchscript"


GOOD_BYTES = saved(torch.jit.script(Small().eval()))
