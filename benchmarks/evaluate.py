"""``robustcert evaluate`` on models that others trained; results are committed.

Runs the command line as a user would, on the folder of trained models beside the
checkout, and writes ``results/evaluate.json`` and ``results/evaluate.md``. A document
is issued only if it obeys every law of consistency, so each row is one that did.

    python benchmarks/evaluate.py [--only MODEL ...]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
RESULTS = Path(__file__).resolve().parent / "results"
COUNT = 200
SEED = 0
L2 = (0.25, 0.5, 1.0)
SMALL = (1 / 255, 2 / 255, 8 / 255)


@dataclass(frozen=True, slots=True)
class Subject:
    """A model with its samples, radii, and the clean accuracy its makers state."""

    model: str
    samples: str
    linf: tuple[float, ...]
    stated: float
    stated_count: int


SUBJECTS = (
    Subject("mnist_conv_kw", "mnist_test", (0.05, 0.1, 0.2), 0.982, 10_000),
    Subject(
        "fashion_conv_kw", "fashion_mnist_test_2000", (0.05, 0.1, 0.2), 0.783, 10_000
    ),
    Subject("mnist_mlp_6x100", "mnist_test", (0.01, 0.02, 0.03), 0.961, 1_000),
    Subject("mnist_mlp_lipsdp", "mnist_test", (0.01, 0.02, 0.05), 0.960, 1_000),
    Subject("cifar_conv_adv", "cifar10_test_200", SMALL, 0.694, 10_000),
    Subject("cifar_resnet2b", "cifar10_test_200", SMALL, 0.680, 1_000),
)


def evaluate(subject: Subject, norm: str, epsilons: tuple[float, ...]) -> dict:
    """The document of one evaluation, with the wall-clock seconds of the command."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "report.json"
        command = [
            *(sys.executable, "-m", "robustcert.cli.main", "evaluate"),
            str(DATA / "models" / f"{subject.model}.ts.pt"),
            *("--samples", str(DATA / "samples" / f"{subject.samples}.npz")),
            *("--norm", norm, "--count", str(COUNT), "--seed", str(SEED)),
            *("--json", str(target)),
        ]
        for epsilon in epsilons:
            command += ["--epsilon", repr(epsilon)]
        started = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "document": json.loads(target.read_text())}


def row(subject: Subject, norm: str, result: dict) -> dict:
    """What is kept of one evaluation."""
    document = result["document"]
    clean, count = document["accuracy"]["clean"], document["samples"]["count"]
    spread = math.sqrt(
        subject.stated * (1 - subject.stated) * (1 / count + 1 / subject.stated_count)
    )
    lipschitz = document["lipschitz"]
    return {
        "model": subject.model,
        "model_sha256": document["model"]["sha256"],
        "samples": document["samples"],
        "norm": norm,
        "clean": clean,
        "clean_stated": subject.stated,
        "clean_within_sampling": abs(clean - subject.stated) <= 3 * spread,
        "curve": [
            {key: point[key] for key in ("epsilon", "certified", "robust")}
            for point in document["accuracy"]["curve"]
        ],
        "lipschitz_lower": lipschitz["lower"]["value"],
        "lipschitz_upper": lipschitz["upper"]["value"],
        "findings": sorted({finding["rule"] for finding in document["findings"]}),
        "seconds": round(result["seconds"], 1),
    }


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [
        f"# `robustcert evaluate`, {COUNT} samples, standard tier, one thread",
        "",
        "Each row obeys every law of consistency, or no document had been issued. "
        "Certified accuracy is a lower, robust accuracy an upper bound of the truth.",
        "",
        "| model | norm | clean (stated) | epsilon: certified / robust | "
        "Lipschitz lower .. upper | findings | s |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in rows:
        curve = "; ".join(
            f"{p['epsilon']:.4g}: {p['certified']:.3f} / {p['robust']:.3f}"
            for p in entry["curve"]
        )
        lines.append(
            f"| {entry['model']} | {entry['norm']} | {entry['clean']:.3f} "
            f"({entry['clean_stated']:.3f}) | {curve} | "
            f"{entry['lipschitz_lower']:.4g} .. {entry['lipschitz_upper']:.4g} | "
            f"{', '.join(entry['findings']) or 'none'} | {entry['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Evaluate every subject in both norms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[s.model for s in SUBJECTS])
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("the folder of trained models (../shared/data) is absent")
    rows, versions = [], {}
    for subject in (s for s in SUBJECTS if s.model in asked.only):
        for norm, epsilons in (("linf", subject.linf), ("l2", L2)):
            result = evaluate(subject, norm, epsilons)
            versions = result["document"]["provenance"]["versions"]
            rows.append(row(subject, norm, result))
            print(json.dumps(rows[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine(), "seed": SEED, "versions": versions, "rows": rows}
    (RESULTS / "evaluate.json").write_text(json.dumps(document, indent=2) + "\n")
    (RESULTS / "evaluate.md").write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
