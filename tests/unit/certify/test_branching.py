"""Branch and bound: complete on small nets, and never ahead of its own arithmetic."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.certify.branching.build import encoded
from robustcert.certify.branching.certifier import branch_and_bound
from robustcert.certify.branching.climb import Climb, climbed
from robustcert.certify.branching.confirm import interval_bounds, lower_bounds
from robustcert.certify.branching.pool import Batch, Pool
from robustcert.certify.branching.program import (
    Bounds,
    Leaves,
    steepest_slopes,
    whole,
)
from robustcert.certify.branching.rectifiers import rectified
from robustcert.certify.branching.region import region_around
from robustcert.certify.branching.sample import settled
from robustcert.certify.branching.tree import Effort, Stand, planted
from robustcert.certify.interface import CertificationTask
from robustcert.errors import UnsoundModelError, UnsupportedLayerError
from robustcert.graph.activations import Activation, ActivationKind
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.graph.layers import Elementwise, Input, LayerGraph, Linear
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.threat_model import UNIT_BOX, Box
from tests.models import nets

WIDE = Box(-100.0, 100.0)
RELU = Activation(ActivationKind.RELU)


def dense_net(widths, seed, activation=RELU):
    g = torch.Generator().manual_seed(seed)
    layers = [Input("input", (), (widths[0],))]
    for number, (n, m) in enumerate(itertools.pairwise(widths)):
        W = torch.randn(m, n, generator=g, dtype=torch.float64) / math.sqrt(n) * 2.0
        b = 0.5 * torch.randn(m, generator=g, dtype=torch.float64)
        layers.append(Linear(f"fc{number}", (len(layers) - 1,), (m,), W, b))
        if number < len(widths) - 2:
            source = (len(layers) - 1,)
            layers.append(Elementwise(f"act{number}", source, (m,), activation))
    return LayerGraph(tuple(layers))


def inputs_for(graph, count, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(count, *graph.input_shape, generator=g, dtype=torch.float64)


def classes(graph, inputs):
    logits = run(graph, inputs)
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0.0).long()
    return logits.argmax(dim=1)


def task_for(graph, inputs, norm, box=UNIT_BOX, slack=0.0):
    gap = torch.full((len(inputs),), slack, dtype=torch.float64)
    return CertificationTask(graph, inputs, classes(graph, inputs), norm, box, gap)


def prove(task, epsilon, seconds=60.0):
    radii = torch.full((len(task),), epsilon, dtype=torch.float64)
    return branch_and_bound(task.graph, task.norm).prove(task, radii, seconds)


def broken_on_a_grid(task, epsilon, steps=81):
    """Whether a grid of the ball (2 dimensions) meets another class."""
    side = torch.linspace(-epsilon, epsilon, steps, dtype=torch.float64)
    moves = torch.cartesian_prod(side, side)
    if task.norm is Norm.L2:
        moves = moves[moves.norm(dim=1) <= epsilon]
    points = (task.inputs[:, None] + moves).clamp(task.box.low, task.box.high)
    found = classes(task.graph, points.reshape(-1, 2)).reshape(len(task), -1)
    return (found != task.labels[:, None]).any(dim=1)


def samples_of_ball(task, epsilon, count, seed):
    """``(N, count, *shape)`` points of each sample's ball."""
    g = torch.Generator().manual_seed(seed)
    shape = (len(task), count, task.inputs[0].numel())
    moves = torch.randn(shape, generator=g, dtype=torch.float64)
    if task.norm is Norm.LINF:
        moves = moves.clamp(-1.0, 1.0) * epsilon
    else:
        moves = moves / moves.norm(dim=2, keepdim=True) * epsilon
    points = task.inputs.flatten(1)[:, None] + moves
    points = points.clamp(task.box.low, task.box.high)
    return points.reshape(len(task), count, *task.inputs.shape[1:])


