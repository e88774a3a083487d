"""What a document says, for people at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Document = Mapping[str, Any]


def print_summary(document: Document, console: Console) -> None:
    """Print the parts the document has: bracket, accuracy, certifiers, findings."""
    if "lipschitz" in document:
        print_bracket(document["lipschitz"], console)
    if "accuracy" in document:
        _print_accuracy(document, console)
    if document.get("certifiers"):
        _print_certifiers(document["certifiers"], console)
    if document.get("smoothing"):
        _print_smoothing(document["smoothing"], console)
    for finding in document.get("findings", ()):
        console.print(f"{finding['level']}: {finding['message']}")
        console.print(f"  remedy: {finding['remedy']}")


def print_bracket(
    part: Document, console: Console, what: str = "Lipschitz constant"
) -> None:
    """Print both sides of a bracket, and every method's bound."""
    console.print(
        f"{what} ({part['norm']}, {part['scope']}): "
        f"{_side(part['lower'])} <= L <= {_side(part['upper'])}"
    )
    table = Table("side", "method", "value", "seconds", "gap", box=None, pad_edge=False)
    for bound in part["bounds"]:
        value = "unbounded" if bound["value"] is None else f"{bound['value']:.6g}"
        gap = "" if bound.get("gap") is None else f"{bound['gap']:.2g}"
        seconds = f"{bound['seconds']:.2f}"
        table.add_row(bound["side"], bound["method"], value, seconds, gap)
    console.print(table)
    for refused in part["refused"]:
        console.print(f"{refused['method']} refused: {refused['reason']}")


def _side(bound: Document | None) -> str:
    if bound is None or bound["value"] is None:
        return "?"
    return f"{bound['value']:.6g}"


def _print_accuracy(document: Document, console: Console) -> None:
    accuracy, norm = document["accuracy"], document["threat_model"]["norm"]
    samples = document["samples"]
    console.print(
        f"clean accuracy {accuracy['clean']:.4f} "
        f"on {samples['count']} samples of {samples['name']}"
    )
    table = Table(
        f"{norm} epsilon", "certified >=", "robust <=", box=None, pad_edge=False
    )
    for point in accuracy["curve"]:
        table.add_row(
            f"{point['epsilon']:g}",
            f"{point['certified']:.4f}",
            f"{point['robust']:.4f}",
        )
    console.print(table)


def _print_certifiers(runs: Sequence[Document], console: Console) -> None:
    head = ("certifier", "samples", "proved", "broken", "seconds")
    table = Table(*head, box=None, pad_edge=False)
    for run in runs:
        counts = (str(run[key]) for key in ("samples", "proved", "broken"))
        table.add_row(run["name"], *counts, f"{run['seconds']:.2f}")
    console.print(table)


def _print_smoothing(part: Document, console: Console) -> None:
    console.print(
        f"smoothed model (another model), sigma {part['sigma']:g}, {part['n']} draws; "
        f"a radius is wrong with probability {part['alpha']:g} at most"
    )
    table = Table("l2 epsilon", "certified >=", box=None, pad_edge=False)
    for point in part["accuracy"]["certified"]:
        table.add_row(f"{point['epsilon']:g}", f"{point['accuracy']:.4f}")
    console.print(table)
