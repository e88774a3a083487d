"""What went wrong in the published code of CLIP does not go wrong here.

Each test names a fault that was seen in it, shows with a few lines of the faulty kind
what it does, and that ours does otherwise.
"""

from __future__ import annotations

import gzip
import itertools
import math
import struct

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from robustcert.attacks.ascent import ROWS
from robustcert.attacks.ascent.hunt import Hunt
from robustcert.attacks.interface import Target
from robustcert.attacks.verify import fooled, settle
from robustcert.errors import UsageError
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel
from robustcert.train.climbers import Ground, climbed, climbers_at, ends
from robustcert.train.clip import Clip, ClipOptions
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.clip_rows import ClipTraining
from robustcert.train.data import split
from robustcert.train.idx import idx_folder
from robustcert.train.interface import Batch, Moment, Plan, drawn_from
from robustcert.train.loop import train
from robustcert.train.losses import CrossEntropy
from robustcert.train.nets import NETS, net_named
from robustcert.train.options import options_from_words
from robustcert.train.registry import trainer_named
from tests.unit.train.steps import Parabola, linear, look, pictures, small_net

NOW = Moment(0, 0, 1)
WIDE = Box(-100.0, 100.0)


def confident(model: nn.Module) -> nn.Module:
    """The model with its last linear layer a hundred times as large."""
    last = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.data *= 100.0
    return model


IMAGE_NETS = [
    name
    for name in NETS
    if "regression" not in name and not name.endswith("sigmoid-output")
]
"""Without those that have the fault on purpose, as published."""


@pytest.mark.parametrize("name", IMAGE_NETS)
def test_classifiers_return_logits_and_not_the_sigmoids_of_logits(name):
    inputs = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = confident(net_named(name, (1, 8, 8), 10, drawn_from(0, 3)))(inputs)
    labels = logits.argmax(dim=1)

    def through_a_sigmoid(logits):
        return F.cross_entropy(torch.sigmoid(logits), labels).item()

    def sure_of_itself(_):
        return 50.0 * F.one_hot(labels, 10)

    fit = CrossEntropy()(sure_of_itself, Batch(inputs, labels), NOW)
    assert through_a_sigmoid(sure_of_itself(inputs)) > 1.4  # at best ln(1 + 9 / e)
    assert fit.loss.item() < 1e-6
    assert logits.max() - logits.min() > 1.0


@pytest.mark.parametrize("kind", [Clip, ClipPlus])
def test_the_constant_itself_is_penalised_and_not_its_square(kind):
    options = {
        Clip: ClipOptions(pairs=8, tau=0.0),
        ClipPlus: ClipPlusOptions(pairs=8, every=1),
    }

    def penalty_at(slope):
        return look(
            linear([slope]), kind(torch.rand(9, 1), UNIT_BOX, options[kind], 0), 1.0
        )

    assert penalty_at(3.0) == pytest.approx(3.0, rel=1e-3)
    assert penalty_at(6.0) == pytest.approx(6.0, rel=1e-3)  # the square would be 36


def test_the_largest_quotient_of_all_pairs_is_taken_and_not_that_of_one():
    first, second = (
        torch.tensor([[1.0], [2.0], [5.0]]),
        torch.tensor([[2.0], [4.0], [6.0]]),
    )
    sums = []
    for order in itertools.permutations(range(3)):
        clip = Clip(first, WIDE, ClipOptions(pairs=3), 0)
        picked = list(order)
        clip.restore({"epoch": 0, "first": first[picked], "second": second[picked]})
        sums.append(clip.value(Parabola(1.0), NOW).item())
    assert sums == pytest.approx([11.0] * 6)


def test_a_duplicate_pair_neither_wins_nor_poisons_the_step():
    first, second = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [3.0]])

    def unguarded(model):
        moved = (model(first) - model(second)).norm(dim=1)
        return moved / (first - second).norm(dim=1)

    model = Parabola(1.0)
    found = unguarded(model)
    assert int(found.argmax()) == 1  # NaN counts as the largest
    assert not (found.max() > 1e6)  # and passes a guard against large values
    clip = Clip(first, WIDE, ClipOptions(pairs=2), 0)
    clip.restore({"epoch": 0, "first": first, "second": second})
    assert look(model, clip, 1.0) == pytest.approx(3.0)
    assert math.isfinite(model.a.grad.item())


