"""The command line: one file a command, one place where errors become exit codes."""

from __future__ import annotations

import sys

import typer

from robustcert.cli.attack import attack
from robustcert.cli.certify import certify
from robustcert.cli.doctor import doctor
from robustcert.cli.evaluate import evaluate
from robustcert.cli.gate import gate
from robustcert.cli.lipschitz import lipschitz
from robustcert.cli.remote import submit, wait
from robustcert.cli.serve import serve
from robustcert.errors import RobustCertError

app = typer.Typer(
    help="Robustness brackets for trained PyTorch classifiers, from both sides.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = (
    evaluate,
    lipschitz,
    attack,
    certify,
    gate,
    submit,
    wait,
    serve,
    doctor,
)

for _command in COMMANDS:
    app.command()(_command)


def main() -> None:
    """Run the command line; exits with the codes that the README lists."""
    try:
        app()
    except RobustCertError as error:
        sys.stderr.write(f"error: {error.message}\nremedy: {error.remedy}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
