"""The main job on embedded defaults: ``make demo`` runs this.

Starts the service in a temporary folder (SQLite, local files), uploads the shipped
model through the Python client, waits, prints the bracket, writes the HTML report to
``demo-output/``, and stops the service.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from robustcert.cli.summary import print_summary
from robustcert.client.client import Client
from robustcert.client.replies import finished
from robustcert.client.requests import evaluation_request
from robustcert.client.wire import EvaluationStatus
from robustcert.models.builtin import MODELS, SAMPLE_SETS

MODEL = "fashion-mnist-demo"
SAMPLES = "fashion-mnist-500"
EPSILONS = (0.02, 0.05, 0.1)
COUNT = 200
OUTPUT = Path("demo-output")
START_SECONDS = 60.0


@contextmanager
def running_service(folder: Path) -> Iterator[str]:
    """The address of a service that runs while the block does."""
    environment = {
        **os.environ,
        "ROBUSTCERT_DATA_DIR": str(folder / "data"),
        "ROBUSTCERT_PORT": str(free_port()),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "robustcert.cli.main", "serve"], env=environment
    )
    try:
        yield f"http://127.0.0.1:{environment['ROBUSTCERT_PORT']}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tell(view: EvaluationStatus) -> None:
    """Print where the evaluation stands."""
    at = view.progress
    if at is not None and at.stage:
        print(f"  {at.stage}: {at.done}/{at.total}  {at.note}", flush=True)


def main() -> None:
    """Run the demo."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as name, running_service(Path(name)) as url:
        print(f"service at {url}", flush=True)
        with Client(url, patience=START_SECONDS) as client:
            model = client.upload_model(MODELS[MODEL].read(), name=MODEL)
            samples = client.upload_samples(SAMPLES)
            print(f"model   {MODELS[MODEL].title}")
            print(f"samples {SAMPLE_SETS[SAMPLES].title}; {COUNT} used", flush=True)
            request = evaluation_request(
                model.id, samples.id, "linf", EPSILONS, count=COUNT
            )
            status = finished(client.wait(client.submit(request).id, tell))
            document = client.report(status.id)
            page = client.report_html(status.id)
    print_summary(document, Console(highlight=False, soft_wrap=True))
    OUTPUT.mkdir(exist_ok=True)
    target = OUTPUT / "report.html"
    target.write_text(page, encoding="utf-8")
    print(f"HTML report: {target.resolve()}  ({time.monotonic() - started:.0f} s)")


if __name__ == "__main__":
    main()
