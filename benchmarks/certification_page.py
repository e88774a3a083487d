"""The Markdown page of the benchmark of certificates."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Row = dict[str, Any]


def page(document: Row) -> str:
    """All lines in Markdown."""
    where = document["machine"]
    lines = [
        "# Certificates side by side",
        "",
        f"{where['threads']} thread(s), {where['processor']}, accelerator "
        f"{where['accelerator']}, torch {where['versions']['torch']}. Shares are of "
        "all samples of a line, in percent: certified is a lower bound of the truth, "
        "what an attack leaves an upper bound. Seconds are of CPU, a sample.",
        "",
        f"Stated figures: {document['source']}.",
    ]
    for name, part in document["lines"].items():
        lines += ["", *_shares(name, part)]
    lines += ["", *_radii(document["radii"])] if document["radii"] else []
    for name, part in document["instances"].items():
        lines += ["", *_instances(name, part)]
    lines += ["", *_joint(document["joint"])] if document["joint"] else []
    return "\n".join(lines) + "\n"


def _shares(name: str, part: Row) -> list[str]:
    head = part["head"]
    lines = [f"## {name}", ""]
    if head["target"]:
        lines += [f"To reach: {head['target']}.", ""]
    lines += _head(["method", "clean", "certified", "broken", "open", "s a sample"])
    for method, row in part["rows"].items():
        lines.append(_share(f"**{method}**", row))
    for peer, row in part["peers"].items():
        lines.append(_share(peer, row))
    return [*lines, *_stated(head["stated"])]


def _share(name: str, row: Row) -> str:
    reason = row.get("refused") or row.get("failed")
    if reason:
        return _cells([name, f"- ({reason.splitlines()[0]})", "", "", "", ""])
    shares = [f"{100 * row[key]:.1f}" for key in ("clean", "certified", "broken")]
    return _cells(
        [name, *shares, f"{100 * row['open']:.1f}", f"{row['seconds_a_sample']:.4f}"]
    )


def _stated(stated: Row | None) -> list[str]:
    if stated is None:
        return []
    clean, lines = f"{stated['clean']:g}", []
    for method in ("crown", "alpha"):
        if stated[method] is not None:
            certified, seconds = stated[method]
            spent = "" if seconds is None else f"{seconds:g}"
            name = f"stated: auto_LiRPA {method}"
            lines.append(_cells([name, clean, f"{certified:g}", "", "", spent]))
    broken = f"{stated['clean'] - stated['attacked']:g}"
    return [*lines, _cells(["stated: PGD", clean, "", broken, "", ""])]


def _radii(parts: Row) -> list[str]:
    lines = [
        "## Adversarial distance over certified radius, median",
        "",
        *_head(["net", "target", "method", "ratio", "uncertified", "s a sample"]),
    ]
    for name, part in parts.items():
        for method, row in part["rows"].items():
            if "median_ratio" in row:
                ratio, none = f"{row['median_ratio']:.3g}", str(row["uncertified"])
                tail = [ratio, none, f"{row['seconds_a_sample']:.3f}"]
            elif "refused" in row:
                tail = [f"- ({row['refused'].splitlines()[0]})", "", ""]
            else:
                continue
            target = f"{part['head']['target']:g}"
            lines.append(_cells([name, target, method, *tail]))
    return lines


def _instances(name: str, part: Row) -> list[str]:
    rows = list(part["rows"].values())
    lines = [
        f"## {name}: verification instances",
        "",
        *_head(["outcome", "instances", "median s", "longest s", "within 5 s"]),
    ]
    for outcome in ("alike", "wrong", "new", "open"):
        seconds = [row["wall_seconds"] for row in rows if row["outcome"] == outcome]
        lines.append(_cells([outcome, str(len(seconds)), *_spread(seconds)]))
    return lines


def _spread(seconds: list[float]) -> list[str]:
    if not seconds:
        return ["", "", ""]
    quick = sum(second <= 5.0 for second in seconds)
    return [
        f"{statistics.median(seconds):.2f}",
        f"{max(seconds):.2f}",
        str(quick),
    ]


def _joint(parts: Row) -> list[str]:
    lines = [
        "## Certificates first, then the standard attacks on what they leave",
        "",
        "AutoAttack's seconds are those of the benchmark of attacks, on the same "
        "machine in another run.",
        "",
        *_head(
            ["net", "certifier", "certified", "robust", "certify s", "attack s",
             "AutoAttack s", "its robust", "cost"]
        ),
    ]  # fmt: skip
    for name, part in parts.items():
        for method, row in part["rows"].items():
            if "refused" not in row:
                lines.append(_cells([name, method, *_joint_cells(row)]))
    return lines


def _joint_cells(row: Row) -> list[str]:
    known = row["reference_seconds"] is not None
    return [
        f"{row['certified']:.4f}",
        f"{row['robust']:.4f}",
        f"{row['certify_seconds']:.2f}",
        f"{row['attack_seconds']:.2f}",
        f"{row['reference_seconds']:.1f}" if known else "",
        f"{row['reference_robust']:.4f}" if known else "",
        f"{row['cost']:.1%}" if known else "",
    ]


def _head(columns: list[str]) -> list[str]:
    return [_cells(columns), "|---" * len(columns) + "|"]


def _cells(words: Iterable[str]) -> str:
    return f"| {' | '.join(words)} |"
