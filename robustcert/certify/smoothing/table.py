"""The smoothed model on a sample set: predictions, abstentions, radii.

References:
    Cohen, Rosenfeld, Kolter. Certified Adversarial Robustness via Randomized Smoothing.
        ICML 2019, the procedure CERTIFY.
    Jin, Ohrimenko, Rubinstein. Getting a-Round Guarantees: Floating-Point Attacks on
        Certified Robustness. 2022.
    Voracek, Hein. Sound Randomized Smoothing in Floating-Point Arithmetics. ICLR 2023.
"""

from __future__ import annotations

from robustcert.certify.smoothing.votes import (
    noise_source,
    noisy,
    require_separate_rows,
    votes,
)
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples, check_fit
from robustcert.results.progress import Listener, Progress, unheard
from robustcert.results.smoothing import (
    SmoothedSample,
    SmoothingPlan,
    SmoothingTable,
    smoothed_sample,
)
from robustcert.results.threat_model import Box


def smoothing_table(
    model: LoadedModel,
    samples: Samples,
    box: Box,
    plan: SmoothingPlan,
    listener: Listener = unheard,
) -> SmoothingTable:
    """Certified L2 radii of the smoothed model, in the probability the plan states.

    ``plan.selection`` draws choose the class, ``plan.draws`` others count it. The noise
    is not clipped: the base model is run outside the box, and radii hold for all
    inputs. What the rounding of ``x + noise`` tells about x is not covered.

    Args:
        model: the base model; its graph is not needed.
        samples: in ``box``, labels within the model's classes.
        box: the valid range of the samples.
        plan: noise and draws.
        listener: told after each sample.

    Raises:
        UnreadableInputError: samples and model do not fit.
        UnsoundModelError: the model is random, or mixes the rows of a batch.
    """
    check_fit(samples, model, box)
    probe = noise_source(plan.seed, -1, model.device)
    point = samples.inputs[0]
    require_separate_rows(model, noisy(model, point, plan.sigma, 8, probe))
    rows: list[SmoothedSample] = []
    for index in range(len(samples)):
        rows.append(_smoothed(model, samples, plan, index))
        note = f"radius {rows[-1].radius:.4f}"
        listener(Progress("smoothing", len(rows), len(samples), note))
    return SmoothingTable(plan, tuple(rows))


def _smoothed(
    model: LoadedModel, samples: Samples, plan: SmoothingPlan, index: int
) -> SmoothedSample:
    point, label = samples.inputs[index], int(samples.labels[index])
    source = noise_source(plan.seed, index, model.device)
    chosen = votes(model, point, plan.sigma, plan.selection, source)[:-1]
    if not bool(chosen.any()):
        return smoothed_sample(plan, index, label, None, 0)
    candidate = int(chosen.argmax())
    hits = int(votes(model, point, plan.sigma, plan.draws, source)[candidate])
    return smoothed_sample(plan, index, label, candidate, hits)