@pytest.mark.parametrize("kind", [Clip, ClipPlus])
def test_pairs_never_leave_the_box(kind):
    options = {
        Clip: ClipOptions(pairs=16, noise=1.0, tau=0.5),
        ClipPlus: ClipPlusOptions(pairs=16, every=1, separation=1.0, reach=1.0),
    }
    penalty, net = kind(pictures(40), UNIT_BOX, options[kind], 0), small_net(nn.Tanh)
    inputs = pictures(16)
    loose = inputs + torch.randn(
        inputs.shape, generator=torch.Generator().manual_seed(0)
    )
    assert loose.min() < -1.0  # where noise alone leads
    for epoch in range(100):
        look(net, penalty, 0.1, epoch // 10)
        joined = penalty.pairs.joined()
        assert joined.min() >= 0.0
        assert joined.max() <= 1.0


def test_a_step_that_was_too_long_stays_shorter():
    ground = Ground(UNIT_BOX, 0.1, 0.1)
    start = climbers_at(
        torch.full((1, 2), 0.5), ground, torch.Generator().manual_seed(0)
    )
    uphill = torch.ones(2, 2)  # the same at both ends: the middle moves, nothing turns

    def middle(climbers):
        return ends(climbers, ground).mean(dim=0)

    first = climbed(start, torch.tensor([2.0]), uphill, ground)
    back = climbed(first, torch.tensor([1.0]), uphill, ground)  # the step led down
    assert torch.allclose(middle(back), middle(start))
    again = climbed(back, torch.tensor([2.0]), uphill, ground)
    length = (middle(first) - middle(start)).norm()
    shorter = (middle(again) - middle(start)).norm()
    assert shorter.item() == pytest.approx(length.item() / 2.0, rel=1e-4)
    once_more = climbed(again, torch.tensor([1.0]), uphill, ground)
    least = climbed(once_more, torch.tensor([2.0]), uphill, ground)
    shortest = (middle(least) - middle(start)).norm()
    # A length that is computed and then forgotten would be halved from 1 again.
    assert shortest.item() == pytest.approx(length.item() / 4.0, rel=1e-4)


def two_blobs() -> Batch:
    """Points that any line between the blobs tells apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(200) % 2
    inputs = 0.3 + 0.4 * labels[:, None] + 0.1 * torch.rand(200, 2, generator=generator)
    return Batch(inputs, labels)


@pytest.mark.parametrize("name", ["clip", "clip+"])
def test_the_discrepancy_principle_acts_in_a_training(name):
    row = trainer_named(name)
    words = ["target=.7", "lambda=0", "increment=.125", "warm_up=1"]
    data = split(two_blobs(), 0, box=UNIT_BOX, name="blobs")
    plan = Plan(epochs=6, batch=32, rate=0.1)
    model = net_named("mlp:8", (2,), 2, drawn_from(0, 3))
    trainer = row.prepare(model, data, options_from_words(row.options, words), plan)
    told = train(model, data, trainer, plan).epochs
    expected = [0.0, 0.0]  # no penalty in the warm-up; then from lambda = 0 on
    for epoch in told[1:-1]:
        step = 0.125 if epoch.accuracy > 0.7 else -0.125
        expected.append(max(0.0, expected[-1] + step))
    assert [epoch.weight for epoch in told] == expected
    assert max(expected) > 0.0


def test_an_option_by_a_wrong_name_and_an_increment_of_0_are_refused():
    with pytest.raises(UsageError):
        options_from_words(ClipTraining, ["lamda_increment=.1"])
    row = trainer_named("clip")
    data = split(two_blobs(), 0, box=UNIT_BOX, name="blobs")
    idle = options_from_words(row.options, ["target=.7", "increment=0"])
    with pytest.raises(UsageError, match="never moves"):
        row.prepare(linear([1.0, 0.0]), data, idle, Plan())


def line_model(slope: torch.Tensor, gap: float, centre: torch.Tensor) -> LoadedModel:
    """One logit, ``gap`` at the centre and linear."""

    def function(inputs):
        return (inputs - centre) @ slope.to(inputs.dtype) + gap

    return LoadedModel(
        function, function, "0" * 64, "torchscript", (12,), 2,
        OutputKind.SINGLE_LOGIT, 0, torch.float32, torch.device("cpu"),
    )  # fmt: skip


@pytest.mark.parametrize("distance", [0.003, 0.03, 0.3])
def test_the_l_infinity_attack_steps_as_far_as_its_epsilon_asks(distance):
    slope = torch.linspace(-1.0, 1.0, 12)
    centre = torch.full((12,), 0.5)
    gap = distance * float(slope.abs().sum())  # the exact distance to the boundary
    model = line_model(slope, gap, centre)

    def broken(epsilon):
        threat = ThreatModel(Norm.LINF, epsilon, UNIT_BOX)
        target = Target(
            model, centre[None], torch.ones(1, dtype=torch.int64), threat, 0
        )
        found = ROWS["margin-ascent"].perturb(target)
        stored = settle(found, target.inputs, threat, model.dtype)
        return bool(fooled(model, stored, target.labels)[0])

    assert broken(1.02 * distance)
    assert not broken(0.98 * distance)


def test_steps_whose_length_was_never_set_would_miss_what_a_large_epsilon_allows():
    slope, centre = torch.linspace(-1.0, 1.0, 12), torch.full((12,), 0.5)
    model = line_model(slope, 0.3 * float(slope.abs().sum()), centre)
    unset = min(0.35, 10 * 2 / 255)  # ten steps of the usual first value
    reached = (centre - unset * slope.sign())[None]
    assert not bool(fooled(model, reached, torch.ones(1, dtype=torch.int64))[0])


def write_idx(path, tensor):
    head = struct.pack(">HBB", 0, 8, tensor.ndim)
    head += struct.pack(f">{tensor.ndim}I", *tensor.shape)
    body = head + tensor.numpy().tobytes()
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_folder_with_the_names_of_fashion_mnist_is_read(tmp_path, ending):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, 28, 28), generator=generator, dtype=torch.uint8)
    labels = torch.arange(5, dtype=torch.uint8)
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{ending}", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{ending}", labels)
    found = idx_folder(tmp_path)
    for batch in (found.training, found.test):
        assert torch.allclose(batch.inputs[:, 0] * 255.0, images.float())
        assert batch.targets.tolist() == [0, 1, 2, 3, 4]


def distances(points, others):
    """``(N,)`` to the nearest of the others, in the largest coordinate."""
    return (points[:, None] - others[None]).abs().amax(dim=2).amin(dim=1)


@pytest.mark.parametrize("kind", [Clip, ClipPlus])
def test_pairs_and_the_choice_of_a_checkpoint_share_no_example(kind):
    inputs = torch.linspace(0.2, 0.8, 300)[:, None].repeat(1, 3)
    data = split(Batch(inputs, torch.arange(300) % 2), 0, box=UNIT_BOX, name="rows")

    def rows(tensor):
        return {round(value, 6) for value in tensor[:, 0].tolist()}

    parts = [
        rows(part.inputs) for part in (data.training, data.reserve, data.validation)
    ]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 300
    options = {Clip: ClipOptions(pairs=30), ClipPlus: ClipPlusOptions(pairs=30)}
    pairs = kind(data.reserve.inputs, data.box, options[kind], 0).pairs
    source = pairs.first if kind is Clip else (pairs.first + pairs.second) / 2.0
    assert distances(source, data.reserve.inputs).max() < 1e-5
    assert distances(source, data.validation.inputs).min() > 1e-3


def test_a_later_start_never_discards_an_earlier_success():
    centre = torch.full((12,), 0.5)
    model = line_model(torch.ones(12), 1.0, centre)
    threat = ThreatModel(Norm.LINF, 0.2, UNIT_BOX)
    target = Target(model, centre[None], torch.ones(1, dtype=torch.int64), threat, 0)
    starts = [centre - 0.15, centre + 0.1, centre - 0.01]  # only the first one fools

    last = starts[-1]  # what remains where each start overwrites the one before
    assert not bool(fooled(model, last[None], target.labels)[0])

    hunt, row = Hunt(target), torch.tensor([0])
    for start in starts:
        hunt.judge(row, start[None])
    assert hunt.broken.tolist() == [True]
    assert bool(fooled(model, hunt.points, target.labels)[0])