def suspects_that_are_real(task, proof, epsilon):
    real = 0
    for row, point in proof.suspects.items():
        move = (point - task.inputs[row]).flatten()
        length = torch.linalg.vector_norm(move, ord=task.norm.value)
        assert length <= epsilon * (1.0 + 1e-9)
        assert ((point >= task.box.low) & (point <= task.box.high)).all()
        real += int(classes(task.graph, point[None]) != task.labels[row])
    return real


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize("epsilon", [0.05, 0.2])
@pytest.mark.parametrize("seed", range(3))
def test_every_ball_of_a_small_net_is_settled_as_a_grid_says(seed, epsilon, norm):
    graph = dense_net([2, 10, 8, 3], seed)
    task = task_for(graph, inputs_for(graph, 8, seed), norm)
    proof = prove(task, epsilon)
    broken = broken_on_a_grid(task, epsilon)
    assert not (proof.proved & broken).any()
    suspected = torch.tensor([row in proof.suspects for row in range(len(task))])
    assert (proof.proved | suspected).all()
    assert suspects_that_are_real(task, proof, epsilon) == len(proof.suspects)


@pytest.mark.parametrize(
    "activation",
    [
        Activation(ActivationKind.LEAKY_RELU, (0.1,)),
        Activation(ActivationKind.LEAKY_RELU, (-0.2,)),
        Activation(ActivationKind.CLAMP, (-0.5, 0.5)),
        Activation(ActivationKind.CLAMP, (-math.inf, 0.5)),
        Activation(ActivationKind.HARDSIGMOID),
    ],
    ids=lambda activation: f"{activation.kind.value}{activation.parameters}",
)
def test_other_kinks_are_settled_as_a_grid_says(activation):
    graph = dense_net([2, 8, 6, 3], 5, activation)
    task = task_for(graph, inputs_for(graph, 8, 6), Norm.LINF)
    proof = prove(task, 0.15)
    suspected = torch.tensor([row in proof.suspects for row in range(len(task))])
    assert not (proof.proved & broken_on_a_grid(task, 0.15)).any()
    assert (proof.proved | suspected).all()
    assert suspects_that_are_real(task, proof, 0.15) == len(proof.suspects)


def test_kinks_written_with_relu_are_the_same_function():
    g = torch.Generator().manual_seed(0)
    x = 6.0 * torch.randn(50, 4, generator=g, dtype=torch.float64)
    for kind, parameters in [
        (ActivationKind.LEAKY_RELU, (0.3,)),
        (ActivationKind.CLAMP, (-1.0, 2.0)),
        (ActivationKind.CLAMP, (-math.inf, 1.0)),
        (ActivationKind.CLAMP, (0.5, math.inf)),
        (ActivationKind.HARDSIGMOID, ()),
    ]:
        graph = dense_net([4, 7, 3], 1, Activation(kind, parameters))
        torch.testing.assert_close(run(rectified(graph), x), run(graph, x))


def test_a_ball_is_settled_by_the_patterns_of_its_units():
    """The margin is .25 - |x - .5|, written with two units."""
    W = torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    b = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    head = torch.tensor([[-1.0, -1.0], [0.0, 0.0]], dtype=torch.float64)
    shift = torch.tensor([0.25, 0.0], dtype=torch.float64)
    graph = LayerGraph(
        (
            Input("input", (), (1,)),
            Linear("fc", (0,), (2,), W, b),
            Elementwise("act", (1,), (2,), RELU),
            Linear("head", (2,), (2,), head, shift),
        )
    )
    task = task_for(graph, torch.tensor([[0.5]], dtype=torch.float64), Norm.LINF)
    assert prove(task, 0.2499).proved.all()
    outcome = prove(task, 0.2501)
    assert not outcome.proved.any()
    assert 0 in outcome.suspects


