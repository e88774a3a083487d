"""The command line: one file a command, one place where errors become exit codes."""

from __future__ import annotations

import sys
import traceback

import typer
from typer.exceptions import TyperException

from robustcert.cli.attack import attack
from robustcert.cli.certify import certify
from robustcert.cli.corruptions import corruptions
from robustcert.cli.doctor import doctor
from robustcert.cli.evaluate import evaluate
from robustcert.cli.gate import gate
from robustcert.cli.lipschitz import lipschitz
from robustcert.cli.monotonicity import monotonicity
from robustcert.cli.remote import submit, wait
from robustcert.cli.robustbench import robustbench
from robustcert.cli.serve import serve
from robustcert.cli.smooth import smooth
from robustcert.cli.train import train
from robustcert.cli.verify import verify
from robustcert.errors import EvaluationError, RobustCertError, UsageError

app = typer.Typer(
    help="Robustness brackets for trained PyTorch classifiers, from both sides.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

COMMANDS = (
    evaluate,
    lipschitz,
    monotonicity,
    verify,
    attack,
    certify,
    corruptions,
    smooth,
    gate,
    robustbench,
    submit,
    wait,
    serve,
    doctor,
)

STOPPED = 130
"""Exit code after Ctrl-C, as shells have it."""

for _command in COMMANDS:
    app.command()(_command)
app.add_typer(train)


def main() -> None:
    """Run the command line; exits with the codes that the README lists."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
    except TyperException as problem:
        return _told(UsageError(problem.format_message()))
    except (typer.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return STOPPED
    except RobustCertError as error:
        return _told(error)
    except Exception:
        traceback.print_exc()
        return EvaluationError.exit_code
    return code if isinstance(code, int) else 0


def _told(error: RobustCertError) -> int:
    sys.stderr.write(f"error: {error.message}\nremedy: {error.remedy}\n")
    return error.exit_code


if __name__ == "__main__":
    main()
