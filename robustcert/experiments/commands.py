"""The experiments by name: run, shown, written; what was done before is kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from robustcert.errors import UsageError
from robustcert.experiments import regression_report
from robustcert.experiments.classification import SETTINGS, classification
from robustcert.experiments.comparison import comparison, equal_accuracy, equal_time
from robustcert.experiments.ladders import ladders
from robustcert.experiments.page import Page, write_page
from robustcert.experiments.sources import Source, built_in_source, folder_source
from robustcert.experiments.study import Study, limited, run_study
from robustcert.experiments.study_report import study_page
from robustcert.experiments.wanted import Wanted
from robustcert.results.progress import Listener

Run = Callable[[Wanted, Listener], tuple[Path, ...]]
"""Runs an experiment and returns the files of its page."""


def run_regression(wanted: Wanted, listener: Listener) -> tuple[Path, ...]:
    """The regression of the paper; it needs no data."""
    found = ladders(wanted.mode, wanted.seeds, wanted.epochs, wanted.folder, listener)
    page = Page(
        f"regression-{wanted.mode.value}",
        "Regression with a Lipschitz penalty: fits by lambda",
        regression_report.NOTES,
        tuple(regression_report.figure(one) for one in found[:2]),
        (
            regression_report.summary(found),
            *(regression_report.table(one) for one in found),
        ),
        regression_report.document(found),
    )
    return write_page(page, wanted.folder)


def run_named(name: str, wanted: Wanted, listener: Listener) -> tuple[Path, ...]:
    """A classification experiment of the paper, by its data."""
    study = classification(SETTINGS[name], wanted.mode, wanted.epochs)
    return _run(study, wanted, listener)


def run_comparison(
    study: Callable[[int | None], Study], wanted: Wanted, listener: Listener
) -> tuple[Path, ...]:
    """Trainers side by side; there is one mode."""
    return _run(study(wanted.epochs), wanted, listener)


EXPERIMENTS: dict[str, Run] = {
    "regression": run_regression,
    **{name: partial(run_named, name) for name in SETTINGS},
    "comparison": partial(run_comparison, comparison),
    "comparison-equal-time": partial(run_comparison, equal_time),
    "comparison-equal-accuracy": partial(run_comparison, equal_accuracy),
}
"""Everything that can be run, by name."""


def run(name: str, wanted: Wanted, listener: Listener) -> tuple[Path, ...]:
    """Run an experiment, for callers who do not load torch before.

    Args:
        name: a key of :data:`EXPERIMENTS`.
        wanted: how.
        listener: told of every step.

    Raises:
        RobustCertError: a training or a measurement fails.
    """
    return EXPERIMENTS[name](wanted, listener)


def source_of(data: Path | None) -> Source:
    """The folder's examples, or the built-in ones.

    Raises:
        SamplesError: the folder has no usable idx files.
    """
    return built_in_source() if data is None else folder_source(data)


def device_named(name: str) -> torch.device:
    """The device, if this machine has it.

    Raises:
        UsageError: it has not.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"there is no device {name!r} here", remedy="Choose cpu, or cuda on a GPU."
        ) from error
    return device


def _run(study: Study, wanted: Wanted, listener: Listener) -> tuple[Path, ...]:
    source = source_of(wanted.data)
    chosen = limited(study, wanted.count)
    place = device_named(wanted.device)
    outcomes = run_study(chosen, source, wanted.seeds, wanted.folder, listener, place)
    return write_page(study_page(chosen, source, outcomes), wanted.folder)