@pytest.mark.parametrize("norm", THREAT_NORMS)
@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (
            lambda: nn.Sequential(
                nn.Conv2d(2, 4, 3, stride=2, padding=1),
                nn.BatchNorm2d(4),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Flatten(),
                nn.Linear(16, 3),
            ),
            nets.IMAGE,
        ),
        (
            lambda: nn.Sequential(
                nets.Residual(2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 3)
            ),
            nets.IMAGE,
        ),
        (lambda: nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 1)), (6,)),
    ],
    ids=["convolution", "residual and max pooling", "one logit"],
)
def test_no_sampled_point_of_a_proved_ball_changes_the_class(build, shape, norm):
    torch.manual_seed(1)
    model = load_torchscript(nets.scripted(build().eval()), input_shape=shape)
    graph = extract(model)
    task = task_for(graph, inputs_for(graph, 6, 2), norm)
    proved = 0
    for epsilon in (0.01, 0.05, 0.3):
        proof = prove(task, epsilon, seconds=5.0)
        proved += int(proof.proved.sum())
        points = samples_of_ball(task, epsilon, 200, 3)
        found = classes(graph, points.flatten(0, 1)).reshape(len(task), -1)
        moved = (found != task.labels[:, None]).any(dim=1)
        assert not (proof.proved & moved).any()
        assert suspects_that_are_real(task, proof, epsilon) == len(proof.suspects)
    assert proved > 0


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_proof_on_a_linear_net_reaches_its_exact_distance(norm):
    graph = dense_net([6, 4], 3)
    task = task_for(graph, inputs_for(graph, 10, 4), norm, WIDE)
    W, logits = graph.layers[1].weight, run(graph, task.inputs)
    rows = W[task.labels][:, None] - W[None]
    gaps = logits.gather(1, task.labels[:, None]) - logits
    lengths = torch.linalg.vector_norm(rows, ord=norm.dual.value, dim=2)
    exact = (gaps / lengths).nan_to_num(nan=math.inf).amin(1)
    certifier = branch_and_bound(graph, norm)
    assert certifier.prove(task, exact * (1.0 - 1e-9)).proved.all()
    assert not certifier.prove(task, exact * (1.0 + 1e-9)).proved.any()


def test_a_ball_that_the_box_cuts_is_bounded_on_what_is_left():
    """At a corner of the box a form can only fall along the edges that leave it."""
    centre = torch.zeros(3, dtype=torch.float64)
    region = region_around(centre, 0.5, Norm.L2, UNIT_BOX)
    forms = torch.tensor([[1.0, 2.0, 3.0], [-3.0, 5.0, -4.0]], dtype=torch.float64)
    exact = torch.tensor([0.0, -2.5], dtype=torch.float64)
    found = region.lowest(forms)
    assert (found <= exact + 1e-12).all()
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9)


def test_a_ball_of_radius_zero_is_proved_where_the_margin_exceeds_the_slack():
    graph = dense_net([4, 6, 3], 7)
    task = task_for(graph, inputs_for(graph, 5, 8), Norm.L2)
    ordered = run(graph, task.inputs).sort(dim=1).values
    gaps = ordered[:, -1] - ordered[:, -2]
    tight = replace(task, slack=gaps * (1.0 - 1e-12))
    assert prove(tight, 0.0).proved.all()
    assert not prove(replace(task, slack=gaps), 0.0).proved.any()


def test_a_margin_below_the_slack_is_not_proved():
    graph = dense_net([2, 8, 3], 2)
    task = task_for(graph, inputs_for(graph, 6, 1), Norm.LINF)
    assert prove(task, 0.001).proved.any()
    assert not prove(replace(task, slack=task.slack + 1e6), 0.001).proved.any()


def test_smooth_activations_and_padded_pools_are_refused_by_name():
    smooth = dense_net([4, 6, 3], 0, Activation(ActivationKind.TANH))
    with pytest.raises(UnsupportedLayerError, match="act0"):
        branch_and_bound(smooth, Norm.LINF)
    net = nn.Sequential(nn.MaxPool2d(3, padding=1), nn.Flatten(), nn.Linear(8, 3))
    net = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), *net)
    data = nets.scripted(net.eval())
    graph = extract(load_torchscript(data, input_shape=(2, 4, 4)))
    with pytest.raises(UnsupportedLayerError, match="padding"):
        branch_and_bound(graph, Norm.LINF)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_net_with_a_weight_that_is_no_number_is_refused(value):
    graph = dense_net([4, 6, 3], 0)
    graph.layers[1].weight[0, 0] = value
    with pytest.raises(UnsoundModelError):
        branch_and_bound(graph, Norm.LINF)


