"""Options that several commands share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from robustcert.errors import InputShapeError, UnknownNameError
from robustcert.evaluation.local import DEFAULT_MEMORY_MB, DEFAULT_SECONDS
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import EvaluationRequest
from robustcert.models.builtin import MODELS, SAMPLE_SETS
from robustcert.results.effort import CERTIFY_SECONDS, Effort, Tier
from robustcert.results.norm import norm_from_word
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatSweep

_by_effort = ", ".join(f"{seconds:g}" for seconds in CERTIFY_SECONDS.values())

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="TorchScript, torch.export (.pt2) or ONNX file, or a built-in model: "
        f"{', '.join(MODELS)}.",
    ),
]
SamplesName = Annotated[
    str,
    typer.Option(
        "--samples",
        metavar="NAME|FILE.npz",
        help="File with `inputs` and `labels` (uint8 is divided by 255), or a "
        f"built-in set: {', '.join(SAMPLE_SETS)}.",
    ),
]
NormWord = Annotated[str, typer.Option("--norm", metavar="l2|linf", help="Norm.")]
Epsilons = Annotated[
    list[float],
    typer.Option(
        "--epsilon", metavar="E", help="Radius in input units; may be repeated."
    ),
]
Count = Annotated[
    int | None,
    typer.Option("--count", metavar="N", help="Use the first N samples.", min=1),
]
TierOption = Annotated[Tier, typer.Option("--tier", help="How hard the attacks try.")]
EffortOption = Annotated[
    Effort,
    typer.Option("--effort", help="How hard Lipschitz bounds and certifiers try."),
]
Attacks = Annotated[
    list[str] | None,
    typer.Option("--attack", metavar="NAME", help="Attack to run instead of a tier."),
]
Certifiers = Annotated[
    list[str] | None,
    typer.Option(
        "--certifiers",
        metavar="auto|NAME,...",
        help="Certifiers; may be repeated. auto: all that apply, cheapest first.",
    ),
]
CertifySeconds = Annotated[
    float | None,
    typer.Option(
        "--certify-seconds",
        metavar="T",
        min=0.0,
        help="Certifiers' time for each sample that cheap ones and attacks leave "
        f"open; by effort: {_by_effort}.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="S", min=0, help="Seed.")]
BoxEnds = Annotated[
    tuple[float, float],
    typer.Option("--box", metavar="LO HI", help="Valid input range."),
]
InputShape = Annotated[
    str | None,
    typer.Option(
        "--input-shape",
        metavar="C,H,W",
        help="Shape of one input, where it cannot be found; an ONNX file of another "
        "shape is given its numbers row by row.",
    ),
]
JsonFile = Annotated[
    str | None,
    typer.Option("--json", metavar="FILE", help="Write the document; - is stdout."),
]
HtmlFile = Annotated[
    Path | None, typer.Option("--html", metavar="FILE", help="Write the HTML report.")
]
MarkdownFile = Annotated[
    Path | None,
    typer.Option("--markdown", metavar="FILE", help="Write the Markdown report."),
]
TrustModel = Annotated[
    bool,
    typer.Option(
        "--trust-model", help="Run the model in this process, without a sandbox."
    ),
]
Seconds = Annotated[
    float, typer.Option("--seconds", metavar="T", help="Time limit of the work.")
]
MemoryMb = Annotated[
    int, typer.Option("--memory-mb", metavar="M", help="Memory limit of the work.")
]
AttackSeconds = Annotated[
    float | None,
    typer.Option(
        "--attack-seconds",
        metavar="T",
        min=0.0,
        help="Budget of all attacks; what it leaves is a finding.",
    ),
]
AttackQueries = Annotated[
    int | None,
    typer.Option(
        "--attack-queries",
        metavar="Q",
        min=0,
        help="The same in forward and backward passes, per sample.",
    ),
]
SmoothSigma = Annotated[
    float | None,
    typer.Option(
        "--smooth-sigma",
        metavar="S",
        help="Noise, in input units: certify the smoothed model too, in a part of its "
        "own.",
    ),
]
SmoothDraws = Annotated[
    int, typer.Option("--smooth-draws", metavar="N", help="Draws of that noise.")
]
Checkpoints = Annotated[
    Path | None,
    typer.Option(
        "--checkpoints",
        metavar="FOLDER",
        help="Keep finished parts here; a restarted run goes on behind them.",
    ),
]

LONGEST = DEFAULT_SECONDS
LARGEST_MB = DEFAULT_MEMORY_MB
AUTO = "auto"
UNIT_ENDS = (UNIT_BOX.low, UNIT_BOX.high)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a command's child process may use."""

    seconds: float
    memory_mb: int
    trust_model: bool

    @property
    def limit(self) -> float | None:
        """The time limit; work on a trusted model has none."""
        return None if self.trust_model else self.seconds


def shape_from_words(words: str | None) -> tuple[int, ...] | None:
    """``3,32,32`` as a shape.

    Raises:
        InputShapeError: a part is no positive integer.
    """
    if words is None:
        return None
    try:
        shape = tuple(int(word) for word in words.replace("x", ",").split(","))
    except ValueError:
        shape = (0,)
    if min(shape) < 1 or math.prod(shape) > 2**31:
        raise InputShapeError(f"{words!r} is no shape")
    return shape


def threats(norm: str, epsilons: list[float], box: tuple[float, float]) -> ThreatSweep:
    """The threat models that the options describe."""
    return ThreatSweep(norm_from_word(norm), tuple(epsilons), Box(*box))


def request(
    model: str,
    samples: str,
    plan: EvaluationPlan,
    input_shape: str | None,
    checkpoints: Path | None = None,
    seconds: float | None = None,
) -> EvaluationRequest:
    """A request about local files."""
    return EvaluationRequest(
        model,
        samples,
        plan,
        input_shape=shape_from_words(input_shape),
        checkpoints="" if checkpoints is None else str(checkpoints),
        seconds=seconds,
    )


def certifiers(words: list[str] | None) -> tuple[str, ...]:
    """The certifiers that ``--certifiers`` names; none means all that apply.

    Raises:
        UnknownNameError: a name is empty, or stands beside auto.
    """
    names = [name.strip() for word in words or () for name in word.split(",")]
    if names in ([], [AUTO]):
        return ()
    if "" in names or AUTO in names:
        raise UnknownNameError(
            f"{', '.join(names)!r} names no certifiers",
            remedy="Give auto alone, or names separated by commas.",
        )
    return tuple(dict.fromkeys(names))
