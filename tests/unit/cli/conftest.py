"""What tests of the command line share."""

from __future__ import annotations

import sys

import pytest

from robustcert.cli.main import main
from tests.models.bad_inputs import good_model, good_samples


@pytest.fixture
def run(monkeypatch, capsys):
    """Run the command line in this process; exit code, output and error output."""

    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["robustcert", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture
def files(tmp_path):
    """A good model and good samples, written to files."""
    (tmp_path / "model.pt").write_bytes(good_model())
    (tmp_path / "samples.npz").write_bytes(good_samples())
    return tmp_path