def test_numbers_that_overflow_prove_nothing():
    graph = dense_net([4, 6, 3], 0)
    x = inputs_for(graph, 2, 0)
    task = task_for(graph, x, Norm.LINF)
    graph.layers[1].weight.mul_(1e200)
    graph.layers[3].weight.mul_(1e200)
    assert not prove(task, 0.1, seconds=1.0).proved.any()


def encoding(epsilon=0.3, norm=Norm.LINF):
    """A small net in a ball, and the ball's points' margins."""
    graph = dense_net([2, 10, 8, 3], 2)
    x = inputs_for(graph, 1, 2)
    region = region_around(x[0], epsilon, norm, UNIT_BOX)
    label = int(classes(graph, x))
    rows = -torch.eye(3, dtype=torch.float64)
    rows[:, label] = 1.0
    rows = rows[torch.arange(3) != label]
    task = task_for(graph, x, norm)
    points = samples_of_ball(task, epsilon, 4000, 1)[0]
    return graph, encoded(graph, region, rows), run(graph, points) @ rows.T, points


def arguments_of(program, points):
    """``(B, units)`` what each unit of a program sees at the points."""
    outputs, found = [], []
    for stage in program.stages:
        value = stage.shift.expand(len(points), -1)
        if stage.direct is not None:
            value = value + points @ stage.direct.T
        for source, weight in stage.links.items():
            value = value + outputs[source] @ weight.T
        found.append(value)
        outputs.append(value.relu())
    return torch.cat(found, dim=1)


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_a_program_is_the_net_inside_the_ball(norm):
    _, net, margins, points = encoding(norm=norm)
    seen = arguments_of(net.program, points)
    assert (seen >= net.bounds.low).all()
    assert (seen <= net.bounds.high).all()
    outputs = net.program.parts(seen.relu())
    value = net.outputs.shift.expand(len(points), -1)
    for source, weight in net.outputs.links.items():
        value = value + outputs[source] @ weight.T
    torch.testing.assert_close(value, margins)


def random_leaves(net, count, seed):
    g = torch.Generator().manual_seed(seed)
    shape = (count, net.program.units)
    slopes = 3.0 * torch.rand(shape, generator=g) - 1.0
    prices = torch.randn(shape, generator=g)
    splits = torch.randint(-1, 2, shape, generator=g)
    rare = torch.rand(shape, generator=g) < 0.1
    return Leaves(slopes, prices, (splits * rare).to(torch.int8))


@pytest.mark.parametrize("norm", THREAT_NORMS)
def test_whatever_the_multipliers_say_the_confirmed_bound_holds_on_its_leaf(norm):
    """Slopes outside [0, 1] and prices below 0 are among them."""
    _, net, margins, points = encoding(norm=norm)
    seen = arguments_of(net.program, points)
    met = 0
    for seed in range(40):
        leaves = random_leaves(net, len(net.outputs), seed)
        value = lower_bounds(net.program, net.bounds, net.outputs, leaves)
        for row, splits in enumerate(leaves.splits):
            off = (splits <= 0) | (seen <= 0.0)
            on = (splits >= 0) | (seen >= 0.0)
            inside = (off & on).all(dim=1)
            met += int(inside.sum())
            assert (margins[inside, row] >= value[row]).all()
    assert met > 1000
    assert (margins >= interval_bounds(net.program, net.bounds, net.outputs)).all()


