"""Tasks and sampled balls for the tests of linear bounds."""

from __future__ import annotations

import torch

from robustcert.certify.crown.alpha import SlopeSearch
from robustcert.certify.crown.balls import balls_of
from robustcert.certify.crown.hidden import crown_values, enclosure
from robustcert.certify.crown.margins import margin_bounds
from robustcert.certify.crown.slopes import Ascent
from robustcert.certify.interface import CertificationTask
from robustcert.certify.logits import binary_as_pair
from robustcert.graph.execute import run
from robustcert.graph.extract import extract
from robustcert.models.torchscript import load_torchscript
from robustcert.results.norm import Norm
from robustcert.results.threat_model import UNIT_BOX
from robustcert.tensors import lp_norms, rows_like
from tests.models import nets

UNBOUNDED = torch.inf


def graph_of(name: str):
    """A net that every front door must read, with weights that matter."""
    table = name in nets.TABLE_NETS
    build = nets.TABLE_NETS[name] if table else nets.IMAGE_NETS[name]
    shape = nets.TABLE if table else nets.IMAGE
    archive = nets.scripted(nets.settled(build()))
    return extract(load_torchscript(archive, input_shape=shape))


def task_on(graph, norm, *, count=3, box=UNIT_BOX, seed=0, inputs=None):
    """Random inputs in the box, each with the class that the graph gives it."""
    if inputs is None:
        generator = torch.Generator().manual_seed(seed)
        unit = torch.rand(count, *graph.input_shape, generator=generator).double()
        inputs = box.low + box.width * unit
    labels = binary_as_pair(run(graph, inputs)).argmax(dim=1)
    slack = torch.zeros(len(inputs), dtype=torch.float64)
    return CertificationTask(graph, inputs, labels, norm, box, slack)


def radii_like(task, radius: float):
    return torch.full_like(task.slack, radius)


def samples_of_the_balls(task, radii, count=200, seed=1):
    """``(N * count, *shape)`` points of ball and box, many of them on the rim."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, *task.inputs.shape)
    steps = torch.randn(shape, generator=generator, dtype=torch.float64)
    if task.norm is Norm.LINF:
        half = count // 2
        steps = torch.cat([steps[:half].sign(), steps[half:].tanh()])
    flat = steps.flatten(0, 1)
    if task.norm is Norm.L2:
        flat = flat / rows_like(lp_norms(flat, Norm.L2), flat)
    centres = task.inputs.repeat(count, *(1,) * (task.inputs.ndim - 1))
    reach = rows_like(radii.repeat(count), flat)
    return (centres + reach * flat).clamp(task.box.low, task.box.high)


def margins_at(task, points):
    """``(N, count)`` smallest margins of the samples' points."""
    logits = binary_as_pair(run(task.graph, points))
    labels = task.labels.repeat(len(points) // len(task))
    mine = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1)
    return (mine[:, 0] - others).reshape(-1, len(task)).T


def crown_margins(task, radii):
    """Lower bounds ``(N,)`` of the margins by CROWN."""
    with torch.no_grad():
        known = enclosure(task.graph, balls_of(task, radii), crown_values)
        return margin_bounds(task, known, crown_values).amin(dim=1)


def interval_margins(task, radii):
    """The same with plain intervals in the hidden layers."""
    with torch.no_grad():
        known = enclosure(task.graph, balls_of(task, radii), None)
        return margin_bounds(task, known, crown_values).amin(dim=1)


def alpha_margins(task, radii, steps=6):
    """The same with slopes searched for every hidden unit and every margin."""
    goals = torch.full_like(task.slack, UNBOUNDED)
    search = SlopeSearch(task.graph.to(torch.float32), goals, Ascent(steps, 0.2))
    with torch.no_grad():
        known = enclosure(task.graph, balls_of(task, radii), search)
        return margin_bounds(task, known, search).amin(dim=1)
