"""The corruptions by name; strengths are ours, for a box scaled to [0, 1].

| name | strength | 1 | 2 | 3 | 4 | 5 |
|---|---|---|---|---|---|---|
| gaussian-noise | standard deviation | .04 | .08 | .12 | .18 | .26 |
| shot-noise | photons at full brightness | 500 | 200 | 80 | 40 | 20 |
| impulse-noise | share of coordinates | .01 | .03 | .06 | .12 | .20 |
| gaussian-blur | deviation / shorter side | .010 | .018 | .026 | .036 | .050 |
| motion-blur | streak / shorter side | .08 | .12 | .16 | .22 | .30 |
| contrast | share that stays | .75 | .55 | .40 | .25 | .15 |
| brightness | shift | .10 | .20 | .30 | .40 | .50 |
| block-quantisation | step of the mean | .02 | .04 | .07 | .11 | .16 |
| pixelate | pixels a side that stay | .75 | .60 | .45 | .33 | .25 |

Reference:
    Hendrycks, Dietterich. Benchmarking neural network robustness to common corruptions
    and perturbations. ICLR 2019, for the idea and the kinds.
"""

from __future__ import annotations

from robustcert.corruptions.blur import gaussian_blur, motion_blur
from robustcert.corruptions.digital import block_quantisation, pixelate
from robustcert.corruptions.interface import Corruption, Distortion, Strengths
from robustcert.corruptions.noise import gaussian_noise, impulse_noise, shot_noise
from robustcert.corruptions.tone import brightness, contrast
from robustcert.errors import UnknownNameError

_NOISES = (
    Corruption("gaussian-noise", gaussian_noise, (0.04, 0.08, 0.12, 0.18, 0.26)),
    Corruption("shot-noise", shot_noise, (500.0, 200.0, 80.0, 40.0, 20.0)),
    Corruption("impulse-noise", impulse_noise, (0.01, 0.03, 0.06, 0.12, 0.2)),
)
_OF_PICTURES: tuple[tuple[str, Distortion, Strengths], ...] = (
    ("gaussian-blur", gaussian_blur, (0.01, 0.018, 0.026, 0.036, 0.05)),
    ("motion-blur", motion_blur, (0.08, 0.12, 0.16, 0.22, 0.3)),
    ("contrast", contrast, (0.75, 0.55, 0.4, 0.25, 0.15)),
    ("brightness", brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    ("block-quantisation", block_quantisation, (0.02, 0.04, 0.07, 0.11, 0.16)),
    ("pixelate", pixelate, (0.75, 0.6, 0.45, 0.33, 0.25)),
)
_PICTURES = tuple(Corruption(*row, pictures_only=True) for row in _OF_PICTURES)

CORRUPTIONS: dict[str, Corruption] = {row.name: row for row in (*_NOISES, *_PICTURES)}


def corruption_named(name: str) -> Corruption:
    """The row called ``name``.

    Raises:
        UnknownNameError: there is none.
    """
    if name not in CORRUPTIONS:
        raise UnknownNameError(
            f"no corruption is called {name!r}; there are {', '.join(CORRUPTIONS)}"
        )
    return CORRUPTIONS[name]
