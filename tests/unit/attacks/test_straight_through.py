"""Attacks that see through roundings and saturation."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.attacks.counting import counted
from robustcert.attacks.interface import Target
from robustcert.attacks.straight_through import StraightThrough
from robustcert.attacks.transfer import Transfer
from robustcert.attacks.verify import fooled, judged_margins, settle
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import Box, ThreatModel
from robustcert.tensors import clip_to_box, lp_norms

SHAPE = (1, 8, 8)
LINF = ThreatModel(Norm.LINF, 0.2)
ATTACKS = [StraightThrough(), Transfer()]


def broken(attack, target):
    """Which samples fall to the attack's candidates as they would be stored."""
    found = attack.perturb(target)
    threat, model = target.threat, target.model
    return fooled(
        model, settle(found, target.inputs, threat, model.dtype), target.labels
    )


def sixteen_levels(x):
    return (x * 15.0).round() / 15.0


def to_bytes(x):
    return (x * 15.0 + 0.5).to(torch.uint8).to(x.dtype) / 15.0


ROUNDINGS = {
    "round": torch.round,
    "decimals": lambda x: torch.round(0.1 * x, decimals=1) * 10.0,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "trunc": torch.trunc,
    "remainder": lambda x: x - torch.remainder(x, 1.0),
    "fmod": lambda x: x - torch.fmod(x, 1.0),
    "fraction": lambda x: x - torch.frac(x),
    "division": lambda x: torch.div(x, 1.0, rounding_mode="floor"),
    "division by a tensor": lambda x: torch.div(
        x, torch.ones(()), rounding_mode="trunc"
    ),
}


@pytest.mark.parametrize("rounding", ROUNDINGS.values(), ids=ROUNDINGS)
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_a_rounded_linear_model_is_driven_to_its_exact_worst_margin(
    wrap, attack, rounding
):
    """Rounding is monotone, so the worst input is the corner against the weights."""
    generator = torch.Generator().manual_seed(1)
    w = torch.randn(24, generator=generator)
    inputs = torch.rand(12, 24, generator=generator)
    model = wrap(lambda x: rounding(15.0 * x) @ w, (24,), 2, OutputKind.SINGLE_LOGIT)
    labels = torch.zeros(12, dtype=torch.int64)
    task = Target(model, inputs, labels, ThreatModel(Norm.LINF, 0.05), 0)
    corner = clip_to_box(inputs + 0.05 * w.sign(), task.threat.box)
    worst = judged_margins(model, corner, labels)
    found = judged_margins(model, attack.perturb(task), labels)
    standing = worst >= 0.0
    assert 0 < int(standing.sum()) < 12
    assert torch.equal(found < 0.0, worst < 0.0)
    if attack.name == "straight-through":
        assert torch.allclose(found[standing], worst[standing], atol=1e-4)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_rounding_hides_no_sample_that_transfer_from_the_plain_net_breaks(
    bars, wrap, attack
):
    model, inputs, labels = bars
    rounded = wrap(lambda x: model.function(sixteen_levels(x)), SHAPE, 4)
    plain = attack.perturb(Target(model, inputs, labels, LINF, 0))
    transferred = fooled(rounded, settle(plain, inputs, LINF, torch.float32), labels)
    direct = broken(attack, Target(rounded, inputs, labels, LINF, 0))
    assert int(direct.sum()) >= int(transferred.sum()) > 8


def test_casts_to_integers_are_climbed_by_differences(bars, wrap):
    model, inputs, labels = bars
    through = broken(
        StraightThrough(),
        Target(
            wrap(lambda x: model.function(sixteen_levels(x)), SHAPE, 4),
            inputs, labels, LINF, 0,
        ),
    )  # fmt: skip
    cast = wrap(lambda x: model.function(to_bytes(x)), SHAPE, 4)
    counting, count = counted(cast)
    across = broken(StraightThrough(), Target(counting, inputs, labels, LINF, 0))
    assert count.backward == 0
    assert int(across.sum()) >= 0.9 * int(through.sum()) > 8


@pytest.mark.parametrize(
    ("squash", "kind"),
    [
        (lambda z: torch.softmax(z, 1), OutputKind.PROBABILITIES),
        (lambda z: torch.log_softmax(z, 1), OutputKind.LOG_PROBABILITIES),
        (torch.sigmoid, OutputKind.LOGITS),
        (torch.tanh, OutputKind.LOGITS),
    ],
)
def test_saturation_hides_no_sample_of_a_linear_model(wrap, squash, kind):
    """The score is constant nearly everywhere; a sample falls to its exact distance."""
    generator = torch.Generator().manual_seed(2)
    w = torch.randn(24, generator=generator)
    inputs = 0.5 + 0.1 * torch.randn(40, 24, generator=generator)
    height = (inputs - 0.5) @ w
    model = wrap(
        lambda x: squash(1e4 * torch.outer((x - 0.5) @ w, torch.tensor([1.0, -1.0]))),
        (24,), 2, kind,
    )  # fmt: skip
    labels = (height < 0.0).long()
    threat = ThreatModel(Norm.LINF, 0.02)
    reached = height.abs() < 0.02 * w.abs().sum()
    found = broken(StraightThrough(), Target(model, inputs, labels, threat, 0))
    assert 10 < int(reached.sum()) < 38
    assert torch.equal(found, reached)


