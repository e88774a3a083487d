from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.counting import counted
from robustcert.attacks.interface import Target
from robustcert.attacks.minimal import ROWS
from robustcert.attacks.minimal.polish import polished
from robustcert.attacks.surrogate import Surrogate, twin_of
from robustcert.attacks.verify import shrink, verify
from robustcert.graph.extract import extract
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel
from robustcert.tensors import lp_norms

CASES = [
    pytest.param(attack, norm, id=f"{name}-{norm.word}")
    for name, attack in ROWS.items()
    for norm in sorted(attack.norms, key=lambda norm: norm.value)
]
PIXELS = {"onepixel", "pixle"}  # they need pictures
GUESTS = [
    pytest.param(attack, norm, id=f"{name}-{norm.word}")
    for name, attack in ATTACKS.items()
    for norm in sorted(attack.norms, key=lambda norm: norm.value)
    if attack.minimal and name not in ROWS
]


def target(model, inputs, labels, norm, box=UNIT_BOX, epsilon=1e4, seed=0):
    return Target(model, inputs, labels, ThreatModel(norm, epsilon, box), seed)


# Without a twin in the target, the smooth rows are the plain ones.
PLAIN = [case for case in CASES if "smooth" not in str(case.id)]


def found_by(attack, task, *polish):
    """Distances ``(N,)`` of what is verified and shrunk; infinite where nothing is."""
    centres, labels, threat = task.inputs, task.labels, task.threat
    checked = verify(task.model, attack.perturb(task), centres, labels, threat)
    rows = checked.passed.nonzero().flatten()
    kept = task.subset(rows)
    found = shrink(task.model, checked.subset(rows), kept.inputs, kept.labels, threat)
    for further in polish:
        found = further(kept, found)
    distances = torch.full((len(centres),), math.inf, dtype=torch.float64)
    distances[rows] = found.distances
    return distances


def exact_distances(weight, bias, inputs, labels, norm, box):
    """Of a linear classifier: the nearest class's, by bisection of the multiplier."""
    W, b, inputs = weight.double(), bias.double(), inputs.double()
    best = torch.full((len(inputs),), math.inf, dtype=torch.float64)
    for row, goal in itertools.product(range(len(inputs)), range(len(W))):
        if goal != labels[row]:
            w = W[goal] - W[labels[row]]
            gap = -float(w @ inputs[row] + b[goal] - b[labels[row]])
            away = one_distance(w, gap, inputs[row], norm, box)
            best[row] = min(float(best[row]), away)
    return best


def one_distance(w, gap, x, norm, box):
    room = torch.where(w > 0, box.high - x, x - box.low)
    speed = w.abs() if norm is Norm.L2 else w.sign().abs()
    if (w.abs() * room).sum() <= gap:
        return math.inf
    low, high = 0.0, 1e6
    for _ in range(120):
        middle = (low + high) / 2
        reached = (w.abs() * torch.minimum(middle * speed, room)).sum() >= gap
        low, high = (low, middle) if reached else (middle, high)
    return float(lp_norms(torch.minimum(high * speed, room)[None], norm))


def linear_task(
    wrap, norm, seed, box=UNIT_BOX, spread=1.0, classes=5, scale=1.0, shape=(12,)
):
    """A linear classifier, its samples spread over the box, and exact distances."""
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(classes, 12, generator=generator)
    unit = 0.5 + spread * (torch.rand(16, 12, generator=generator) - 0.5)
    inputs = box.low + box.width * unit
    b = -W @ torch.full((12,), 0.5 * (box.low + box.high))
    model = wrap(
        lambda x: scale * (x.flatten(1) @ W.to(x.dtype).T + b.to(x.dtype)),
        shape,
        classes,
    )
    labels = model.logits(inputs).argmax(dim=1)
    exact = exact_distances(W, b, inputs, labels, norm, box)
    return target(model, inputs.view(-1, *shape), labels, norm, box), exact


def assert_exact(distances, exact):
    ratios = distances / exact
    assert (distances >= exact * (1.0 - 1e-5) - 1e-6).all()  # rounded logits
    assert ratios.max() <= 1.01


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_on_a_linear_model_the_distance_is_exact_without_polish(wrap, attack, norm):
    task, exact = linear_task(wrap, norm, seed=1, spread=0.3)
    assert_exact(found_by(attack, task), exact)


