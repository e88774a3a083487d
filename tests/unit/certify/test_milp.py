"""Exact radii of tiny nets against grids, formulas and each other."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from robustcert.certify.gaps import with_gaps
from robustcert.certify.interface import CertificationTask
from robustcert.certify.milp import oracle
from robustcert.certify.milp.certifier import milp
from robustcert.certify.milp.encoding import MOST_UNSTABLE, encoded
from robustcert.certify.milp.highs import Rows, conflict
from robustcert.certify.milp.oracle import TOLERANCE, oracle_radius
from robustcert.certify.milp.safe_bound import safe_minimum
from robustcert.errors import UnsupportedLayerError, UsageError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run, values
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise, Input, LayerGraph, Linear
from robustcert.lipschitz.local.enclosure import enclosure
from robustcert.lipschitz.local.region import Region
from robustcert.lipschitz.upper.pair_bounds import pair_bounds
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets

WIDE = Box(-10.0, 10.0)
RELU = Activation(ActivationKind.RELU)


def two_layers(first: Tensor, bias: Tensor | None, head: Tensor, shift: Tensor | None):
    units = len(first)
    return LayerGraph(
        (
            Input("input", (), (first.shape[1],)),
            Linear("first", (0,), (units,), first, bias),
            Elementwise("relu", (1,), (units,), RELU),
            Linear("head", (2,), (len(head),), head, shift),
        )
    )


def small_net(units: int = 20, classes: int = 2) -> LayerGraph:
    """A 2-20-2 net with a winding boundary in the unit box."""
    g = torch.Generator().manual_seed(4)
    first = 4.0 * torch.randn(units, 2, generator=g, dtype=torch.float64)
    kinks = torch.rand(units, 2, generator=g, dtype=torch.float64)
    head = torch.randn(classes, units, generator=g, dtype=torch.float64)
    body = two_layers(first, -(first * kinks).sum(1), head, None)
    middle = run(body, torch.rand(500, 2, generator=g, dtype=torch.float64))
    return two_layers(first, -(first * kinks).sum(1), head, -middle.median(0).values)


def read(net: nn.Module, shape: tuple[int, ...]) -> LayerGraph:
    model = load_torchscript(nets.scripted(nets.settled(net)), input_shape=shape)
    return extract(model)


def task_for(graph, x, box=UNIT_BOX, slack=0.0, labels=None):
    logits = run(graph, x)
    found = logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
    return CertificationTask(
        graph,
        x,
        found if labels is None else labels,
        Norm.LINF,
        box,
        torch.full((len(x),), slack, dtype=torch.float64),
    )


def radii(task):
    most = torch.full_like(task.slack, math.inf)
    return milp(task.graph, Norm.LINF).radii(task, most)


def enclosed_by_a_grid(graph: LayerGraph, x: Tensor, steps: int) -> tuple[Tensor, ...]:
    """Lower and upper bounds ``(N,)`` of the L-infinity radius in the unit box.

    A grid point of the other class bounds the radius from above; from below, the
    nearest cell whose middle is too close to the boundary to be sure.
    """
    h = 1.0 / steps
    axis = torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    gaps = run(graph, points).diff(dim=1)[:, 0]
    steepest = float(pair_bounds(graph, Norm.LINF)[0, 1])
    lows, highs = [], []
    for point in x:
        sign = -run(graph, point[None]).diff(dim=1)[0, 0].sign()
        apart = (points - point).abs().amax(1)
        other = sign * gaps >= 0.0
        unsure = sign * gaps >= -steepest * h / 2.0
        highs.append(apart[other].min() if other.any() else torch.tensor(1.0))
        lows.append((apart[unsure] - h / 2.0).clamp(min=0.0).min())
    return torch.stack(lows), torch.stack(highs)


def test_oracle_and_certificate_agree_with_a_fine_grid_at_100_points():
    graph = small_net()
    g = torch.Generator().manual_seed(9)
    x = torch.rand(100, 2, generator=g, dtype=torch.float64)
    low, high = enclosed_by_a_grid(graph, x, steps=400)
    task = task_for(graph, x)
    assert task.labels.unique().tolist() == [0, 1]
    assert (high - low).median() < 0.04
    nearest = torch.tensor(
        [
            oracle_radius(graph, p, int(y), UNIT_BOX)
            for p, y in zip(x, task.labels, strict=True)
        ]
    ).clamp(max=1.0)
    assert (low - TOLERANCE <= nearest).all()
    assert (nearest <= high + TOLERANCE).all()
    found = radii(task.rows(0, 15))
    assert (found <= high[:15]).all()
    assert (found >= 0.998 * nearest[:15] - TOLERANCE).all()


def test_the_radius_of_a_linear_classifier_is_its_exact_distance():
    g = torch.Generator().manual_seed(5)
    W = torch.randn(4, 6, generator=g, dtype=torch.float64)
    x = torch.randn(20, 6, generator=g, dtype=torch.float64)
    graph = LayerGraph((Input("input", (), (6,)), Linear("head", (0,), (4,), W, None)))
    task = task_for(graph, x, WIDE)
    rows = W[task.labels][:, None] - W[None]
    logits = x @ W.T
    gaps = logits.gather(1, task.labels[:, None]) - logits
    exact = (gaps / rows.abs().sum(2)).nan_to_num(nan=math.inf).amin(1)
    found = radii(task)
    assert (found <= exact).all()
    torch.testing.assert_close(found, exact, rtol=2e-3, atol=0.0)


def test_the_box_cuts_the_ball():
    """``1.4 - x_0 - x_1`` at (.9, .1): in the box, x_0 can rise by .1 alone."""
    W = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    b = torch.tensor([-1.4], dtype=torch.float64)
    graph = LayerGraph((Input("input", (), (2,)), Linear("head", (0,), (1,), W, b)))
    x = torch.tensor([[0.9, 0.1]], dtype=torch.float64)
    assert radii(task_for(graph, x, WIDE)).item() == pytest.approx(0.2, rel=2e-3)
    assert radii(task_for(graph, x)).item() == pytest.approx(0.3, rel=2e-3)


def test_a_constant_classifier_is_certified_on_the_whole_box():
    W = torch.zeros(2, 3, dtype=torch.float64)
    b = torch.tensor([1.0, 0.0], dtype=torch.float64)
    graph = LayerGraph((Input("input", (), (3,)), Linear("head", (0,), (2,), W, b)))
    x = torch.full((1, 3), 0.5, dtype=torch.float64)
    assert radii(task_for(graph, x)).item() == 1.0


def test_the_distance_to_the_kink_of_a_tent_is_exact():
    """``1 - |x|`` against 0: from 0.25 the class changes at 1, that is at .75."""
    first = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    head = torch.tensor([[-1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    shift = torch.tensor([1.0, 0.0], dtype=torch.float64)
    graph = two_layers(first, None, head, shift)
    x = torch.tensor([[0.25]], dtype=torch.float64)
    assert radii(task_for(graph, x, WIDE)).item() == pytest.approx(0.75, rel=2e-3)


@pytest.mark.parametrize("label", [0, 1])
def test_one_logit_is_certified_by_its_distance_from_zero(label):
    W = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    graph = LayerGraph((Input("input", (), (2,)), Linear("head", (0,), (1,), W, None)))
    x = torch.tensor([[0.1, 0.1]], dtype=torch.float64) * (2 * label - 1)
    assert radii(task_for(graph, x, WIDE)).item() == pytest.approx(0.1, rel=2e-3)


def test_the_margin_counts_only_above_the_slack():
    W = torch.eye(2, dtype=torch.float64)
    graph = LayerGraph((Input("input", (), (2,)), Linear("head", (0,), (2,), W, None)))
    x = torch.tensor([[0.6, 0.5]], dtype=torch.float64)
    assert radii(task_for(graph, x)).item() == pytest.approx(0.05, rel=2e-3)
    half = radii(task_for(graph, x, slack=0.05))
    assert half.item() == pytest.approx(0.025, rel=2e-3)
    assert radii(task_for(graph, x, slack=0.1 + 1e-9)).item() == 0.0
    certifier, zero = milp(graph, Norm.LINF), torch.zeros(1, dtype=torch.float64)
    assert certifier.prove(task_for(graph, x), zero).proved.all()
    assert not certifier.prove(task_for(graph, x, slack=0.1 + 1e-9), zero).proved.any()


def test_a_refuted_ball_shows_an_input_that_refutes_it():
    graph = small_net()
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    task = task_for(graph, x)
    reach = radii(task) * 1.05 + 1e-3
    proof = milp(graph, Norm.LINF).prove(task, reach)
    assert not proof.proved.any()
    suspect = proof.suspects[0]
    assert run(graph, suspect[None]).argmax(1) != task.labels
    assert (suspect - x[0]).abs().max() <= reach.item() * (1.0 + 1e-12)
    assert suspect.min() >= 0.0
    assert suspect.max() <= 1.0


def test_deep_nets_with_several_classes_are_exact_too():
    g = torch.Generator().manual_seed(2)
    net = nets.mlp(3, 8, 8, 4)
    graph = read(net, (3,))
    x = torch.rand(4, 3, generator=g, dtype=torch.float64)
    logits = run(graph, torch.rand(4000, 3, generator=g, dtype=torch.float64))
    last = graph.layers[-1]
    centred = LayerGraph(
        (
            *graph.layers,
            Linear(
                "centred",
                (len(graph.layers) - 1,),
                last.shape,
                torch.eye(4, dtype=torch.float64),
                -logits.mean(0).double(),
            ),
        )
    )
    task = task_for(centred, x)
    found = radii(task)
    assert (found > 0.0).all()
    points = torch.rand(200_000, 3, generator=g, dtype=torch.float64)
    classes = run(centred, points).argmax(1)
    for row in range(4):
        other = classes != task.labels[row]
        assert found[row] < 1.0
        apart = (points[other] - x[row]).abs().amax(1).min()
        assert found[row] <= apart
        assert found[row] >= apart - 0.03


@pytest.mark.parametrize("net", ["conv strided", "residual", "average pool", "mlp"])
def test_encoded_rows_hold_every_input_of_the_region(net):
    """An input's true activations break no row, and give the outputs."""
    graph = with_gaps(read(nets.IMAGE_NETS[net](), nets.IMAGE), 1)
    g = torch.Generator().manual_seed(7)
    centre = torch.rand(nets.IMAGE, generator=g, dtype=torch.float64)
    region = Region(centre, 1e-3, Norm.LINF, UNIT_BOX)
    encoding = encoded(graph, region)
    for _ in range(5):
        move = 2e-3 * torch.rand(nets.IMAGE, generator=g, dtype=torch.float64) - 1e-3
        point = (centre + move).clamp(0.0, 1.0)
        variables = assignment(graph, region, point, encoding)
        assert (encoding.rows @ variables <= encoding.limits).all()
        assert (variables >= encoding.low).all()
        assert (variables <= encoding.high).all()
        forms = variables @ encoding.outputs.columns + encoding.outputs.shift
        off = (forms - run(graph, point[None])[0]).abs()
        assert (off <= encoding.outputs.blur + 1e-13).all()


