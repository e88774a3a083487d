"""What the attacks' own figures say about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from robustcert.attacks.ensemble import STRONG
from robustcert.attacks.headway import Headway
from robustcert.results.attack import AttackRun
from robustcert.results.interval import share_interval
from robustcert.results.report import Finding, Level
from robustcert.results.soundness import MASKED_SHARE, STAND_INS

FEW_SAMPLES = 100
"""Below this many samples a share's 95 % interval is wider than .2 in the middle."""


def run_findings(
    runs: Sequence[AttackRun],
    samples: int,
    headways: Mapping[str, Headway] | None = None,
) -> Iterator[Finding]:
    """What the attacks' own figures say, in the order in which they ran.

    Args:
        runs: in the order in which they ran.
        samples: how many were evaluated, at least 1.
        headways: by attack, of those that look within epsilon.
    """
    yield from _weak_findings(runs)
    yield from _unverified_findings(runs)
    yield from _headway_findings(runs, headways or {})
    yield from _masking_findings(runs, samples)
    if samples < FEW_SAMPLES:
        low, high = share_interval(samples // 2, samples)
        yield Finding(
            "few-samples",
            Level.NOTE,
            f"{samples} samples say little about others: a share near one half is "
            f"known to lie between {low:.2f} and {high:.2f} only (95 %).",
            f"Evaluate {FEW_SAMPLES} samples or more.",
        )


def _weak_findings(runs: Sequence[AttackRun]) -> Iterator[Finding]:
    if not any(run.name in STRONG for run in runs):
        yield Finding(
            "weak-attacks",
            Level.WARNING,
            "Robust accuracy rests on a weak attack: "
            + ", ".join(run.name for run in runs)
            + ".",
            "Run the standard or thorough tier before drawing a conclusion.",
        )


def _unverified_findings(runs: Sequence[AttackRun]) -> Iterator[Finding]:
    for run in runs:
        if run.unverified:
            yield Finding(
                "unverified-claims",
                Level.WARNING,
                f"{run.name} claimed {run.unverified} adversarial examples that "
                "verification threw out; they do not count.",
                "None is needed; look for batch interaction where there are many.",
            )


def _headway_findings(
    runs: Sequence[AttackRun], headways: Mapping[str, Headway]
) -> Iterator[Finding]:
    """Gradient attacks none of which got anywhere with most of its samples."""
    climbs = {
        run.name: headways[run.name]
        for run in runs
        if run.backward_queries and run.name in headways and headways[run.name].rows
    }
    remedy = "Look at what the attacks that need no gradients find."
    if not climbs:
        return
    if all(2 * one.moved < one.rows for one in climbs.values()):
        yield Finding(
            "iterates-still",
            Level.WARNING,
            "No gradient attack moved most of its samples: "
            + ", ".join(f"{n} {one.moved} of {one.rows}" for n, one in climbs.items())
            + ".",
            remedy,
        )
    elif all(2 * one.gained < one.rows for one in climbs.values()):
        yield Finding(
            "loss-stalls",
            Level.WARNING,
            "No gradient attack lowered the margin of most of its samples: "
            + ", ".join(f"{n} {one.gained} of {one.rows}" for n, one in climbs.items())
            + ".",
            remedy,
        )


def _masking_findings(runs: Sequence[AttackRun], samples: int) -> Iterator[Finding]:
    """Attacks without the model's gradients that broke what gradients had left.

    It is an error where the last of them still broke a good share: the next one would
    break more, so the robust accuracy has not settled.
    """
    after_gradients, beaten = False, []
    for run in runs:
        if run.backward_queries and run.name not in STAND_INS:
            after_gradients = True
        elif after_gradients and (run.attacked or run.broken):
            beaten.append(run)
    for run in beaten:
        if not run.broken:
            continue
        unsettled = run is beaten[-1] and run.broken > MASKED_SHARE * samples
        how = "climbs a stand-in" if run.backward_queries else "uses no gradients"
        yield Finding(
            "gradient-masking",
            Level.ERROR if unsettled else Level.WARNING,
            f"{run.name} {how} and broke {run.broken} samples that withstood every "
            "gradient attack before it: gradients mislead here.",
            "Run the thorough tier and rely on certificates; the robust accuracy is "
            "likely too high.",
        )


def refused(name: str, reason: str) -> Finding:
    """An attack did not run."""
    return Finding(
        "attack-refused",
        Level.NOTE,
        f"{name} did not run: {reason}.",
        "None is needed where other attacks ran.",
    )


def non_finite(count: int) -> Iterator[Finding]:
    """Perturbed inputs at which the model's output is not a number."""
    if count:
        yield Finding(
            "non-finite-output",
            Level.WARNING,
            f"The model returned NaN or infinity on {count} perturbed inputs; they "
            "are not counted as adversarial examples.",
            "Find out what overflows; such inputs are failures of their own.",
        )