@pytest.mark.parametrize(("attack", "norm"), GUESTS)
def test_polish_makes_every_minimal_attack_exact_on_a_linear_model(wrap, attack, norm):
    shape = (1, 3, 4) if attack.name in PIXELS else (12,)
    task, exact = linear_task(wrap, norm, seed=1, spread=0.3, shape=shape)
    assert_exact(found_by(attack, task, polished), exact)


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
@pytest.mark.parametrize("box", [UNIT_BOX, Box(-1.0, 1.0), Box(-3.0, 250.0)], ids=str)
def test_where_faces_are_in_the_way_the_distance_is_still_exact(
    wrap, attack, norm, box
):
    task, exact = linear_task(wrap, norm, seed=2, box=box)
    some = exact.isfinite()
    distances = found_by(attack, task, polished)
    assert_exact(distances[some], exact[some])
    assert distances[~some].isinf().all()


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_the_nearest_class_is_found_where_it_is_not_the_likeliest(wrap, attack, norm):
    """Class 1 has a small gap and a weak slope, class 2 a large one and a steep one."""
    W = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 10.0]])
    b = torch.tensor([0.0, -0.8, -2.0])
    model = wrap(lambda x: x @ W.T + b, (2,), 3)
    inputs, labels = torch.tensor([[0.3, 0.05]]), torch.tensor([0])
    logits = model.logits(inputs)[0]
    assert logits[1] > logits[2]
    task = target(model, inputs, labels, norm)
    distance = found_by(attack, task, polished).item()
    exact = exact_distances(W, b, inputs, labels, norm, UNIT_BOX).item()
    assert exact == pytest.approx(0.15, rel=1e-5)
    assert distance == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_distances_do_not_depend_on_the_scale_of_the_logits(wrap, attack, norm, scale):
    task, exact = linear_task(wrap, norm, seed=3, scale=scale)
    some = exact.isfinite()
    assert_exact(found_by(attack, task, polished)[some], exact[some])


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_one_run_serves_every_epsilon(bars, attack, norm):
    model, inputs, labels = bars
    wide = attack.perturb(target(model, inputs, labels, norm))
    tight = attack.perturb(target(model, inputs, labels, norm, epsilon=1e-3))
    assert torch.equal(wide, tight)


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_the_same_seed_gives_the_same_bits_and_global_generators_rest(
    bars, attack, norm
):
    model, inputs, labels = bars
    task = target(model, inputs, labels, norm, seed=7)
    before = torch.get_rng_state()
    first, second = attack.perturb(task), attack.perturb(task)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_rows_do_not_influence_each_other(wrap, attack, norm):
    task, _ = linear_task(wrap, norm, seed=4)
    together = found_by(attack, task)
    alone = found_by(attack, task.subset(torch.tensor([5])))
    assert alone.item() == pytest.approx(together[5].item(), rel=0.01)


def grid_distance(function, x, norm):
    """To the nearest adversarial point of a grid over the unit square, its spacing."""
    line = torch.linspace(0.0, 1.0, 801)
    points = torch.cartesian_prod(line, line)
    logits = function(torch.cat([x[None], points]))
    label = logits[0].argmax()
    broken = points[logits[1:].argmax(dim=1) != label]
    return float(lp_norms(broken - x, norm).min()), 1.0 / 800


