"""The wheel, built and installed as a user would, in an environment of its own."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OWN = ("robustcert", "__editable__", "_robustcert", "_editable")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            *("--outdir", str(folder), str(ROOT)),
        ],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The python of a clean environment that holds the wheel and its dependencies.

    The dependencies are linked from this environment: they are the lock file's.
    """
    home = tmp_path_factory.mktemp("clean")
    venv.create(home, with_pip=True, symlinks=True)
    python = home / "bin" / "python"
    ours = Path(site.getsitepackages()[0])
    theirs = home / "lib" / ours.parent.name / "site-packages"
    for entry in ours.iterdir():
        if entry.name.startswith(OWN) or (theirs / entry.name).exists():
            continue
        if entry.is_dir():
            shutil.copytree(entry, theirs / entry.name, copy_function=_linked)
        elif entry.suffix != ".pth":
            _linked(str(entry), str(theirs / entry.name))
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
        capture_output=True,
    )
    return python


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def test_the_wheel_brings_its_own_two_packages_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "robustcert",
        "robustcert_server",
    }
    for needed in (
        "robustcert/py.typed",
        "robustcert/models/data/fashion_mnist_demo.ts.pt",
        "robustcert/models/data/fashion_mnist_500.npz",
        "robustcert/models/data/README.md",
        "robustcert_server/main.py",
    ):
        assert needed in names
    assert any(name.startswith("robustcert/formats/templates/") for name in names)
    assert any("migrations/versions" in name for name in names)
    assert any(name.startswith("robustcert_server/pages/static/") for name in names)


def test_no_package_called_api_lands_in_the_environment(installed, tmp_path):
    found = subprocess.run(
        [installed, "-c", "import robustcert_server.main; import api"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "No module named 'api'" in found.stderr


def test_the_installed_command_does_the_main_job_and_names_its_service(
    installed, tmp_path
):
    command = installed.with_name("robustcert")
    done = subprocess.run(
        [
            *(command, "certify", "fashion-mnist-demo", "--samples"),
            *("fashion-mnist-500", "--norm", "linf", "--epsilon", "0.1"),
            *("--count", "20"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "clean accuracy" in done.stdout
    doctor = subprocess.run(
        [command, "doctor"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "robustcert_server" in doctor.stdout
