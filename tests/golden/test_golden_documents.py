"""Documents that other programs read: a change of one byte is a change on purpose."""

from __future__ import annotations

import pytest

from tests.golden.documents import FOLDER, GOLDEN

IF_MEANT = "where the change is meant, run `python -m tests.golden.documents`"


@pytest.mark.parametrize("name", GOLDEN)
def test_a_document_of_a_fixed_report_is_its_golden_file_byte_for_byte(name):
    expected = (FOLDER / name).read_bytes()
    assert GOLDEN[name]().encode() == expected, IF_MEANT


def test_every_golden_file_is_made_by_something():
    files = {path.name for path in FOLDER.iterdir() if path.suffix not in {".py", ""}}
    others = {"openapi.json", "help.txt"}  # made by test_openapi.py and test_help.py
    assert files - others == set(GOLDEN)
