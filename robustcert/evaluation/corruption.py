"""The corruption report of one model on one sample set."""

from __future__ import annotations

from collections.abc import Sequence

from robustcert.corruptions.table import corruption_table
from robustcert.evaluation.cards import sample_card
from robustcert.evaluation.provenance import provenance
from robustcert.evaluation.run import Surroundings
from robustcert.models.interface import LoadedModel
from robustcert.models.samples import Samples
from robustcert.results.corruption import CorruptionReport
from robustcert.results.report import ModelCard
from robustcert.results.threat_model import Box


def corruption_report(
    model: LoadedModel,
    samples: Samples,
    box: Box,
    names: Sequence[str],
    seed: int,
    around: Surroundings,
) -> CorruptionReport:
    """Run the model on corrupted samples; no graph of it is needed.

    Raises:
        RobustCertError: as :func:`~robustcert.corruptions.table.corruption_table`.
    """
    table = corruption_table(
        model, samples, box, names, seed=seed, listener=around.listener
    )
    card = ModelCard(
        sha256=model.sha256,
        format=model.format,
        input_shape=model.input_shape,
        classes=model.classes,
        parameters=model.parameters,
        output=model.output,
    )
    source = provenance(model, seed, around.clock, around.sandbox)
    return CorruptionReport(card, sample_card(samples, seed), box, table, source)
