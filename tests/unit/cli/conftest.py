"""What tests of the command line share."""

from __future__ import annotations

import sys

import pytest

from robustcert.cli.main import main


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
