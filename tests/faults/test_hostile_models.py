"""Hostile models: refused by the scan, and harmless in the sandbox without the scan.

Each effect is real: the same file, run without protection, writes or reads as it says.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustcert.archive.inspect import inspect
from robustcert.errors import (
    ArchiveError,
    ChildCrashedError,
    MemoryLimitError,
    RobustCertError,
    TimeLimitError,
)
from robustcert.sandbox.confine import capabilities
from robustcert.sandbox.limits import MIB, Limits
from robustcert.sandbox.run import run_in_child

ENTRIES = Path(__file__).resolve().parents[1] / "unit" / "sandbox"
LIMITS = Limits(seconds=120, memory_bytes=1024 * MIB)
SHORT = Limits(seconds=6, memory_bytes=1024 * MIB)
TIGHT = Limits(seconds=120, memory_bytes=512 * MIB)

needs_landlock = pytest.mark.skipif(
    "landlock" not in capabilities(), reason="this kernel has no Landlock"
)


class SavesInForward(nn.Module):
    def __init__(self, target: str):
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, self.target)
        return x + 1


class SavesInAFork(nn.Module):
    def __init__(self, target: str):
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        waiting = torch.jit.fork(saving, x, self.target)
        return torch.jit.wait(waiting)


@torch.jit.script
def saving(x: Tensor, target: str) -> Tensor:
    torch.save(x, target)
    return x + 1


class SavesWhenLoaded(nn.Module):
    def __init__(self, target: str):
        super().__init__()
        self.target = target
        self.weight = torch.ones(3)

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return self.weight, self.target, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        self.weight = state[0]
        self.target = state[1]
        self.training = state[2]
        torch.save(self.weight, self.target)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class HangsWhenLoaded(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.ones(3)

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        while self.weight.numel() > 0:
            self.weight = self.weight * 1.0

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class HangsInForward(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        while x.numel() > 0:
            x = x * 1.0
        return x


class HangsInARange(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(4_611_686_018_427_387_904):
            x = x * 1.0
        return x


class Grows(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        kept = [x]
        for i in range(1_099_511_627_776):
            kept.append(torch.ones([1_048_576]) * i)  # noqa: PERF401 - TorchScript
        return kept[-1]


class DoublesAText(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        text = "x"
        for _ in range(60):
            text = text + text
        return x + len(text)


class AllocatesATebibyte(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.ones([274_877_906_944]) + x.sum()


class RaisesALongMessage(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        text = "\x1b[31m" + "red red red red red red red red red red red"
        for _ in range(18):
            text = text + text
        if x.numel() > 0:
            raise ValueError(text)
        return x


class PrintsAFlood(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        for _ in range(50_000):
            print("a line that nobody wants to read, printed again")  # noqa: T201
        return x + 1


class ReadsAFile(nn.Module):
    def __init__(self, target: str):
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_file(self.target, False, 8, dtype=torch.uint8) + x.sum()


class CreatesAFile(nn.Module):
    def __init__(self, target: str):
        super().__init__()
        self.target = target

    def forward(self, x: Tensor) -> Tensor:
        mapped = torch.from_file(self.target, True, 8, dtype=torch.uint8)
        return mapped.fill_(7) + x.sum()


class Benign(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(x)


def scripted(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def changed(data: bytes, member: str, change) -> bytes:
    """The archive with one member's bytes changed."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(data)) as before,
        zipfile.ZipFile(buffer, "w") as after,
    ):
        assert any(name.endswith(member) for name in before.namelist())
        for name in before.namelist():
            body = before.read(name)
            after.writestr(name, change(body) if name.endswith(member) else body)
    return buffer.getvalue()


def run_alone(path: Path, limits: Limits) -> dict:
    return run_in_child(
        "torch_entries:run_one",
        {"path": str(path)},
        limits,
        files=[path],
        code=[ENTRIES],
    )


def written(folder: Path, data: bytes) -> Path:
    path = folder / "model.pt"
    path.write_bytes(data)
    return path


WRITERS = (SavesInForward, SavesInAFork, SavesWhenLoaded, CreatesAFile)


def writers(folder: Path) -> dict[str, bytes]:
    """Models that write to their own name in ``folder``; none has done so yet."""
    models = {}
    for kind in WRITERS:
        target = folder / kind.__name__
        models[kind.__name__] = scripted(kind(str(target)))
        target.unlink(missing_ok=True)
    return models


@pytest.mark.parametrize(
    "build",
    [
        *(lambda kind=kind: kind("/nowhere/owned") for kind in (*WRITERS, ReadsAFile)),
        HangsWhenLoaded,
        HangsInForward,
        PrintsAFlood,
    ],
)
def test_the_scan_refuses_a_model_with_an_effect_outside_itself(build):
    with pytest.raises(ArchiveError) as caught:
        inspect(scripted(build()))
    assert caught.value.remedy


