"""The smoothing report of one model on one sample set."""

from __future__ import annotations

from robustcert.certify.smoothing.table import smoothing_table
from robustcert.evaluation.cards import sample_card
from robustcert.evaluation.provenance import provenance
from robustcert.evaluation.run import Surroundings
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples
from robustcert.results.norm import Norm
from robustcert.results.report import ModelCard
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.smoothing_document import SmoothingReport
from robustcert.results.threat_model import Box, ThreatSweep


def smoothing_report(
    model: LoadedModel,
    samples: Samples,
    box: Box,
    plan: SmoothingPlan,
    epsilons: tuple[float, ...],
    around: Surroundings,
) -> SmoothingReport:
    """Smooth the model and certify the smoothed one; no graph of it is needed.

    Args:
        model: the base model.
        samples: in ``box``.
        box: the valid range of the samples.
        plan: noise and draws.
        epsilons: in input units; none means 0 and every half sigma.
        around: who hears of every step.

    Raises:
        RobustCertError: as :func:`~robustcert.certify.smoothing.table.smoothing_table`.
        InvalidThreatModelError: an epsilon is no radius.
    """
    asked = ThreatSweep(Norm.L2, epsilons, box).epsilons if epsilons else ()
    table = smoothing_table(model, samples, box, plan, around.listener)
    card = ModelCard(
        sha256=model.sha256,
        format=model.format,
        input_shape=model.input_shape,
        classes=model.classes,
        parameters=model.parameters,
        output=model.output,
    )
    source = provenance(model, plan.seed, around.clock, around.sandbox)
    return SmoothingReport(
        card,
        sample_card(samples, plan.seed),
        table,
        asked or table.usual_epsilons,
        source,
    )