def best_leaf(net, row, splits):
    """Multipliers of one form on one leaf, climbed in float64."""
    forms = net.outputs.rows(torch.tensor([row]))
    slopes = steepest_slopes(net.bounds)
    start = Leaves(slopes, torch.zeros_like(slopes), splits)
    plan = Climb(steps=100, price_rate=0.1)
    found = climbed(net.program, net.bounds, forms, start, plan, math.inf)
    return forms, found.leaves


def test_a_dropped_split_or_a_moved_bound_takes_a_proof_away():
    """What a leaf proves rests on its splits and on the bounds of hidden units."""
    _, net, _, _ = encoding()
    units = net.bounds.is_open.nonzero().flatten()
    splits = torch.zeros(1, net.program.units, dtype=torch.int8)
    splits[0, units] = torch.where(torch.arange(len(units)) % 2 == 0, 1, -1).to(
        torch.int8
    )
    forms, leaves = best_leaf(net, 0, splits)
    value = lower_bounds(net.program, net.bounds, forms, leaves)
    dropped = replace(leaves, splits=torch.zeros_like(splits))
    assert lower_bounds(net.program, net.bounds, forms, dropped) < value
    free = whole(steepest_slopes(net.bounds))
    wider = Bounds(net.bounds.low - 1.0, net.bounds.high + 1.0)
    narrow = lower_bounds(net.program, net.bounds, forms, free)
    assert lower_bounds(net.program, wider, forms, free) < narrow


def test_multipliers_that_are_no_numbers_prove_nothing():
    _, net, _, _ = encoding()
    leaves = random_leaves(net, len(net.outputs), 0)
    for broken in (
        replace(leaves, slopes=torch.full_like(leaves.slopes, math.nan)),
        replace(
            leaves,
            prices=torch.full_like(leaves.prices, math.nan),
            splits=torch.ones_like(leaves.splits),
        ),
    ):
        value = lower_bounds(net.program, net.bounds, net.outputs, broken)
        assert not (value > -math.inf).any()


def test_the_open_leaves_of_a_tree_never_exceed_what_they_cover():
    """The least bound among the leaves is a bound of the form on the whole ball."""
    _, net, margins, _ = encoding()
    stand = Stand.of(net.program, net.bounds)
    value = lower_bounds(
        net.program, net.bounds, net.outputs, whole(steepest_slopes(net.bounds))
    )
    slopes = steepest_slopes(stand.guides).expand(len(value), -1)
    effort = Effort(Climb(steps=5, price_rate=0.1), candidates=4)
    trees = planted(net.outputs, value, whole(slopes), math.inf, effort)
    before = trees.pool.least()
    for _ in range(30):
        trees.advance(stand, trees.pool.worst(16))
        least = trees.pool.least()
        assert (least >= before).all()
        assert (margins.amin(dim=0) >= least).all()
        before = least
    assert (before > value).all()


@pytest.mark.parametrize("rounds", [0, 3])
def test_work_stops_at_the_first_round_after_the_time_is_up(rounds):
    _, net, _, _ = encoding()
    asked = 0

    def over():
        nonlocal asked
        asked += 1
        return asked > rounds

    question = settled(net, 1e6, lambda _: False, over)
    assert len(question.forms) > 0
    assert asked <= rounds + 5
    assert question.rounds <= rounds


def test_a_point_that_breaks_the_ball_ends_the_work():
    _, net, _, _ = encoding()
    question = settled(net, 1e6, lambda _: True, lambda: False)
    assert question.broken
    assert question.rounds == 0