def plane_net(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(2, 24), nn.ReLU(), nn.Linear(24, 3))
        nn.init.normal_(net[0].weight, std=3.0)
        nn.init.normal_(net[0].bias, std=2.0)
    return net.requires_grad_(False)


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_in_the_plane_finds_are_as_near_as_a_grid_says_and_no_nearer(
    wrap, attack, norm, seed
):
    net = plane_net(seed)
    inputs = torch.rand(12, 2, generator=torch.Generator().manual_seed(seed))
    model = wrap(net, (2,), 3)
    labels = model.logits(inputs).argmax(dim=1)
    distances = found_by(attack, target(model, inputs, labels, norm), polished)
    grid = [grid_distance(net, x, norm) for x in inputs]
    nearest = torch.tensor([distance for distance, _ in grid]).double()
    slack = math.sqrt(2.0) * grid[0][1]
    assert (distances >= nearest - slack).all()
    assert (distances <= 1.01 * nearest + slack).double().mean() >= 0.9


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_half_precision_is_judged_as_it_is_stored(wrap, attack, norm):
    generator = torch.Generator().manual_seed(5)
    W = torch.randn(4, 12, generator=generator)
    model = wrap(lambda x: x @ W.half().T, (12,), 4, dtype=torch.float16)
    inputs = torch.rand(8, 12, generator=generator).half()
    labels = model.logits(inputs).argmax(dim=1)
    distances = found_by(attack, target(model, inputs, labels, norm), polished)
    b = torch.zeros(4)
    exact = exact_distances(W.half(), b, inputs, labels, norm, UNIT_BOX)
    some = exact.isfinite()
    assert (distances >= exact * 0.98 - 0.002).all()  # logits round at 2^-9 of theirs
    assert (distances[some] <= exact[some] * 1.02 + 0.002).all()


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_a_single_logit_and_a_table_in_a_wide_box(wrap, attack, norm):
    w = torch.tensor([[2.0, -1.0, 0.5]])
    model = wrap(lambda x: x @ w.to(x.dtype).T, (3,), 2, output=OutputKind.SINGLE_LOGIT)
    inputs = torch.tensor([[0.2, 0.1, 1.0], [-0.5, 0.4, 0.3]])
    labels = (inputs @ w[0] > 0).long()
    task = target(model, inputs, labels, norm, Box(-6.0, 6.0))
    exact = (inputs @ w[0]).abs() / lp_norms(w, norm.dual)
    assert_exact(found_by(attack, task, polished), exact.double())


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_a_sample_without_a_gradient_is_left_by_chance(wrap, attack, norm):
    """All units are dead at the sample; the class changes beyond a threshold."""
    model = wrap(
        lambda x: torch.stack(
            [torch.full_like(x[:, 0], 0.1), (x[:, 0] - 0.6).relu()], dim=1
        ),
        (2,),
        2,
    )
    inputs, labels = torch.tensor([[0.5, 0.5]] * 4), torch.zeros(4, dtype=torch.int64)
    distances = found_by(attack, target(model, inputs, labels, norm), polished)
    assert (distances >= 0.2 - 1e-6).all()
    assert distances.isfinite().any()


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
def test_gradients_and_logits_that_are_not_finite_do_no_harm(wrap, attack, norm):
    """The root has no slope at 0, and beyond .9 the output is not a number."""

    def function(x):
        z = x[:, 0].where(x[:, 0] < 0.9, math.nan)
        return torch.stack(
            [torch.full_like(z, 0.5), (x[:, 1] - 0.5).relu().sqrt() + z], 1
        )

    model = wrap(function, (2,), 2)
    inputs = torch.tensor([[0.1, 0.5], [0.3, 0.7], [0.89, 0.2]])
    labels = model.logits(inputs).argmax(dim=1)
    found = attack.perturb(target(model, inputs, labels, norm))
    assert found.isfinite().all()
    assert found.min() >= 0.0
    assert found.max() <= 1.0


@pytest.mark.parametrize(("attack", "norm"), PLAIN)
@pytest.mark.parametrize(
    ("count", "epsilon", "box"),
    [(0, 0.5, UNIT_BOX), (3, 0.0, UNIT_BOX), (3, 0.5, Box(0.5, 0.5))],
    ids=["no samples", "no budget", "a box of one point"],
)
def test_where_nothing_can_move_the_samples_come_back(
    linear, attack, norm, count, epsilon, box
):
    model, inputs, labels, _ = linear
    inputs = inputs[:count].clamp(box.low, box.high)
    task = target(model, inputs, labels[:count], norm, box, epsilon)
    assert torch.equal(attack.perturb(task), inputs)


@pytest.mark.parametrize("name", ["ddn", "fmn", "fab-t"])
def test_rows_leave_the_search_once_they_rest(wrap, name):
    task, _ = linear_task(wrap, Norm.L2, seed=1, spread=0.3)
    model, count = counted(task.model)
    ROWS[name].perturb(target(model, task.inputs, task.labels, Norm.L2))
    pairs = len(task.inputs) * (4 if name == "fab-t" else 1)
    assert count.backward < 90 * pairs


def test_an_attack_says_which_norm_it_lacks(linear):
    model = linear[0]
    assert ROWS["ddn"].refusal(model, ThreatModel(Norm.LINF, 0.1)) == (
        "it has no linf version"
    )
    assert ROWS["fmn"].refusal(model, ThreatModel(Norm.LINF, 0.1)) is None


@pytest.mark.data
@pytest.mark.parametrize("name", ["ddn", "fmn", "fab-t"])
def test_the_smooth_twin_sees_what_dead_units_hide(trained, name):
    """On a provably trained net, whose gradients sit on a few pixels."""
    path = trained / "models" / "fashion_conv_kw.ts.pt"
    model, count = counted(load_torchscript(path.read_bytes()))
    with np.load(trained / "samples" / "fashion_mnist_test_2000.npz") as archive:
        inputs = torch.from_numpy(archive["inputs"][:32]).float() / 255.0
    labels = model.logits(inputs).argmax(dim=1)
    plain = target(model, inputs, labels, Norm.L2)
    twin = twin_of(extract(model), model, inputs)
    seeing = replace(plain, surrogate=Surrogate(twin, count))
    blind = found_by(ROWS[f"{name}-smooth"], plain)
    assert torch.equal(blind, found_by(ROWS[name], plain))  # without a twin, the same
    distances = found_by(ROWS[f"{name}-smooth"], seeing)
    assert torch.minimum(distances, blind).median() < 0.9 * blind.median()
