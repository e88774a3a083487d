"""What ``--help`` says; ``python -m tests.golden.test_help`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from robustcert.cli.main import COMMANDS, app

TRAINING = ("clip+", "reproduce", "compare", "list")
"""Of the commands of ``train``; all trainers have the same options."""

GOLDEN = Path(__file__).with_name("help.txt")


def help_text() -> str:
    """The help of the program and of each command, 88 columns wide."""
    runner = CliRunner()
    words = [
        [],
        *([command.__name__] for command in COMMANDS),
        *(["train", *more] for more in ([], *([name] for name in TRAINING))),
    ]
    parts = [
        runner.invoke(
            app,
            [*each, "--help"],
            prog_name="robustcert",
            env={"COLUMNS": "88", "TERM": "dumb"},
        ).output
        for each in words
    ]
    return "\n".join(parts)


def test_help_is_what_it_was():
    assert help_text() == GOLDEN.read_text(encoding="utf-8")


def test_every_option_is_explained():
    for name, command in get_command(app).commands.items():
        for parameter in command.params:
            assert getattr(parameter, "help", "explained"), f"{name} {parameter.name}"


if __name__ == "__main__":
    GOLDEN.write_text(help_text(), encoding="utf-8")
