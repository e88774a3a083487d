"""The house stands as ARCHITECTURE.md draws it."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import robustcert
from robustcert import errors
from robustcert.attacks.catalogue import ATTACKS
from robustcert.certify.registry import CERTIFIERS
from robustcert.cli.main import COMMANDS
from robustcert.corruptions.registry import CORRUPTIONS
from robustcert.formats.registry import FORMATS
from robustcert.lipschitz.registry import EFFORTS, LOWER_METHODS, UPPER_METHODS
from robustcert.models.builtin import MODELS, SAMPLE_SETS
from robustcert.train.nets import FAMILIES, NETS
from robustcert.train.registry import TRAINERS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


def every_error() -> list[type[errors.RobustCertError]]:
    found = [errors.RobustCertError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return [kind for kind in found if kind.__module__.startswith("robustcert.")]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_has_a_remedy_a_title_an_exit_code_and_a_status(kind):
    assert kind.remedy.endswith(".")
    assert kind.title
    assert kind.exit_code in (1, 2, 4)
    assert 400 <= kind.status < 600
    if kind.__module__ == "robustcert.errors":
        assert kind.__name__ in errors.__doc__


@pytest.mark.parametrize(
    "module",
    [
        *(
            "robustcert",
            "robustcert.results",
            "robustcert.client",
            "robustcert.archive",
        ),
        *("robustcert.formats.registry", "robustcert.gate.verdict", "api.main"),
        *("robustcert.sandbox.run", "robustcert.cli.main", "robustcert.client.aio"),
    ],
)
def test_the_reading_wing_loads_no_torch(module):
    code = f"import sys, {module}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "registry",
    [
        *(ATTACKS, CERTIFIERS, CORRUPTIONS, FORMATS),
        *(LOWER_METHODS, UPPER_METHODS, MODELS, SAMPLE_SETS),
        *(TRAINERS, NETS, FAMILIES),
    ],
    ids=[
        *("attacks", "certifiers", "corruptions", "formats"),
        *("lower", "upper", "models", "samples"),
        *("trainers", "nets", "families"),
    ],
)
def test_the_readme_names_every_row_of_every_registry(registry):
    missing = [name for name in registry if f"`{name}`" not in README]
    assert not missing


def test_the_readme_names_every_command():
    missing = [c.__name__ for c in COMMANDS if f"robustcert {c.__name__}" not in README]
    assert not missing


def test_every_method_of_an_effort_is_in_a_registry():
    known = {*LOWER_METHODS, *UPPER_METHODS}
    assert all(set(names) <= known for names in EFFORTS.values())


def test_the_public_face_is_what_it_was():
    assert robustcert.__all__ == ["RobustnessReport", "evaluate", "from_document"]
    assert all(getattr(robustcert, name).__doc__ for name in robustcert.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = robustcert.nothing


def test_every_room_is_drawn():
    rooms = [m.name for m in pkgutil.iter_modules(robustcert.__path__) if m.ispkg]
    assert [room for room in rooms if f"{room}/" not in ARCHITECTURE] == []


def test_every_module_can_be_imported_alone():
    names = [
        module.name
        for module in pkgutil.walk_packages(robustcert.__path__, "robustcert.")
        if not module.name.endswith(("__main__", "sandbox.main"))
    ]
    assert len(names) > 100
    for name in names:
        importlib.import_module(name)