def test_the_same_task_gives_the_same_answer_and_leaves_the_generators_alone():
    graph = dense_net([2, 10, 8, 3], 4)
    task = task_for(graph, inputs_for(graph, 6, 4), Norm.LINF)
    state = torch.random.get_rng_state()
    first, second = prove(task, 0.1), prove(task, 0.1)
    assert torch.equal(first.proved, second.proved)
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.data
@pytest.mark.parametrize(("epsilon", "share"), [(0.1, 60 / 75)])
def test_a_robustly_trained_convolution_is_settled_on_every_image(
    trained, epsilon, share
):
    data = (trained / "models" / "fashion_conv_kw.ts.pt").read_bytes()
    graph = extract(load_torchscript(data))
    with np.load(trained / "samples" / "fashion_mnist_test_2000.npz") as archive:
        images, labels = archive["inputs"][:24], archive["labels"][:24]
    x = torch.from_numpy(images).double().reshape(-1, *graph.input_shape) / 255.0
    right = classes(graph, x) == torch.from_numpy(labels).long()
    task = task_for(graph, x[right], Norm.LINF, slack=1e-5)
    proof = prove(task, epsilon, seconds=120.0)
    suspected = torch.tensor([row in proof.suspects for row in range(len(task))])
    assert (proof.proved ^ suspected).all()
    assert suspects_that_are_real(task, proof, epsilon) == len(proof.suspects)
    assert proof.proved.double().mean() > share - 0.2


def leaves_in_a_row(count, units=3):
    nothing = torch.zeros(count, units)
    return Leaves(nothing, nothing, nothing.to(torch.int8))


def test_a_pool_keeps_what_is_open_and_uses_slots_again():
    pool = Pool.of_roots(
        torch.tensor([-1.0, -2.0, math.nan], dtype=torch.float64), leaves_in_a_row(3)
    )
    assert pool.least().tolist() == [-1.0, -2.0, -math.inf]
    pool.close(torch.tensor([False, False, True]))
    owner = torch.tensor([1, 1, 1, 1])
    value = torch.tensor([-0.4, -0.3, -0.2, -0.1], dtype=torch.float64)
    pool.replace(torch.tensor([1]), Batch(owner, value, leaves_in_a_row(4)))
    assert pool.least().tolist() == [-1.0, -0.4, math.inf]
    assert len(pool.open_slots) == 5
    worst = pool.batch.value[pool.worst(2)].tolist()
    assert worst == [-1.0, -0.4]
    mixed = pool.worst_and_nearest(4)
    assert pool.batch.value[mixed].tolist() == [-1.0, -0.4, -0.3, -0.2]
    each = pool.worst_of_each(4)
    assert sorted(pool.batch.value[each].tolist()) == [-1.0, -0.4, -0.3]
    size = len(pool.batch)
    pool.replace(each, Batch(owner[:3], value[:3], leaves_in_a_row(3)))
    assert len(pool.batch) == size


def test_trees_moved_to_a_smaller_program_keep_their_leaves_and_bounds():
    """Units that are off may be left out: they have no part in any bound."""
    _, net, _, _ = encoding()
    first = net.program.slices()[0]
    off = net.bounds.is_open.nonzero().flatten()[0]
    assert off < first.stop
    high = net.bounds.high.clone()
    high[off] = 0.0  # as if it were proved
    bounds = Bounds(net.bounds.low, high)
    stand = Stand.of(net.program, bounds)
    free = whole(steepest_slopes(stand.guides).expand(len(net.outputs), -1))
    value = lower_bounds(net.program, bounds, net.outputs, free)
    effort = Effort(Climb(steps=5, price_rate=0.1), candidates=4)
    trees = planted(net.outputs, value, free, math.inf, effort)
    for _ in range(5):
        trees.advance(stand, trees.pool.worst(16))
    alive = bounds.high > 0.0
    by_stage = dict(enumerate(net.program.parts(alive)))
    kept = torch.tensor([False, True])
    moved = trees.without(kept, alive, by_stage)
    least = trees.pool.least()
    assert torch.equal(moved.pool.least(), least[1:])
    worst = (trees.pool.batch.owner == 1) & (trees.pool.batch.value == least[1])
    before = trees.pool.batch.rows(worst.nonzero().flatten()[:1]).leaves
    after = before.columns(alive)
    torch.testing.assert_close(
        lower_bounds(net.program.without(alive), bounds.of(alive), moved.forms, after),
        lower_bounds(net.program, bounds, net.outputs.rows(kept), before),
    )