def assignment(graph, region, point, encoding) -> Tensor:
    """The variables' values at one input: what its open units give."""
    seen = enclosure(graph, region, {})
    found = values(graph, point[None])
    parts = [point.flatten()]
    for layer in graph.layers:
        if isinstance(layer, Elementwise):
            bounds = seen[layer.name]
            units = ((bounds.low < 0.0) & (bounds.high > 0.0)).flatten()
            z = found[layer.inputs[0]].flatten()[units]
            parts.append(
                torch.stack([z.clamp(min=0.0), (z > 0.0).double()], 1).flatten()
            )
    variables = torch.cat(parts)
    assert len(variables) == len(encoding.low)
    return variables


def test_any_prices_bound_a_linear_program_from_below():
    g = torch.Generator().manual_seed(3)
    for _ in range(20):
        low, cost = draw(g, 5), draw(g, 5)
        high, matrix = low + draw(g, 5).abs(), draw(g, 8, 5)
        rows = Rows(matrix, matrix @ (low + high) / 2.0 + 0.1, low, high)
        truth = linprog(
            cost.numpy(),
            A_ub=rows.matrix.numpy(),
            b_ub=rows.limits.numpy(),
            bounds=torch.stack([rows.low, rows.high], dim=1).numpy(),
        )
        prices = torch.from_numpy(-truth.ineqlin.marginals)
        assert safe_minimum(cost, rows, prices) == pytest.approx(truth.fun, abs=1e-9)
        for _ in range(5):
            other = prices + draw(g, 8).abs()
            assert safe_minimum(cost, rows, other) <= truth.fun + 1e-9


def draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_rows_that_contradict_each_other_are_seen_by_their_prices():
    """``v >= 1`` and ``v <= 0.5`` within [0, 2]; at ``v <= 1.5`` there is room."""
    matrix = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    ends = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    for limit, empty in ((0.5, True), (1.5, False)):
        limits = torch.tensor([-1.0, limit], dtype=torch.float64)
        rows = Rows(matrix, limits, *ends)
        nothing = torch.zeros(1, dtype=torch.float64)
        assert (safe_minimum(nothing, rows, conflict(rows)) > 0.0) == empty


def test_where_highs_runs_out_of_time_cases_are_settled_without_it(monkeypatch):
    graph = small_net()
    x = torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    task = task_for(graph, x)
    whole = radii(task)
    monkeypatch.setattr(oracle, "SECONDS", 0.0)
    with pytest.raises(UsageError, match="HiGHS gives up"):
        oracle_radius(graph, x[0], int(task.labels[0]), UNIT_BOX)
    found = radii(task)
    assert (found <= whole * (1.0 + 1e-6)).all()
    assert (found >= 0.98 * whole).all()


def test_without_time_nothing_is_proved():
    graph = small_net()
    x = torch.tensor([[0.2, 0.3]], dtype=torch.float64)
    task, radius = task_for(graph, x), torch.tensor([1e-3], dtype=torch.float64)
    certifier = milp(graph, Norm.LINF)
    assert certifier.prove(task, radius).proved.all()
    assert not certifier.prove(task, radius, seconds=-1.0).proved.any()


