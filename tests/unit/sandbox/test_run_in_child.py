"""What a child process may do, and what its parent hears when it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from robustcert.errors import (
    ChildCrashedError,
    EvaluationCancelledError,
    MemoryLimitError,
    ModelLoadError,
    SandboxError,
    TimeLimitError,
    UnsupportedLayerError,
    UsageError,
)
from robustcert.sandbox.confine import LAYERS, capabilities
from robustcert.sandbox.limits import MIB, Limits
from robustcert.sandbox.run import run_in_child

HERE = Path(__file__).parent
QUICK = Limits(seconds=60, memory_bytes=1024 * MIB, file_bytes=2 * MIB)
ALL_LAYERS = capabilities() == LAYERS
confined = pytest.mark.skipif(
    not ALL_LAYERS, reason=f"this machine offers only {capabilities()}"
)


def child(entry, request=None, limits=QUICK, **options):
    return run_in_child(
        f"entries:{entry}", request or {}, limits, code=[HERE], **options
    )


def is_alive(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"


def test_the_entry_gets_the_request_and_its_result_and_progress_come_back():
    heard = []
    answer = child("echo", {"numbers": [1, 2.5, None]}, on_progress=heard.append)
    assert answer["request"] == {"numbers": [1, 2.5, None]}
    assert [(p.stage, p.done, p.total, p.note) for p in heard] == [
        ("echo", 1, 2, "half"),
        ("echo", 2, 2, ""),
    ]


def test_the_layers_given_to_the_entry_are_those_the_machine_offers():
    answer = child("echo")
    assert tuple(answer["given"]) == tuple(answer["layers"]) == capabilities()
    status = dict(
        line.split(":\t", 1) for line in answer["status"].splitlines() if ":\t" in line
    )
    assert (status["NoNewPrivs"] == "1") == ("no-new-privs" in answer["layers"])
    assert (status["Seccomp"] == "2") == ("seccomp" in answer["layers"])
    if "no-new-privs" in answer["layers"]:
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert answer["limits"]["CORE"] == 0
    assert answer["limits"]["FSIZE"] == QUICK.file_bytes
    assert answer["limits"]["NOFILE"] == QUICK.open_files


def test_no_variable_of_the_caller_reaches_the_child(monkeypatch):
    monkeypatch.setenv("ROBUSTCERT_SECRET", "hunter2")
    environment = child("echo")["environment"]
    assert "hunter2" not in str(environment)
    assert set(environment) <= {
        "PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "PYTHONPATH", "PYTHONUSERBASE",
        "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY",
        "OPENBLAS_NUM_THREADS",
    }  # fmt: skip


def test_the_private_folder_and_the_process_are_gone_afterwards():
    answer = child("echo")
    assert not Path(answer["folder"]).exists()
    assert not is_alive(answer["pid"])


@confined
def test_every_way_out_of_the_sandbox_is_closed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    outcomes = child("escapes", {"outside": str(tmp_path)})
    outcomes.pop("layers")
    open_ways = {name for name, outcome in outcomes.items() if outcome == "done"}
    assert open_ways == set()
    assert len(outcomes) > 20
    assert list(tmp_path.iterdir()) == [secret]
    assert secret.read_text() == "secret"


def test_threads_named_files_and_the_private_folder_work(tmp_path):
    file = tmp_path / "model"
    file.write_text("weights")
    answer = child("works", {"file": str(file)}, files=[file])
    assert (answer["threads"], answer["file"], answer["scratch"]) == (
        4,
        "weights",
        "scratch",
    )


def test_a_typed_error_keeps_its_kind_and_both_sentences():
    with pytest.raises(ModelLoadError) as caught:
        child("raises_typed")
    assert caught.value.message == "The model is odd."
    assert caught.value.remedy == "Make it even."


def test_an_unsupported_layer_keeps_its_name_and_reason():
    with pytest.raises(UnsupportedLayerError) as caught:
        child("raises_unsupported")
    assert (caught.value.layer, caught.value.reason) == ("attn", "no rule in crown")
    assert caught.value.remedy == "Use smoothing."


def test_another_exception_is_a_crash_with_a_short_printable_message():
    with pytest.raises(ChildCrashedError) as caught:
        child("raises_untyped")
    assert "KeyError" in caught.value.message
    assert len(caught.value.message) < 500
    assert caught.value.message.isprintable()


def test_a_child_that_exits_is_a_crash():
    with pytest.raises(ChildCrashedError, match="SystemExit"):
        child("exits")


def test_a_child_that_vanishes_leaves_its_status_and_last_words():
    with pytest.raises(ChildCrashedError, match=r"status 7.*last words \\x1b\[2J"):
        child("vanishes")


def test_a_child_killed_by_a_signal_is_a_crash_that_names_it():
    with pytest.raises(ChildCrashedError, match="SIGABRT"):
        child("aborts")


def test_a_sleeping_child_is_killed_at_the_time_limit():
    heard = []
    with pytest.raises(TimeLimitError, match=r"0\.5 seconds"):
        child("sleeps", limits=Limits(seconds=0.5), on_progress=heard.append)
    assert not any(is_alive(int(progress.note)) for progress in heard)


def test_a_spinning_child_is_killed_at_the_time_limit():
    with pytest.raises(TimeLimitError):
        child("spins", limits=Limits(seconds=0.5))


def test_a_child_that_closes_its_pipes_and_stays_is_killed():
    with pytest.raises(SandboxError):
        child("hides", limits=Limits(seconds=1))


def test_a_growing_child_is_stopped_by_its_memory_limit():
    with pytest.raises(MemoryLimitError):
        child("grows", limits=Limits(seconds=60, memory_bytes=512 * MIB))


def test_one_impossible_allocation_is_a_memory_limit():
    with pytest.raises(MemoryLimitError):
        child("reserves")


def test_an_answer_beyond_the_limit_is_refused():
    limits = Limits(seconds=60, output_bytes=10_000)
    assert len(child("answers_too_much", {"bytes": 9_000}, limits)["text"]) == 9_000
    with pytest.raises(SandboxError, match="10000 bytes"):
        child("answers_too_much", {"bytes": 11_000}, limits)


def test_a_result_that_is_not_json_is_an_error():
    with pytest.raises(ChildCrashedError, match="ValueError"):
        child("answers_not_a_number")


def test_a_flood_of_prints_is_taken_and_only_its_end_is_kept():
    with pytest.raises(ChildCrashedError) as caught:
        child("prints_a_flood")
    assert caught.value.message.endswith("the end.")
    assert len(caught.value.message) < 700


def test_a_child_that_fills_its_folder_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SandboxError, match="wrote more than"):
        child("fills_its_folder")
    assert list(tmp_path.iterdir()) == []


def test_no_file_grows_beyond_the_limit():
    with pytest.raises(SandboxError):
        child("writes_one_large_file", {"bytes": QUICK.file_bytes + 1})


def test_a_cancelled_child_is_killed():
    heard = []
    with pytest.raises(EvaluationCancelledError):
        child("sleeps", on_progress=heard.append, cancelled=lambda: bool(heard))
    assert not is_alive(int(heard[0].note))


def test_a_listener_that_raises_leaves_no_child_behind():
    heard = []

    def listen(progress):
        heard.append(progress)
        raise InterruptedError("stop")

    with pytest.raises(InterruptedError):
        child("sleeps", on_progress=listen)
    assert not is_alive(int(heard[0].note))


def test_a_child_dies_with_its_parent(tmp_path):
    program = f"""
        from pathlib import Path
        from robustcert.sandbox.limits import Limits
        from robustcert.sandbox.run import run_in_child
        run_in_child(
            "entries:sleeps", {{}}, Limits(seconds=60), code=[Path({str(HERE)!r})],
            on_progress=lambda progress: print(progress.note, flush=True),
        )
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with parent:
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(pid)


@pytest.mark.parametrize("entry", ["entries", "entries:", ":echo", "a:b()", "a b:c"])
def test_an_entry_that_names_no_function_is_a_usage_error(entry):
    with pytest.raises(UsageError):
        run_in_child(entry, {}, QUICK)


def test_an_entry_that_does_not_exist_is_a_crash():
    with pytest.raises(ChildCrashedError, match="AttributeError"):
        child("no_such_function")


@pytest.mark.parametrize("value", [float("nan"), object()])
def test_a_request_that_is_not_json_is_a_usage_error(value):
    with pytest.raises(UsageError):
        child("echo", {"value": value})


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0}, {"seconds": float("inf")}, {"memory_bytes": 1}]
)
def test_limits_without_sense_are_a_usage_error(wrong):
    with pytest.raises(UsageError):
        Limits(**wrong)


def test_a_folder_of_the_caller_s_is_where_the_child_writes_and_it_stays(tmp_path):
    home, file = tmp_path / "home", tmp_path / "file"
    file.write_text("content")
    for _ in range(2):  # made where it is missing, used again where it is there
        child("works", {"file": str(file)}, files=[file], home=home)
        assert (home / "scratch").read_text() == "scratch"
