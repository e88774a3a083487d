"""Options of the trainers whose penalty is made of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from robustcert.train.clip import ClipOptions
from robustcert.train.clip_plus import ClipPlusOptions
from robustcert.train.margin import MarginOptions
from robustcert.train.weight_options import WeightOptions

_WEIGHT = WeightOptions(lambda_=0.03)
_WEIGHT_BESIDE_MARGIN = WeightOptions(lambda_=0.01)
_PAIRS = ClipOptions()
_CLIMBERS = ClipPlusOptions()
_MARGIN = MarginOptions()


@dataclass(frozen=True, slots=True)
class ClipTraining:
    """CLIP as published.

    Attributes:
        pairs: X_Lip, and how it climbs.
        weight: lambda.
    """

    pairs: ClipOptions = _PAIRS
    weight: WeightOptions = _WEIGHT


@dataclass(frozen=True, slots=True)
class ClipPlusTraining:
    """CLIP+.

    Attributes:
        pairs: how many, and how they climb.
        weight: lambda.
    """

    pairs: ClipPlusOptions = _CLIMBERS
    weight: WeightOptions = _WEIGHT


@dataclass(frozen=True, slots=True)
class MarginClipPlusTraining:
    """Margins and CLIP+ together.

    Attributes:
        margin: of the fit.
        pairs: of the penalty.
        weight: lambda.
    """

    margin: MarginOptions = _MARGIN
    pairs: ClipPlusOptions = _CLIMBERS
    weight: WeightOptions = _WEIGHT_BESIDE_MARGIN