def test_a_misclassified_sample_has_no_radius():
    graph = small_net()
    x = torch.tensor([[0.2, 0.3]], dtype=torch.float64)
    wrong = 1 - task_for(graph, x).labels
    assert radii(task_for(graph, x, labels=wrong)).item() == 0.0


def test_l2_balls_smooth_activations_and_max_pools_are_refused_by_name():
    graph = small_net()
    with pytest.raises(UnsupportedLayerError, match="l2"):
        milp(graph, Norm.L2)
    smooth = read(nets.conv_net(nn.Tanh()), nets.IMAGE)
    with pytest.raises(UnsupportedLayerError, match="tanh has no rule in milp"):
        milp(smooth, Norm.LINF)
    pooled = read(nets.pooled(nn.MaxPool2d(2)), nets.IMAGE)
    with pytest.raises(UnsupportedLayerError, match="maxpool has no rule in milp"):
        milp(pooled, Norm.LINF)


def test_too_many_unstable_units_are_refused():
    graph = small_net(units=4 * MOST_UNSTABLE)
    task = task_for(graph, torch.tensor([[0.5, 0.5]], dtype=torch.float64))
    with pytest.raises(UnsupportedLayerError, match="unstable units") as refused:
        milp(graph, Norm.LINF).prove(task, torch.ones(1, dtype=torch.float64))
    assert "branch-and-bound" in refused.value.remedy
