"""Corruption reports as versioned JSON documents."""

from __future__ import annotations

from typing import Any

from robustcert.results.corruption import CorruptionReport, CorruptionTable
from robustcert.results.document_write import model_part, provenance_part, samples_part

CORRUPTION_SCHEMA = "robustcert/corruptions/v1"


def corruption_document(report: CorruptionReport) -> dict[str, Any]:
    """The document ``robustcert/corruptions/v1``; every share lies in [0, 1]."""
    return {
        "schema": CORRUPTION_SCHEMA,
        "model": model_part(report.model),
        "samples": samples_part(report.samples),
        "box": [report.box.low, report.box.high],
        "accuracy": _accuracy_part(report.table),
        "refused": [
            {"corruption": gap.corruption, "reason": gap.reason}
            for gap in report.table.refused
        ],
        "provenance": provenance_part(report.provenance),
    }


def _accuracy_part(table: CorruptionTable) -> dict[str, Any]:
    return {
        "clean": table.clean_accuracy,
        "clean_interval": [*table.clean_interval],
        "mean_corruption": table.mean_accuracy,
        "mean_corruption_interval": [*table.mean_interval],
        "by_corruption": {name: table.accuracy_of(name) for name in table.corruptions},
        "cells": [
            {
                "corruption": cell.corruption,
                "severity": cell.severity,
                "strength": cell.strength,
                "accuracy": cell.accuracy,
                "interval": [*cell.interval],
            }
            for cell in table.cells
        ],
    }
