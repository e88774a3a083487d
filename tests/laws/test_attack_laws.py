"""Laws that every row of the catalogue obeys, on every kind of model it accepts."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.attacks.catalogue import ATTACKS
from robustcert.attacks.engine import run_attacks
from robustcert.errors import UsageError
from robustcert.graph.extract import extract
from robustcert.models.interface import LoadedModel
from robustcert.results.norm import THREAT_NORMS, Norm
from robustcert.results.report import OutputKind
from robustcert.results.threat_model import UNIT_BOX, Box, ThreatModel, ThreatSweep

COUNT = 3
# 5000 queries: on two kinds of model only.
SLOW_ROWS = {
    "square",
    "autoattack",
    "torchattacks-square",
    "torchattacks-autoattack",
}


def seeded(build):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return build()


def conv_net(channels, classes):
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, classes)
    )


def table_net(outputs):
    return nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, outputs))


def frozen(net):
    buffer = io.BytesIO()
    scripted = torch.jit.freeze(torch.jit.script(net.eval()))
    torch.jit.save(scripted, buffer)
    buffer.seek(0)
    return torch.jit.load(buffer)


def loaded(net, shape, classes, output=OutputKind.LOGITS, dtype=torch.float32):
    return LoadedModel(
        net, net, "0" * 64, "torchscript", shape, classes, output, 1, dtype,
        torch.device("cpu"),
    )  # fmt: skip


KINDS = {
    "pictures": (
        lambda: loaded(seeded(lambda: conv_net(1, 5)), (1, 8, 8), 5),
        UNIT_BOX,
    ),
    "colour pictures": (
        lambda: loaded(seeded(lambda: conv_net(3, 5)), (3, 8, 8), 5),
        UNIT_BOX,
    ),
    "pictures in [-1, 1]": (
        lambda: loaded(seeded(lambda: conv_net(1, 5)), (1, 8, 8), 5),
        Box(-1.0, 1.0),
    ),
    "a frozen archive": (
        lambda: loaded(frozen(seeded(lambda: conv_net(1, 5))), (1, 8, 8), 5),
        UNIT_BOX,
    ),
    "a table of two classes": (
        lambda: loaded(seeded(lambda: table_net(2)), (7,), 2),
        Box(-3.0, 2.0),
    ),
    "a table with a single logit": (
        lambda: loaded(seeded(lambda: table_net(1)), (7,), 2, OutputKind.SINGLE_LOGIT),
        Box(-3.0, 2.0),
    ),
    "double precision": (
        lambda: loaded(
            seeded(lambda: conv_net(1, 5)).double(), (1, 8, 8), 5, dtype=torch.float64
        ),
        UNIT_BOX,
    ),
    "half precision": (
        lambda: loaded(
            seeded(lambda: conv_net(1, 5)).half(), (1, 8, 8), 5, dtype=torch.float16
        ),
        UNIT_BOX,
    ),
}
SLOW_KINDS = {"colour pictures", "a table of two classes"}

CASES = [
    pytest.param(name, kind, norm, id=f"{name}-{norm.word}-{kind}")
    for name, attack in ATTACKS.items()
    for kind in KINDS
    for norm in sorted(attack.norms, key=lambda norm: norm.value)
    if name not in SLOW_ROWS or kind in SLOW_KINDS
]


def samples(model, box):
    generator = torch.Generator().manual_seed(3)
    unit = torch.rand(COUNT, *model.input_shape, generator=generator)
    inputs = box.low + box.width * unit
    with torch.no_grad():
        labels = model.logits(inputs).argmax(dim=1)
    return inputs, labels


def weights(model):
    net = model.artifact
    return {} if isinstance(net, torch.jit.ScriptModule) else net.state_dict()


def graph_of(model):
    """Archives have one, so that attacks on the smooth twin have theirs."""
    return (
        extract(model) if isinstance(model.artifact, torch.jit.ScriptModule) else None
    )


def global_state():
    return (
        torch.get_rng_state().numpy().tobytes(),
        str(np.random.get_state()),  # noqa: NPY002 - the state that must not change
        random.getstate(),
    )


def epsilon_for(norm, box):
    return box.width * (0.2 if norm is Norm.LINF else 1.0)


@pytest.mark.parametrize(("name", "kind", "norm"), CASES)
def test_whatever_a_row_finds_is_adversarial_and_nothing_else_changes(
    name, kind, norm, capsys
):
    build, box = KINDS[kind]
    model = build()
    threats = ThreatSweep(norm, (epsilon_for(norm, box),), box)
    if ATTACKS[name].refusal(model, threats.largest):
        with pytest.raises(UsageError, match=f"no attack can run .{name}: "):
            run_attacks(model, *samples(model, box), threats, [name])
        return
    inputs, labels = samples(model, box)
    state, before = global_state(), {k: v.clone() for k, v in weights(model).items()}

    outcome = run_attacks(
        model, inputs, labels, threats, [name], seed=1, graph=graph_of(model)
    )

    assert_adversarial(model, inputs, labels, threats.largest, outcome)
    assert global_state() == state
    assert capsys.readouterr().out == ""
    for key, value in weights(model).items():
        assert torch.equal(value, before[key])
    if before:
        assert model.artifact.training  # as nn.Module left it
        assert all(p.grad is None for p in model.artifact.parameters())
        assert all(p.requires_grad for p in model.artifact.parameters())


def assert_adversarial(model, inputs, labels, threat, outcome):
    """Judged without the library's own verification."""
    assert set(outcome.adversarial) == {e.index for e in outcome.examples}
    for example in outcome.examples:
        stored = outcome.adversarial[example.index]
        assert stored.dtype is model.dtype
        assert stored.min() >= torch.tensor(threat.box.low, dtype=stored.dtype)
        assert stored.max() <= torch.tensor(threat.box.high, dtype=stored.dtype)
        change = stored.double().numpy() - inputs[example.index].double().numpy()
        size = np.linalg.norm(change.ravel(), ord=threat.norm.value)
        assert 0.0 < size <= threat.epsilon * (1.0 + 1e-12)
        assert example.distance == pytest.approx(size, rel=1e-12)
        with torch.no_grad():
            logits = model.logits(stored[None])[0]
        label = int(labels[example.index])
        assert logits[logits != logits[label]].max() > logits[label]


