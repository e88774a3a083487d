"""The report as a page of GitHub-flavoured Markdown, for the summary of a CI step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from robustcert.formats.sentences import (
    UNRELIABLE,
    bracket_sentence,
    headline,
    ranked,
    shown_band,
    smoothing_sentence,
    unreliable,
)
from robustcert.results.consistency import check
from robustcert.results.document_write import explained
from robustcert.results.numbers import (
    exact,
    number_up,
    percent,
    percent_down,
    whole,
)
from robustcert.results.plain_text import markdown_text
from robustcert.results.report import RobustnessReport
from robustcert.results.smoothing_part import smoothed_epsilons

_NAME = 80
_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class MarkdownFormat:
    """Headline, accuracy table, Lipschitz bracket, attacks, certifiers, findings."""

    name: str = "markdown"
    suffix: str = ".md"
    media_type: str = "text/markdown"

    def write(self, report: RobustnessReport) -> str:
        """The report as Markdown."""
        check(report)
        blocks = [
            "## Robustness report",
            f"**{headline(report)}**",
            *([f"**{UNRELIABLE}**"] if unreliable(report) else []),
            "\n".join(_accuracy(report)),
            _lipschitz(report),
            *_attacks(report),
            *_certifiers(report),
            *_smoothing(report),
            *_findings(report),
            _source(report),
        ]
        return "\n\n".join(blocks) + "\n"


def table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> Iterator[str]:
    """A table whose columns after the first are aligned to the right."""
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _accuracy(report: RobustnessReport) -> Iterator[str]:
    word = report.threats.norm.word
    head = (f"{word} epsilon", "certified accuracy (truth ≥)", "robust (truth ≤)")
    yield f"Clean accuracy {percent(report.clean_accuracy)}."
    yield ""
    yield from table(
        head, ((exact(point.epsilon), *shown_band(point)) for point in report.curve)
    )


def _lipschitz(report: RobustnessReport) -> str:
    lower, upper = report.lipschitz.lower, report.lipschitz.upper
    methods = [_escaped(bound.method) for bound in (lower, upper) if bound is not None]
    by = f" Best methods: {', '.join(methods)}." if methods else ""
    return bracket_sentence(report.lipschitz) + by


def _attacks(report: RobustnessReport) -> Iterator[str]:
    if report.attacks:
        head = (
            "attack",
            "attacked",
            "broken first",
            "forward queries",
            "backward queries",
        )
        rows = (
            (
                _escaped(run.name),
                whole(run.attacked),
                whole(run.broken),
                whole(run.forward_queries),
                whole(run.backward_queries),
            )
            for run in report.attacks
        )
        yield "\n".join(table(head, rows))


def _certifiers(report: RobustnessReport) -> Iterator[str]:
    if report.certifiers:
        head = ("certifier", "samples", "balls judged", "proved", "samples broken")
        rows = (
            (
                _escaped(run.name),
                whole(run.samples),
                whole(run.balls),
                whole(run.proved),
                whole(run.broken),
            )
            for run in report.certifiers
        )
        yield "\n".join(table(head, rows))


def _smoothing(report: RobustnessReport) -> Iterator[str]:
    smoothed = report.smoothing
    if smoothed is not None:
        epsilons = smoothed_epsilons(smoothed, report.threats)
        rows = (
            (exact(epsilon), percent_down(smoothed.certified_accuracy(epsilon)))
            for epsilon in epsilons
        )
        yield (
            f"{smoothing_sentence(report)} Any radius is wrong with probability "
            f"{number_up(smoothed.failure_probability)} at most."
        )
        yield "\n".join(table(("l2 epsilon", "smoothed model, certified"), rows))


def _findings(report: RobustnessReport) -> Iterator[str]:
    findings = ranked(explained(report.findings, report.lipschitz))
    if findings:
        lines = [
            f"- **{finding.level.value}** {_escaped(finding.rule)}: "
            f"{_escaped(finding.message, 300)} *{_escaped(finding.remedy, 300)}*"
            for finding in findings[:_FINDINGS]
        ]
        if len(findings) > _FINDINGS:
            lines.append(f"- and {len(findings) - _FINDINGS} more in the report")
        yield "\n".join(lines)


def _source(report: RobustnessReport) -> str:
    samples, model = report.samples, report.model
    return (
        f"Model {_escaped(model.sha256[:12])}, "
        f"{whole(samples.count)} samples of {_escaped(samples.name)}, "
        f"seed {report.provenance.seed}. Certified accuracy is a proven lower bound of "
        "the true robust accuracy; robust accuracy is an upper bound, found by attacks."
    )


def _escaped(text: str, limit: int = _NAME) -> str:
    return markdown_text(text, limit)
