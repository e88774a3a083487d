"""Where results go: documents to files, sentences to people."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from robustcert.errors import UsageError
from robustcert.results.document import canonical_json

STDOUT = "-"


def people(json_file: str | None) -> Console:
    """Standard output, or standard error where the document takes the former."""
    return Console(
        stderr=json_file == STDOUT, highlight=False, soft_wrap=True, markup=False
    )


def write_json(document: Mapping[str, Any], target: str | None) -> None:
    """Write the document to ``target``, if there is one.

    Raises:
        UsageError: the file cannot be written.
    """
    if target is None:
        return
    text = canonical_json(document)
    if target == STDOUT:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    write_text(Path(target), text)


def write_text(path: Path, text: str) -> None:
    """Write a file.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}",
            remedy="Choose a file in a folder you may write to.",
        ) from error