@pytest.mark.parametrize(
    "kind", [HangsInARange, Grows, DoublesAText, AllocatesATebibyte, RaisesALongMessage]
)
def test_the_scan_leaves_to_the_sandbox_what_only_running_shows(kind):
    assert inspect(scripted(kind())).format == "torchscript"


@needs_landlock
def test_no_model_writes_or_reads_outside_its_private_folder(tmp_path):
    outside = tmp_path / "outside"
    inputs = tmp_path / "inputs"
    outside.mkdir()
    inputs.mkdir()
    secret = outside / "secret"
    secret.write_bytes(b"hunter2!")
    files = {**writers(outside), "ReadsAFile": scripted(ReadsAFile(str(secret)))}
    paths = {name: inputs / f"{name}.pt" for name in files}
    for name, data in files.items():
        paths[name].write_bytes(data)
    benign = inputs / "benign.pt"
    benign.write_bytes(scripted(Benign()))
    order = [str(path) for path in (*paths.values(), benign)]
    answer = run_in_child(
        "torch_entries:run_files",
        {"paths": order},
        LIMITS,
        files=[inputs],
        code=[ENTRIES],
    )
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert secret.read_bytes() == b"hunter2!"
    assert answer["outcomes"][str(benign)] == "ran: (2, 2)"
    for name in ("ReadsAFile", "CreatesAFile"):
        assert answer["outcomes"][str(paths[name])].startswith("raised")


def test_the_same_models_do_write_and_read_where_nothing_stops_them(tmp_path):
    for name, data in writers(tmp_path).items():
        assert not (tmp_path / name).exists()
        torch.jit.load(io.BytesIO(data))(torch.rand(2, 3))
        assert (tmp_path / name).stat().st_size > 0
    secret = tmp_path / "secret"
    secret.write_bytes(b"hunter2!")
    reader = torch.jit.load(io.BytesIO(scripted(ReadsAFile(str(secret)))))
    assert bytes(reader(torch.zeros(2, 3)).to(torch.uint8).tolist()) == b"hunter2!"


@pytest.mark.parametrize("kind", [HangsWhenLoaded, HangsInForward])
def test_a_model_that_hangs_is_killed_at_the_time_limit(kind, tmp_path):
    # Saving calls __getstate__ alone: the hang is in the file and not here.
    with pytest.raises(TimeLimitError):
        run_alone(written(tmp_path, scripted(kind())), SHORT)


@pytest.mark.parametrize("kind", [Grows, DoublesAText, AllocatesATebibyte])
def test_a_model_that_takes_too_much_memory_meets_its_limit(kind, tmp_path):
    with pytest.raises(MemoryLimitError):
        run_alone(written(tmp_path, scripted(kind())), TIGHT)


def test_a_long_exception_message_is_cut_short_and_made_printable(tmp_path):
    with pytest.raises(ChildCrashedError) as caught:
        run_alone(written(tmp_path, scripted(RaisesALongMessage())), LIMITS)
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


def test_a_flood_of_prints_does_not_reach_the_parent(tmp_path, capfd):
    answer = run_alone(written(tmp_path, scripted(PrintsAFlood())), LIMITS)
    assert answer["shape"] == [2, 3]
    assert capfd.readouterr() == ("", "")


def nested_code(body: bytes) -> bytes:
    deep = b"(" * 200_000 + b"input" + b")" * 200_000
    return body.replace(b"return", b"y = " + deep + b"\n    return", 1)


def nested_tuples(_: bytes) -> bytes:
    return b"\x80\x02)" + b"\x85" * 2_000_000 + b"."


@pytest.mark.parametrize(
    ("member", "change"),
    [(".py", nested_code), ("constants.pkl", nested_tuples)],
    ids=["brackets", "tuples"],
)
def test_a_file_that_crashes_the_loader_crashes_only_the_child(
    member, change, tmp_path
):
    data = changed(scripted(Benign()), member, change)
    with pytest.raises(ArchiveError):
        inspect(data)
    with pytest.raises(RobustCertError) as caught:
        run_alone(written(tmp_path, data), LIMITS)
    assert isinstance(caught.value, ChildCrashedError | MemoryLimitError)


def test_weights_cut_short_are_refused_before_they_show_other_memory(tmp_path):
    data = changed(scripted(Benign()), "data/0", lambda body: body[:4])
    with pytest.raises(ArchiveError, match="has 4 bytes where 24 are claimed"):
        inspect(data)


def test_pytorch_computes_the_same_inside_and_outside():
    sys.path.insert(0, str(ENTRIES))
    try:
        import torch_entries
    finally:
        sys.path.remove(str(ENTRIES))
    threads = torch.get_num_threads()
    outside = torch_entries.compute({}, None, ())
    torch.set_num_threads(threads)
    inside = run_in_child("torch_entries:compute", {}, LIMITS, code=[ENTRIES])
    assert inside.pop("layers") == list(capabilities())
    assert inside == pytest.approx(outside, rel=1e-6)