REPEATED = [name for name in ATTACKS if name not in SLOW_ROWS]


@pytest.mark.parametrize("name", REPEATED)
def test_the_same_seed_gives_the_same_bits(name):
    build, box = KINDS["colour pictures"]
    model = build()
    inputs, labels = samples(model, box)
    norm = next(iter(ATTACKS[name].norms))
    threats = ThreatSweep(norm, (epsilon_for(norm, box),), box)
    outcomes = []
    for _ in range(2):
        torch.rand(3)  # the global generator's position must not matter
        outcomes.append(run_attacks(model, inputs, labels, threats, [name], seed=5))
    first, second = outcomes
    assert first.examples == second.examples
    for index, stored in first.adversarial.items():
        assert torch.equal(stored, second.adversarial[index])


@pytest.mark.parametrize("name", [name for name in REPEATED if name != "gn"])
def test_every_row_breaks_something_where_breaking_is_easy(name):
    three_channels = name in {"tifgsm", "pifgsm", "pifgsmpp"}
    build, box = KINDS["colour pictures" if three_channels else "pictures"]
    model = build()
    inputs, labels = samples(model, box)
    norm = next(iter(ATTACKS[name].norms))
    epsilon = 2.0 * epsilon_for(norm, box)
    outcome = run_attacks(model, inputs, labels, ThreatSweep(norm, (epsilon,)), [name])
    assert outcome.examples
    assert outcome.runs[0].broken == len(outcome.examples)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_row_refuses_a_norm_it_does_not_have(name):
    model = KINDS["colour pictures"][0]()
    for norm in THREAT_NORMS:
        reason = ATTACKS[name].refusal(model, ThreatModel(norm, 0.1))
        assert (reason is None) is (norm in ATTACKS[name].norms)
        assert reason is None or norm.word in reason


@pytest.mark.parametrize("name", list(ATTACKS))
def test_a_row_is_listed_under_its_own_name(name):
    assert ATTACKS[name].name == name


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("torchattacks-apgd-t", "a table of two classes", "needs 4 classes"),
        ("torchattacks-apgd-dlr", "a table of two classes", "needs 3 classes"),
        ("difgsm", "a table of two classes", "needs pictures"),
        ("tifgsm", "pictures", "needs three channels"),
        ("onepixel", "a table of two classes", "needs pictures"),
        ("torchattacks-jitter", "a table with a single logit", "single logit"),
    ],
)
def test_a_row_says_why_before_it_runs(name, kind, reason):
    model, _ = KINDS[kind][0](), None
    norm = next(iter(ATTACKS[name].norms))
    assert reason in ATTACKS[name].refusal(model, ThreatModel(norm, 0.1))


@pytest.mark.parametrize("name", list(ATTACKS))
@pytest.mark.parametrize(("epsilon", "box"), [(0.0, UNIT_BOX), (0.1, Box(0.5, 0.5))])
def test_without_room_to_move_no_row_moves(name, epsilon, box):
    model = KINDS["colour pictures"][0]()
    inputs = torch.full((2, 3, 8, 8), 0.5)
    labels = model.logits(inputs).argmax(dim=1)
    norm = next(iter(ATTACKS[name].norms))
    outcome = run_attacks(
        model, inputs, labels, ThreatSweep(norm, (epsilon,), box), [name]
    )
    assert outcome.examples == ()
    assert outcome.runs[0].forward_queries == 0
