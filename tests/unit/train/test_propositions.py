"""The theory of CLIP, on problems whose solutions are known.

Bungert, Raab, Roith, Schwinn, Tenbrinck. CLIP: Cheap Lipschitz Training of Neural
Networks. SSVM 2021, arXiv 2103.12531, Propositions 2 to 4: with lambda the risk grows
and the Lipschitz constant falls; for lambda to 0 the solution tends to the interpolant
of least constant, for lambda to infinity to the best constant function.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustcert.results.threat_model import Box
from robustcert.train.clip import Clip, ClipOptions
from robustcert.train.clip_plus import ClipPlus, ClipPlusOptions
from robustcert.train.interface import Moment, Penalty
from tests.unit.train.steps import linear

BOX = Box(-1.0, 1.0)


@dataclass(frozen=True)
class Line:
    """Least squares on a line: with lambda the slope is soft-thresholded.

    ``mean((a x + b - y)^2) + lambda |a|`` is smallest at ``b = mean(y) - a mean(x)``
    and ``a = sign(c) max(|c| - lambda / 2, 0) / v``, with c the covariance of x and y
    and v the variance of x.
    """

    inputs: Tensor
    targets: Tensor

    @property
    def covariance(self) -> float:
        centred = self.inputs - self.inputs.mean()
        return float((centred * self.targets).mean())

    def slope(self, weight: float) -> float:
        variance = float(self.inputs.var(correction=0))
        return min(self.covariance + weight / 2.0, 0.0) / variance  # it falls


def falling_line() -> Line:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(40, 1, generator=generator) * 2.0 - 1.0
    noise = 0.1 * torch.randn(40, 1, generator=generator)
    return Line(inputs, 0.4 - 0.8 * inputs + noise)


def clip(shape: tuple[int, ...]) -> Penalty:
    generator = torch.Generator().manual_seed(1)
    reserve = torch.rand(50, *shape, generator=generator) * 2.0 - 1.0
    return Clip(reserve, BOX, ClipOptions(pairs=8, noise=0.5, tau=0.01), 0)


def clip_plus(shape: tuple[int, ...]) -> Penalty:
    generator = torch.Generator().manual_seed(1)
    reserve = torch.rand(50, *shape, generator=generator) * 2.0 - 1.0
    return ClipPlus(reserve, BOX, ClipPlusOptions(pairs=8, every=1, sharpness=50.0), 0)


BOTH = pytest.mark.parametrize("penalised_by", [clip, clip_plus])


def minimise(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    penalty: Penalty,
    weight: float,
    *,
    steps: int = 200,
    rate: float = 0.4,
) -> nn.Module:
    """Gradient descent on mean squared error and penalty; its steps end at 0."""
    descent = torch.optim.SGD(model.parameters(), lr=rate)
    for step in range(steps):
        loss = F.mse_loss(model(data[0]), data[1])
        if weight > 0.0:
            loss = loss + weight * penalty.value(model, Moment(0, step, steps))
        descent.zero_grad()
        loss.backward()
        if weight > 0.0:
            penalty.after_backward(model, weight)
        descent.param_groups[0]["lr"] = rate * min(1.0, 0.93 ** (step - steps // 2))
        descent.step()
    return model


def started_line() -> nn.Linear:
    model = nn.Linear(1, 1)
    model.weight.data.fill_(0.7)
    model.bias.data.fill_(-0.3)
    return model


@BOTH
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.2, 3.0])
def test_a_line_has_the_soft_thresholded_slope_and_the_offset_that_goes_with_it(
    penalised_by, share
):
    line = falling_line()
    weight = share * 2.0 * abs(line.covariance)  # from a share of 1 on the slope is 0
    data = (line.inputs, line.targets)
    model = minimise(started_line(), data, penalised_by((1,)), weight)
    slope = line.slope(weight)
    assert model.weight.item() == pytest.approx(slope, abs=2e-3)
    offset = float(line.targets.mean()) - slope * float(line.inputs.mean())
    assert model.bias.item() == pytest.approx(offset, abs=2e-3)


@BOTH
def test_proposition_2_on_a_line_risk_grows_and_the_constant_falls(penalised_by):
    line = falling_line()
    data = (line.inputs, line.targets)
    risks, constants = [], []
    for weight in (0.0, 0.1, 0.2, 0.3, 0.4):
        model = minimise(started_line(), data, penalised_by((1,)), weight)
        risks.append(F.mse_loss(model(line.inputs), line.targets).item())
        constants.append(abs(model.weight.item()))
    assert all(first < second for first, second in itertools.pairwise(risks))
    assert all(first > second for first, second in itertools.pairwise(constants))


@BOTH
def test_proposition_3_the_interpolant_of_least_norm_is_found_as_lambda_vanishes(
    penalised_by,
):
    # Of all w with w x = 1, x = (0.6, 0.8), the one of least norm is x itself.
    point, target = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0]])
    distances = []
    for weight in (0.8, 0.4, 0.2):
        start = linear([1.4, -0.6])
        penalty = penalised_by((2,))
        model = minimise(start, (point, target), penalty, weight, steps=400)
        found = model.weight.detach()
        # The minimiser of (w x - 1)^2 + lambda |w| is (1 - lambda / 2) x.
        assert torch.allclose(found, (1.0 - weight / 2.0) * point, atol=0.02)
        distances.append(float((found - point).norm()))
    assert distances == sorted(distances, reverse=True)


def test_without_a_penalty_descent_finds_another_interpolant():
    point, target = torch.tensor([[0.6, 0.8]]), torch.tensor([[1.0]])
    model = minimise(linear([1.4, -0.6]), (point, target), clip_plus((2,)), 0.0)
    assert model(point).item() == pytest.approx(1.0, abs=1e-3)
    assert float(model.weight.detach().norm()) > 1.4


def waves() -> tuple[Tensor, Tensor]:
    inputs = torch.linspace(-1.0, 1.0, 30)[:, None]
    return inputs, 0.3 + 0.5 * torch.sin(2.0 * inputs)


def started_net() -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    net = nn.Sequential(nn.Linear(1, 12), nn.Tanh(), nn.Linear(12, 1))
    for parameter in net.parameters():
        parameter.data.normal_(0.0, 0.7, generator=generator)
    return net


def fitted_net() -> nn.Module:
    """The net at the end of plain training: the solution for lambda 0."""
    net, (inputs, targets) = started_net(), waves()
    adam = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(500):
        adam.zero_grad()
        F.mse_loss(net(inputs), targets).backward()
        adam.step()
    return net


def steepest_slope(net: nn.Module) -> float:
    grid = torch.linspace(BOX.low, BOX.high, 2001)[:, None].requires_grad_()
    (slopes,) = torch.autograd.grad(net(grid).sum(), grid)
    return float(slopes.abs().max())


@BOTH
def test_proposition_2_on_a_net_risk_grows_and_the_constant_falls(penalised_by):
    data, net = waves(), fitted_net()
    risks, constants = [], []
    for weight in (0.0, 0.05, 0.2, 0.4, 2.0):
        net = minimise(net, data, penalised_by((1,)), weight, rate=0.1)
        risks.append(F.mse_loss(net(data[0]), data[1]).item())
        constants.append(steepest_slope(net))
    # 5 % of slack: descent ends near a minimiser, and the problem is not convex.
    assert all(a <= 1.05 * b + 1e-6 for a, b in itertools.pairwise(risks))
    assert all(1.05 * a + 1e-6 >= b for a, b in itertools.pairwise(constants))
    assert risks[-1] > 10.0 * risks[0]
    assert constants[-1] < 0.1 * constants[0]


@BOTH
def test_proposition_4_a_heavy_penalty_leaves_the_mean_of_the_targets(penalised_by):
    data = waves()
    net = minimise(started_net(), data, penalised_by((1,)), 2.0, rate=0.1)
    outputs = net(data[0]).detach()
    assert float(outputs.max() - outputs.min()) < 0.02
    assert float(outputs.mean()) == pytest.approx(float(data[1].mean()), abs=0.01)
