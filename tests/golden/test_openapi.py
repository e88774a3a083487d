"""The service's interface is written down: a change of it is a change on purpose."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from api.main import create_app
from api.settings import Settings

FILE = Path(__file__).with_name("openapi.json")
IF_MEANT = "where the change is meant, run `python -m tests.golden.test_openapi`"


def described() -> str:
    document = create_app(Settings()).openapi()
    document["info"].pop("version")  # changes with every release
    return json.dumps(document, indent=1, sort_keys=True) + "\n"


def test_the_interface_of_the_service_is_its_golden_file():
    assert json.loads(described()) == json.loads(FILE.read_text()), IF_MEANT


def test_creating_the_application_touches_no_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    create_app(Settings())
    assert list(tmp_path.iterdir()) == []


if __name__ == "__main__":
    FILE.write_text(described())
    sys.stderr.write(f"wrote {FILE}\n")
