"""The paper's experiments and the comparison of trainers; results are committed.

    make data
    python benchmarks/training.py [--only PART ...] [--seeds 0 1 2] [--arms ARM ...]

Nets and records are kept in ``data/training``: a run that was ended goes on behind the
last net, and two runs with different seeds or parts may go side by side. After every
net ``results/training.json`` and ``results/training.md`` are written anew from all that
is kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from robustcert.experiments import regression_report
from robustcert.experiments.classification import MNIST, SETTINGS, classification
from robustcert.experiments.commands import device_named
from robustcert.experiments.comparison import comparison, equal_accuracy, equal_time
from robustcert.experiments.ladders import kept_ladders, ladders
from robustcert.experiments.pair_settings import pair_settings
from robustcert.experiments.sources import Source, folder_source
from robustcert.experiments.study import Study, kept_outcomes, run_study
from robustcert.experiments.study_report import study_page
from robustcert.experiments.table import markdown
from robustcert.experiments.wanted import Mode
from robustcert.results.progress import Progress

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data"
KEPT = DATA / "training"
RESULTS = Path(__file__).resolve().parent / "results"
SEEDS = (0, 1, 2)

STUDIES: dict[str, tuple[str, Study]] = {
    **{
        study.name: ("fashion-mnist", study)
        for study in (comparison(), equal_time(), equal_accuracy())
    },
    **{
        f"{setting.name}-{mode.value}": (setting.name, classification(setting, mode))
        for setting in SETTINGS.values()
        for mode in Mode
    },
    "mnist-pair-settings": (MNIST.name, pair_settings(MNIST)),
}
"""Folder of the data, and the study, by part."""

LADDERS = {f"regression-{mode.value}": mode for mode in Mode}


class Teller:
    """Prints where the work stands, and writes the results after every net."""

    def __init__(self) -> None:
        self._last = ("", "")

    def __call__(self, progress: Progress) -> None:
        place = (progress.stage, progress.note)
        if progress.stage == "training" or place == self._last:
            return
        self._last = place
        print(f"{progress.stage}: {progress.done}/{progress.total} {progress.note}",
              flush=True)  # fmt: skip
        if progress.stage != "regression":
            write_results()


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parts = [*LADDERS, *STUDIES]
    parser.add_argument("--only", nargs="*", choices=parts, default=parts)
    parser.add_argument("--seeds", nargs="*", type=int, default=[*SEEDS])
    parser.add_argument("--arms", nargs="*", help="lines of the studies' tables")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    place, tell = device_named(asked.device), Teller()
    for part in asked.only:
        if part in LADDERS:
            ladders(LADDERS[part], asked.seeds, None, KEPT, tell)
        else:
            name, study = STUDIES[part]
            source = _source(name) or sys.exit("run `make data` first")
            arms = [a for a in study.arms if a.name in (asked.arms or [a.name])]
            study = replace(study, arms=tuple(arms))
            run_study(study, source, asked.seeds, KEPT, tell, place)
        write_results()


def write_results() -> None:
    """Write what is kept of all parts and seeds."""
    pages = [*_regressions(), *_studies()]
    document = {"machine": machine(), "parts": {name: d for name, d, _ in pages}}
    RESULTS.mkdir(exist_ok=True)
    _write("training.json", json.dumps(document, indent=1, sort_keys=True) + "\n")
    _write("training.md", "# Training\n\n" + "\n".join(text for _, _, text in pages))


def _regressions() -> list[tuple[str, dict[str, Any], str]]:
    found = []
    for part, mode in LADDERS.items():
        kept = kept_ladders(mode, SEEDS, KEPT)
        if not kept:
            continue
        document = regression_report.document(kept)
        for ladder in document["ladders"]:
            for rung in ladder["rungs"]:
                del rung["curve"]
        tables = [regression_report.summary(kept), regression_report.table(kept[0])]
        text = "\n".join(markdown(table) for table in tables)
        found.append((part, document, f"## {part}\n\n{text}"))
    return found


def _studies() -> list[tuple[str, dict[str, Any], str]]:
    found = []
    for part, (name, study) in STUDIES.items():
        source = _source(name)
        kept = () if source is None else kept_outcomes(study, source, SEEDS, KEPT)
        if source is None or not kept:
            continue
        page = study_page(study, source, kept)
        for outcome in page.document["outcomes"]:
            outcome["epochs"] = len(outcome["epochs"])
        parts = [f"## {page.title}", *page.notes, *map(markdown, page.tables)]
        found.append((part, page.document, "\n\n".join(parts)))
    return found


@cache
def _source(name: str) -> Source | None:
    return folder_source(DATA / name) if (DATA / name).is_dir() else None


def _write(name: str, text: str) -> None:
    """A file that is whole or not there: another run may write it too."""
    beside = RESULTS / f"{name}.part"
    beside.write_text(text, encoding="utf-8")
    beside.replace(RESULTS / name)


if __name__ == "__main__":
    main()