@pytest.mark.parametrize("scale", [1e3, 1e5])
@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_the_scale_of_the_logits_hides_nothing(bars, wrap, attack, scale):
    model, inputs, labels = bars
    scaled = wrap(lambda x: scale * model.function(x), SHAPE, 4)
    counts = [
        int(broken(attack, Target(net, inputs, labels, LINF, 0)).sum())
        for net in (model, scaled)
    ]
    assert abs(counts[0] - counts[1]) <= 1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "threat", [LINF, ThreatModel(Norm.L2, 0.7), ThreatModel(Norm.LINF, 0.2, Box(-1, 2))]
)
def test_candidates_lie_in_ball_and_box_and_repeat_themselves(bars, attack, threat):
    model, inputs, labels = bars
    task = Target(model, inputs, labels, threat, 3)
    state = torch.get_rng_state()
    found = attack.perturb(task)
    assert torch.equal(found, attack.perturb(task))
    assert torch.equal(torch.get_rng_state(), state)
    sizes = lp_norms(found.double() - inputs.double(), threat.norm)
    assert bool((sizes <= threat.epsilon * (1 + 1e-6)).all())
    assert torch.equal(found, clip_to_box(found, threat.box))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
@pytest.mark.parametrize(
    "threat", [ThreatModel(Norm.LINF, 0.0), ThreatModel(Norm.L2, 1.0, Box(0.5, 0.5))]
)
def test_where_nothing_may_change_nothing_does(wrap, attack, threat):
    inputs = torch.full((4, 3), 0.5)
    model = wrap(lambda x: x[:, :2], (3,), 2)
    labels = torch.zeros(4, dtype=torch.int64)
    for rows in (slice(None), slice(0)):
        task = Target(model, inputs[rows], labels[rows], threat, 0)
        assert torch.equal(attack.perturb(task), inputs[rows])


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda one: one.name)
def test_half_precision_models_are_attacked_as_they_are_stored(bars, wrap, attack):
    model, inputs, labels = bars
    weights = [w.half() for w in model.function.parameters()]

    def net(x):
        hidden = nn.functional.conv2d(x, weights[0], weights[1], padding=1).relu()
        return hidden.flatten(1) @ weights[2].T + weights[3]

    half = wrap(net, SHAPE, 4, dtype=torch.float16)
    inputs = inputs.half()
    counts = [
        int(broken(attack, Target(one, inputs.to(one.dtype), labels, LINF, 0)).sum())
        for one in (model, half)
    ]
    assert abs(counts[0] - counts[1]) <= 1


class Rounded(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(torch.round(x * 15.0) / 15.0)


@pytest.mark.data
def test_sixteen_levels_do_not_lift_a_fashion_net_above_its_transfer_result(trained):
    """Gradient attacks report the clean accuracy here; the truth is far below."""
    with np.load(trained / "samples" / "fashion_mnist_test_2000.npz") as archive:
        pictures = torch.tensor(archive["inputs"]).float() / 255.0
        classes = torch.tensor(archive["labels"]).long()
    net = fashion_net(pictures[200:], classes[200:])
    inputs, labels = pictures[:64], classes[:64]
    plain, rounded = scripted(net), scripted(Rounded(net))
    threat = ThreatModel(Norm.LINF, 0.03)
    attack = StraightThrough(targets=2)
    found = attack.perturb(Target(plain, inputs, labels, threat, 0))
    transferred = fooled(rounded, found, labels)
    direct = broken(attack, Target(rounded, inputs, labels, threat, 0))
    clean = judged_margins(rounded, inputs, labels) <= 0.0
    assert int(direct.sum()) >= int(transferred.sum()) >= int(clean.sum()) + 6


def fashion_net(inputs, labels):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(3136, 10)
        )
        adam = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(3):
            for rows in torch.randperm(len(inputs)).split(64):
                adam.zero_grad()
                nn.functional.cross_entropy(net(inputs[rows]), labels[rows]).backward()
                adam.step()
    return net.requires_grad_(False).eval()


def scripted(net):
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(net), stream)
    return load_torchscript(stream.getvalue(), input_shape=(1, 28, 28))
