"""The documents that travel between client and service, shared by both."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from robustcert.results.effort import Effort, Tier
from robustcert.results.norm import norm_from_word
from robustcert.results.plain_text import plain_text
from robustcert.results.smoothing import DRAWS, LEAST_ALPHA, SmoothingPlan
from robustcert.results.threat_model import Box, ThreatSweep

SHA256 = "^[0-9a-f]{64}$"
LARGEST_SEED = 2**63 - 1
LEAST_MEMORY_MB = 512  # PyTorch alone takes about half of it
Sha256 = Annotated[str, Field(pattern=SHA256, description="of the bytes, in hex")]
DisplayName = Annotated[
    str,
    Field(max_length=120, description="shown to people; never used as a path"),
    AfterValidator(plain_text),
]
MethodName = Annotated[str, Field(pattern="^[A-Za-z0-9_.+-]{1,64}$")]


class Wire(BaseModel):
    """Base of every document: frozen, and a misspelt field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Answer(BaseModel):
    """Base of what the service answers; a newer service may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class FieldProblem(Answer):
    """One field of a request that is not valid."""

    field: str
    message: str


class Problem(Answer):
    """Problem details (RFC 9457), with what to do about it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    remedy: str = ""
    kind: str = ""
    errors: list[FieldProblem] = Field(default_factory=list)


class BlobReceipt(Answer):
    """Bytes that the service holds, safe on its disk."""

    sha256: Sha256
    size: int


class ModelSubmission(Wire):
    """Makes a model of uploaded bytes."""

    sha256: Sha256
    name: DisplayName = ""


class ModelResource(Answer):
    """A model that passed the static scan."""

    id: str
    sha256: Sha256
    name: str
    size: int
    created: datetime


class ModelPage(Answer):
    """Models, newest first; ``next`` is the cursor of the following page."""

    items: list[ModelResource]
    next: str | None = None


class SamplesSubmission(Wire):
    """Makes a sample set of an uploaded .npz file."""

    sha256: Sha256
    name: DisplayName = ""


class SamplesResource(Answer):
    """A sample set; what is not known of a built-in set before its use is null."""

    id: str
    name: str
    builtin: bool
    sha256: Sha256 | None = None
    size: int | None = None
    count: int | None = None
    input_shape: list[int] | None = None
    classes: int | None = None
    created: datetime | None = None


class SamplesPage(Answer):
    """Sample sets: the built-in ones first, then uploads, newest first."""

    items: list[SamplesResource]
    next: str | None = None


class SamplesChoice(Wire):
    """Which samples: the first ``count`` of a set."""

    id: str = Field(max_length=80)
    count: int | None = Field(default=None, ge=1, description="null: all of them")
    seed: int = Field(
        default=0, ge=0, le=LARGEST_SEED, description="of every random step"
    )


class ThreatModelChoice(Wire):
    """What an adversary may do."""

    norm: Literal["l2", "linf"]
    epsilons: list[Annotated[FiniteFloat, Field(ge=0.0)]] = Field(
        min_length=1, max_length=64, description="radii in input units"
    )
    box: tuple[FiniteFloat, FiniteFloat] = Field(
        default=(0.0, 1.0), description="lowest and highest valid input"
    )

    def sweep(self) -> ThreatSweep:
        """The choice as the library's record.

        Raises:
            InvalidThreatModelError: the box is empty.
        """
        return ThreatSweep(
            norm_from_word(self.norm), tuple(self.epsilons), Box(*self.box)
        )


class Budget(Wire):
    """Limits of one evaluation, never above the service's own; null: the service's.

    Beyond ``seconds`` or ``memory_mb`` an evaluation fails. Beyond ``attack_seconds``
    or ``attack_queries`` (null: no limit) no further attack starts, and the report says
    what was left. ``certify_seconds`` is for each sample, and stays clear of
    ``seconds``.
    """

    seconds: Annotated[FiniteFloat, Field(gt=0.0)] | None = None
    memory_mb: int | None = Field(default=None, ge=LEAST_MEMORY_MB)
    attack_seconds: Annotated[FiniteFloat, Field(ge=0.0)] | None = Field(
        default=None, description="wall-clock time of all attacks together"
    )
    attack_queries: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="forward and backward passes, counted per sample"
    )
    certify_seconds: Annotated[FiniteFloat, Field(ge=0.0)] | None = Field(
        default=None,
        description="certifiers' time for each sample that cheap ones and attacks "
        "leave open; null: the effort's",
    )


class SmoothingChoice(Wire):
    """How the model is smoothed; what is found is about the smoothed model alone."""

    sigma: Annotated[FiniteFloat, Field(gt=0.0)] = Field(
        description="standard deviation of the noise, in input units"
    )
    n0: int = Field(default=100, ge=1, le=10**6, description="draws that choose")
    n: int = Field(default=DRAWS, ge=1, le=10**8, description="draws that count")
    alpha: Annotated[FiniteFloat, Field(ge=LEAST_ALPHA, lt=0.5)] = Field(
        default=0.001, description="failure probability of one sample's radius"
    )

    def plan(self, seed: int) -> SmoothingPlan:
        """The choice as the library's record."""
        return SmoothingPlan(self.sigma, self.n0, self.n, self.alpha, seed)


class EvaluationRequest(Wire):
    """What to evaluate, and how."""

    model: str = Field(max_length=80, description="the model's id")
    samples: SamplesChoice
    threat_model: ThreatModelChoice
    tier: Tier = Tier.STANDARD
    effort: Effort = Effort.FAST
    attacks: list[MethodName] = Field(
        default_factory=list, max_length=64, description="empty: the tier's"
    )
    certifiers: list[MethodName] = Field(
        default_factory=list, max_length=64, description="empty: all that apply"
    )
    input_shape: list[Annotated[int, Field(ge=1, le=2**20)]] | None = Field(
        default=None,
        min_length=1,
        max_length=8,
        description="of the model's input, without the batch: where the model leaves "
        "it open, or the samples have another one of as many numbers",
    )
    smoothing: SmoothingChoice | None = Field(
        default=None, description="null: nothing about a smoothed model"
    )
    budget: Budget = Budget()


class Status(enum.StrEnum):
    """Where an evaluation stands."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self in (Status.DONE, Status.FAILED, Status.CANCELLED)


class ProgressView(Answer):
    """``done`` of ``total`` units of ``stage`` are finished; ``note`` is one line."""

    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""


class EvaluatedModel(Answer):
    """The model of an evaluation, named even after it was deleted."""

    id: str
    sha256: Sha256
    name: str


class EvaluatedSamples(Answer):
    """The sample set of an evaluation, named even after it was deleted."""

    id: str
    sha256: Sha256 | None
    name: str


class EvaluationStatus(Answer):
    """One evaluation: where it stands, and why it failed where it did.

    Attributes:
        position: evaluations ahead of this one in the queue, plus one; null unless
            it is queued.
        attempt: runs started so far; more than one means that the service, not the
            model, failed in between.
    """

    id: str
    status: Status
    model: EvaluatedModel
    samples: EvaluatedSamples
    request: EvaluationRequest
    position: int | None = None
    progress: ProgressView = ProgressView()
    attempt: int = 0
    problem: Problem | None = None
    created: datetime
    started: datetime | None = None
    finished: datetime | None = None


class EvaluationPage(Answer):
    """Evaluations, newest first; ``next`` is the cursor of the following page."""

    items: list[EvaluationStatus]
    next: str | None = None


class Health(Answer):
    """The service is up."""

    status: Literal["ok"] = "ok"
