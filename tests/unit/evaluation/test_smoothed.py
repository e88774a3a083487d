"""What a report says of the smoothed model, and where it says it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from robustcert.errors import ConsistencyError, DocumentError, UsageError
from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.request import EvaluationRequest, from_request, to_request
from robustcert.evaluation.run import evaluate
from robustcert.evaluation.smoothed import REFUSED
from robustcert.formats.registry import FORMATS
from robustcert.models.samples import Samples
from robustcert.models.torchscript import load_torchscript
from robustcert.results.consistency import check
from robustcert.results.document import from_document, issue, to_document
from robustcert.results.norm import Norm
from robustcert.results.smoothing import SmoothingPlan
from robustcert.results.threat_model import UNIT_BOX, ThreatSweep
from tests.models import nets

NOISE = SmoothingPlan(0.2, selection=50, draws=2000, seed=3)


def halves():
    """Class 0 iff x0 > 0.5: its smoothed model is itself."""
    net = nn.Linear(1, 2)
    net.weight.data = torch.tensor([[1.0], [0.0]])
    net.bias.data = torch.tensor([0.0, 0.5])
    return load_torchscript(nets.scripted(net), input_shape=(1,))


def points():
    inputs = torch.tensor([[0.9], [0.6], [0.2], [0.7]])
    return Samples(inputs, torch.tensor([0, 0, 1, 1]), "points", "0" * 64)


def plan(smoothing=NOISE):
    return EvaluationPlan(ThreatSweep(Norm.L2, (0.05,), UNIT_BOX), smoothing=smoothing)


@pytest.fixture(scope="module")
def report():
    return evaluate(halves(), points(), plan())


def test_radii_of_a_smoothed_half_line_stay_within_its_own(report):
    table = report.smoothing
    assert [row.label for row in table.rows] == [0, 0, 1, 1]
    for row, distance in zip(table.rows, (0.4, 0.1, 0.3, 0.2), strict=True):
        assert 0.5 * distance < row.radius < distance
    assert [row.right for row in table.rows] == [True, True, True, False]


def test_no_row_of_the_model_rests_on_the_smoothed_one(report):
    alone = evaluate(halves(), points(), plan(smoothing=None))
    assert alone.rows == report.rows
    assert alone.smoothing is None
    assert to_document(alone)["smoothing"] is None


def test_the_part_states_noise_draws_and_failure_probability_and_reads_back(report):
    document = json.loads(json.dumps(issue(report)))
    part = document["smoothing"]
    assert (part["sigma"], part["n0"], part["n"], part["seed"]) == (0.2, 50, 2000, 3)
    assert part["failure_probability"] == {"sample": 0.001, "table": 0.004}
    assert 0.05 in [point["epsilon"] for point in part["accuracy"]["certified"]]
    assert from_document(document) == from_document(issue(from_document(document)))
    assert from_document(document).smoothing == report.smoothing


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda part: part["rows"][0].update(radius=0.5),
        lambda part: part["rows"][0].update(hits=2001),
        lambda part: part["rows"][0].update(label=1),
        lambda part: part["rows"].pop(),
        lambda part: part["failure_probability"].update(table=0.001),
        lambda part: part["accuracy"]["certified"][0].update(accuracy=1.0),
        lambda part: part.update(sigma=2.0),
        lambda part: part.update(alpha=1e-12),
    ],
)
def test_a_part_that_does_not_follow_from_its_hits_is_refused(report, corrupt):
    document = copy.deepcopy(issue(report))
    corrupt(document["smoothing"])
    with pytest.raises(DocumentError):
        from_document(document)


def test_a_table_about_other_samples_breaks_a_law(report):
    table = report.smoothing
    rows = tuple(replace(row, index=row.index + 1) for row in table.rows)
    with pytest.raises(ConsistencyError, match="other samples"):
        check(replace(report, smoothing=replace(table, rows=rows)))


def test_a_random_model_leaves_a_finding_and_no_table():
    class Noisy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            shifted = x + 0.5 * torch.rand_like(x)
            return torch.cat([shifted, torch.full_like(x, 0.75)], dim=1)

    model = load_torchscript(nets.scripted(Noisy()), input_shape=(1,))
    report = evaluate(model, points(), plan())
    assert report.smoothing is None
    assert REFUSED in [finding.rule for finding in report.findings]


@pytest.mark.parametrize("name", ["html", "markdown"])
def test_reports_to_look_at_say_that_it_is_another_model(report, name):
    page = FORMATS[name].write(report)
    assert "smoothed model" in page
    assert "standard deviation 0.2" in page
    assert "smoothed" not in FORMATS[name].write(replace(report, smoothing=None))


def test_a_request_carries_the_noise_and_comes_back():
    asked = EvaluationRequest("m", "s", plan())
    assert from_request(json.loads(json.dumps(to_request(asked)))) == asked


def test_noise_of_no_width_is_refused():
    with pytest.raises(UsageError, match="standard deviation"):
        SmoothingPlan(0.0)
