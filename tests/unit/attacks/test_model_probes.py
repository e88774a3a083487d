"""What hinders attacks is seen on the model, and ordinary models raise no alarm."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robustcert.attacks.diagnostics import model_findings
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import Norm
from robustcert.results.report import Level, OutputKind
from robustcert.results.threat_model import Box, ThreatModel

LINF = ThreatModel(Norm.LINF, 0.1)
L2 = ThreatModel(Norm.L2, 0.5)
SHAPE = (1, 8, 8)


def rules(model, inputs, labels, threat=LINF):
    return {finding.rule for finding in model_findings(model, inputs, labels, threat)}


def changed(wrap, bars, change, output=OutputKind.LOGITS):
    model, inputs, labels = bars
    return wrap(change(model.function), SHAPE, 4, output), inputs, labels


@pytest.mark.parametrize("threat", [LINF, L2, ThreatModel(Norm.LINF, 1e-3)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3, 1e5])
def test_the_scale_of_the_logits_raises_no_alarm(bars, wrap, threat, scale):
    task = changed(wrap, bars, lambda net: lambda x: scale * net(x))
    assert rules(*task, threat) == set()


@pytest.mark.parametrize("threat", [LINF, L2, ThreatModel(Norm.LINF, 1e-3)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_raises_no_alarm(bars, wrap, threat, dtype):
    model, inputs, labels = bars
    weights = [w.to(dtype) for w in model.function.parameters()]

    def net(x):
        hidden = nn.functional.conv2d(x, weights[0], weights[1], padding=1).relu()
        return hidden.flatten(1) @ weights[2].T + weights[3]

    task = wrap(net, SHAPE, 4, dtype=dtype), inputs, labels
    assert rules(*task, threat) == set()


@pytest.mark.parametrize("threat", [LINF, L2])
def test_unsaturated_probabilities_raise_no_alarm(bars, wrap, threat):
    for squash, kind in [
        (torch.softmax, OutputKind.PROBABILITIES),
        (torch.log_softmax, OutputKind.LOG_PROBABILITIES),
    ]:
        task = changed(
            wrap, bars, lambda net, s=squash: lambda x: s(0.5 * net(x), 1), kind
        )
        assert rules(*task, threat) == set()


@pytest.mark.parametrize("classes", [1, 2])
def test_linear_models_raise_no_alarm(wrap, classes):
    generator = torch.Generator().manual_seed(0)
    W = torch.randn(classes, 12, generator=generator)
    kind = OutputKind.SINGLE_LOGIT if classes == 1 else OutputKind.LOGITS
    model = wrap(lambda x: (x - 3.0) @ W.T, (12,), 2, kind)
    inputs = 2.0 + 2.0 * torch.rand(32, 12, generator=generator)
    labels = model.logits(inputs).argmax(dim=1)
    for norm in (Norm.LINF, Norm.L2):
        threat = ThreatModel(norm, 0.2, Box(2.0, 4.0))
        assert rules(model, inputs, labels, threat) == set()


def test_nothing_is_asked_about_epsilon_where_there_is_none(bars, wrap):
    rounded = changed(wrap, bars, lambda net: lambda x: net((x * 15.0).round() / 15.0))
    for threat in (None, ThreatModel(Norm.LINF, 0.0)):
        assert rules(*rounded, threat) == {"zero-gradients"}


@pytest.mark.parametrize(
    "rounding",
    [
        torch.round,
        torch.floor,
        lambda x: x - torch.remainder(x, 1.0),
        lambda x: torch.div(x, 1.0, rounding_mode="floor"),
        lambda x: x // 1.0,
        lambda x: x.to(torch.uint8).to(x.dtype),
    ],
    ids=["round", "floor", "remainder", "rounded division", "floor division", "cast"],
)
def test_a_model_that_rounds_its_input_is_found_out(bars, wrap, rounding):
    task = changed(wrap, bars, lambda net: lambda x: net(rounding(x * 15.0) / 15.0))
    assert rules(*task) == {
        "zero-gradients",
        "quantised-input",
        "iterates-still",
        "epsilon-idle",
        "huge-epsilon",
    }


def test_truncation_is_found_out_on_samples_that_lie_on_its_grid(bars, wrap):
    model, inputs, labels = bars
    coarse = wrap(lambda x: model.function((x * 16.0).floor() / 16.0), SHAPE, 4)
    on_grid = (inputs * 16.0).floor() / 16.0
    assert "quantised-input" in rules(coarse, on_grid, labels)


@pytest.mark.parametrize("scale", [1e3, 1e5])
@pytest.mark.parametrize(
    ("squash", "kind"),
    [
        (torch.softmax, OutputKind.PROBABILITIES),
        (torch.log_softmax, OutputKind.LOG_PROBABILITIES),
    ],
)
def test_probabilities_that_are_one_hot_to_rounding_are_found_out(
    bars, wrap, scale, squash, kind
):
    task = changed(wrap, bars, lambda net: lambda x: squash(scale * net(x), 1), kind)
    assert "saturated-output" in rules(*task)


def test_a_sigmoid_that_saturates_leaves_no_gradient(bars, wrap):
    task = changed(wrap, bars, lambda net: lambda x: torch.sigmoid(1e4 * net(x)))
    assert "zero-gradients" in rules(*task)


def test_gradients_that_vanish_against_the_differences_are_found_out(bars, wrap):
    """A staircase with treads that rise by a thousandth of its slope."""

    def stairs(net):
        return lambda x: net((x * 15.0).round() / 15.0 + 1e-3 * x)

    assert "vanishing-gradients" in rules(*changed(wrap, bars, stairs))


def test_gradients_that_are_no_numbers_are_found_out(bars, wrap):
    def rooted(net):
        return lambda x: net(x) + (x.flatten(1)[:, :1] * 0.0).sqrt()

    found = list(model_findings(*changed(wrap, bars, rooted)))
    assert [one.rule for one in found] == ["non-finite-gradients"]
    assert "at 32 of the first 32 samples" in found[0].message


def test_gradients_that_lie_about_the_direction_stall_the_loss(bars, wrap):
    class Lying(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # noqa: ARG004 - torch's signature
            return x.clone()

        @staticmethod
        def backward(ctx, grad):  # noqa: ARG004 - torch's signature
            return -grad

    task = changed(wrap, bars, lambda net: lambda x: net(Lying.apply(x)))
    assert {"loss-stalls", "huge-epsilon"} <= rules(*task)


@pytest.mark.parametrize("threat", [ThreatModel(Norm.LINF, 0.03), L2])
def test_gradients_that_change_faster_than_steps_are_found_out(bars, wrap, threat):
    def rippled(net):
        return lambda x: net(x + 0.02 * torch.sin(500.0 * x))

    assert rules(*changed(wrap, bars, rippled), threat) == {"shattered-gradients"}


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "samples"),
    [
        ("fashion_conv_kw", "fashion_mnist_test_2000"),
        ("mnist_conv_adv", "mnist_test"),
        ("mnist_mlp_6x100", "mnist_test"),
        ("cifar_resnet2b", "cifar10_test_200"),
    ],
)
def test_trained_nets_raise_no_alarm(trained, name, samples):
    with np.load(trained / "samples" / f"{samples}.npz") as archive:
        inputs = torch.tensor(archive["inputs"][:32]).float() / 255.0
        labels = torch.tensor(archive["labels"][:32]).long()
    data = (trained / "models" / f"{name}.ts.pt").read_bytes()
    model = load_torchscript(data, input_shape=tuple(inputs.shape[1:]))
    for threat in (ThreatModel(Norm.LINF, 2 / 255), LINF, L2, ThreatModel(Norm.L2, 2)):
        assert rules(model, inputs, labels, threat) == set()


def test_a_batch_norm_that_was_not_frozen_is_a_batch_interaction(bars, wrap):
    def centred(net):
        return lambda x: net(x) - 0.2 * net(x).mean(dim=0, keepdim=True)

    assert rules(*changed(wrap, bars, centred)) == {"batch-interaction"}


def test_every_finding_says_what_to_do_and_a_random_model_is_asked_no_more(bars, wrap):
    task = changed(
        wrap, bars, lambda net: lambda x: net(x.round()) + torch.rand(len(x), 4)
    )
    (finding,) = model_findings(*task, LINF)
    assert (finding.rule, finding.level) == ("random-output", Level.ERROR)
    rounded = changed(wrap, bars, lambda net: lambda x: net(x.round()))
    for one in model_findings(*rounded, LINF):
        assert one.message.endswith(".")
        assert one.remedy.endswith(".")


@pytest.mark.parametrize("threat", [LINF, L2])
def test_samples_that_are_wrong_or_alone_are_probed_without_fail(bars, threat):
    model, inputs, labels = bars
    assert rules(model, inputs[:1], labels[:1], threat) == set()
    assert rules(model, inputs, (labels + 1) % 4, threat) == set()


def test_probing_leaves_the_generators_alone_and_repeats_itself(bars, wrap):
    rounded = changed(wrap, bars, lambda net: lambda x: net((x * 15.0).round() / 15.0))
    state = torch.get_rng_state()
    first = list(model_findings(*rounded, LINF, 7))
    assert list(model_findings(*rounded, LINF, 7)) == first
    assert torch.equal(torch.get_rng_state(), state)
