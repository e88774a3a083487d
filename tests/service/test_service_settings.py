"""What the operator may set, and what the service refuses to start with."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from api.settings import Settings, check_address, load_settings
from api.worker import check_sandbox
from robustcert.errors import UsageError
from robustcert.sandbox.confine import LAYERS
from tests.service.harness import ROOT, ServiceProcess

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the service refuses to bind to it


@pytest.mark.parametrize(
    "host", [EVERYWHERE, "::", "192.168.1.5", "example.org", "", "127.0.0.1.evil.org"]
)
def test_a_public_address_is_refused_while_there_are_no_keys(host):
    with pytest.raises(UsageError, match="no access keys") as refused:
        check_address(host)
    assert "127.0.0.1" in refused.value.remedy


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.3.2.1"])
def test_a_loopback_address_is_allowed(host):
    check_address(host)


def test_a_wrong_variable_is_named(monkeypatch):
    monkeypatch.setenv("ROBUSTCERT_SLOTS", "many")
    monkeypatch.setenv("ROBUSTCERT_PORT", "70000")
    with pytest.raises(UsageError, match=r"ROBUSTCERT_PORT.*ROBUSTCERT_SLOTS"):
        load_settings()


def test_the_database_lies_in_the_data_folder_unless_told_otherwise(tmp_path):
    inside = Settings(data_dir=tmp_path).resolved_database_url
    assert inside == f"sqlite:///{tmp_path}/robustcert.sqlite3"
    elsewhere = Settings(database_url="sqlite:////x/y.db").resolved_database_url
    assert elsewhere == "sqlite:////x/y.db"


@pytest.mark.parametrize("missing", LAYERS)
def test_a_machine_without_a_layer_of_the_sandbox_is_refused(missing):
    check_sandbox(LAYERS)
    with pytest.raises(UsageError, match=missing) as refused:
        check_sandbox([layer for layer in LAYERS if layer != missing])
    assert "ROBUSTCERT_ALLOW_WEAK_SANDBOX" in refused.value.remedy


def test_a_service_refuses_to_start_in_public(tmp_path):
    service = ServiceProcess(tmp_path / "data", host=EVERYWHERE)
    with pytest.raises(RuntimeError, match="no access keys"):
        service.start()
    assert service.process.returncode == 2
    assert "Traceback" not in service.log


def test_a_second_service_in_the_same_folder_is_refused(service):
    second = ServiceProcess(service.folder)
    second.log_path = service.folder.with_name("second.log")
    with pytest.raises(RuntimeError, match="Another service works in"):
        second.start()
    assert second.process.returncode == 2
    assert "Traceback" not in second.log


def python(code: str, *, cwd) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_web_process_never_imports_torch():
    code = (
        "import sys, api.main, api.serve; api.main.create_app(); "
        "print('torch' in sys.modules)"
    )
    assert python(code, cwd=ROOT) == "False"


def test_the_service_works_under_the_name_it_has_when_installed(tmp_path):
    shutil.copytree(ROOT / "api", tmp_path / "robustcert_server")
    code = (
        "import sys; sys.path.insert(0, '.')\n"
        "from robustcert_server.service import Service\n"
        "from robustcert_server.settings import Settings\n"
        "from robustcert_server.main import create_app\n"
        "settings = Settings(data_dir='data', allow_weak_sandbox=True)\n"
        "app = create_app(settings)\n"
        "service = Service.open(settings)\n"
        "print(len(service.samples.page(None, 10).items) > 0, 'api' in sys.modules)\n"
        "service.close()\n"
    )
    assert python(code, cwd=tmp_path) == "True False"
