"""The shape of a report document on the wire, as pydantic models.

Names are those of ``robustcert/report/v1``. Keys a reader does not know are ignored,
so documents may gain keys; a missing key, a wrong type or a non-finite number is
refused. Optional keys are those that joined the schema after its first draft.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class Wire(BaseModel):
    """Strict types, finite numbers, unknown keys ignored."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", allow_inf_nan=False
    )


class LayerWire(Wire):
    """One layer of the model."""

    name: str
    kind: str
    shape: list[Count]
    operator_norm: Amount | None


class UnsupportedWire(Wire):
    """A layer that no certificate can see through."""

    layer: str
    reason: str


class ModelWire(Wire):
    """What the model is."""

    sha256: str
    format: str
    input_shape: list[Count]
    classes: Count
    parameters: Count
    output: Literal["logits", "probabilities", "log_probabilities", "single_logit"]
    layers: list[LayerWire]
    unsupported: list[UnsupportedWire]


class SamplesWire(Wire):
    """Which samples were used."""

    name: str
    sha256: str
    count: Count
    seed: int


class ThreatWire(Wire):
    """Norm, radii and box of the adversary."""

    norm: Literal["l2", "linf"]
    epsilons: list[Amount]
    box: Pair


class WitnessWire(Wire):
    """The pair of inputs, flattened, behind the best lower bound."""

    first: list[float]
    second: list[float]
    ratio: float


class LowerWire(Wire):
    """The best lower bound; all null where there is none."""

    value: Amount | None
    method: str | None
    witness: WitnessWire | None = None


class UpperWire(Wire):
    """The best upper bound; the value is null where it is unbounded."""

    value: Amount | None
    method: str | None


class BoundWire(Wire):
    """One bound; ``sound`` says that the value is proved.

    ``gap``: how far, relatively, an upper bound may lie above its relaxation's optimum.
    """

    side: Literal["lower", "upper"]
    method: str
    value: Amount | None
    seconds: Amount
    sound: Literal[True]
    scope: Literal["global", "box", "ball"] = "global"
    gap: Amount | None = None


class RefusedWire(Wire):
    """A method that gave no bound, and why."""

    method: str
    layer: str
    reason: str


class LipschitzWire(Wire):
    """Everything found about the Lipschitz constant."""

    norm: Literal["l1", "l2", "linf"]
    scope: Literal["global", "box", "ball"]
    lower: LowerWire
    upper: UpperWire
    bounds: list[BoundWire]
    refused: list[RefusedWire] = []


class CurveWire(Wire):
    """Certified and robust accuracy at one epsilon."""

    epsilon: Amount
    certified: Share
    robust: Share
    certified_interval: Pair
    robust_interval: Pair


class AccuracyWire(Wire):
    """Clean accuracy and the curve, as shares."""

    clean: Share
    curve: list[CurveWire]


class AtWire(Wire):
    """What is known about one sample at one epsilon."""

    epsilon: Amount
    verdict: Literal["certified", "broken", "undecided"]
    by: str | None


class SampleWire(Wire):
    """What is known about one sample."""

    index: Count
    label: Count
    predicted: Count
    margin: float
    certified_radius: Amount
    certified_by: str | None
    adversarial_distance: Amount | None
    broken_by: str | None
    at: list[AtWire]


class AttackWire(Wire):
    """Cost and yield of one attack."""

    name: str
    broken: Count
    forward_queries: Count
    backward_queries: Count
    seconds: Amount
    unverified: Count = 0
    attacked: Count = 0


class CertifierWire(Wire):
    """Cost and yield of one certifier."""

    name: str
    samples: Count
    balls: Count
    proved: Count
    broken: Count
    unverified: Count
    seconds: Amount


class SmoothedPointWire(Wire):
    """The smoothed model's certified accuracy at one radius in L2."""

    epsilon: Amount
    accuracy: Share
    interval: Pair


class SmoothedAccuracyWire(Wire):
    """The smoothed model's accuracy, as shares."""

    abstained: Share
    certified: list[SmoothedPointWire]


class SmoothedSampleWire(Wire):
    """What the smoothed model does around one sample."""

    index: Count
    label: Count
    candidate: Count | None
    hits: Count
    abstained: bool
    radius: Amount


class FailureWire(Wire):
    """How probable it is, at most, that a sample's radius, or any, is wrong."""

    sample: Share
    table: Share


class SmoothingWire(Wire):
    """What is known of the smoothed model, which is another than the model."""

    about: list[str]
    norm: Literal["l2"]
    sigma: Annotated[float, Field(gt=0.0)]
    n0: Annotated[int, Field(ge=1)]
    n: Annotated[int, Field(ge=1)]
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)]
    seed: Count
    largest_radius: Amount
    failure_probability: FailureWire
    accuracy: SmoothedAccuracyWire
    rows: Annotated[list[SmoothedSampleWire], Field(min_length=1)]


class FindingWire(Wire):
    """Something about the evaluation itself."""

    rule: str
    level: Literal["note", "warning", "error"]
    message: str
    remedy: str


class CacheWire(Wire):
    """How many shards came from the cache."""

    hits: Count
    misses: Count


class ProvenanceWire(Wire):
    """How the report came about."""

    versions: dict[str, str]
    seed: int
    device: str
    dtype: str
    threads: Count
    started: str
    seconds: Amount
    sandbox: list[str]
    cache: CacheWire


class ReportWire(Wire):
    """The document ``robustcert/report/v1``."""

    model_config = ConfigDict(title="robustcert/report/v1")

    schema_: Literal["robustcert/report/v1"] = Field(alias="schema")
    model: ModelWire
    samples: SamplesWire
    threat_model: ThreatWire
    lipschitz: LipschitzWire
    accuracy: AccuracyWire
    per_sample: list[SampleWire]
    attacks: list[AttackWire]
    certifiers: list[CertifierWire] = []
    smoothing: SmoothingWire | None = None
    findings: list[FindingWire]
    provenance: ProvenanceWire
