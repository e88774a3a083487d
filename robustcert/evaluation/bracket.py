"""The Lipschitz constant of a model, with samples to start from or without."""

from __future__ import annotations

import torch
from torch import Tensor

from robustcert.evaluation.plan import EvaluationPlan
from robustcert.evaluation.subject import ReadModel, Subject
from robustcert.lipschitz.bracket import measure
from robustcert.lipschitz.interface import Problem
from robustcert.results.bound import Bracket
from robustcert.results.effort import Effort
from robustcert.results.norm import Norm
from robustcert.results.progress import Listener, unheard
from robustcert.results.threat_model import Box

STARTS = 200
"""Samples at which the lower bounds start."""


def lipschitz_bracket(
    problem: Problem, effort: Effort, listener: Listener = unheard
) -> Bracket:
    """Both sides, by every method of ``effort``."""
    return measure(problem, effort, listener)


def samples_problem(subject: Subject, plan: EvaluationPlan) -> Problem:
    """The problem whose witnesses start from the samples."""
    inputs = subject.samples.inputs[:STARTS]
    threats = plan.threats
    return _problem(subject.read, inputs, threats.box, threats.norm, plan.seed)


def model_problem(read: ReadModel, norm: Norm, box: Box, seed: int) -> Problem:
    """The problem whose witnesses start from random inputs in the box."""
    inputs = torch.zeros(0, *read.model.input_shape)
    return _problem(read, inputs, box, norm, seed)


def _problem(
    read: ReadModel, inputs: Tensor, box: Box, norm: Norm, seed: int
) -> Problem:
    model = read.model
    placed = inputs.to(dtype=model.dtype, device=model.device)
    return Problem(read.graph, model.logits, placed, box, norm, seed, model.sha256)
