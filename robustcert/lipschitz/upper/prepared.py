"""What upper methods share about one problem: its folded graph and its program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from robustcert.errors import CertificateError, UnsupportedLayerError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.interface import Problem, required_graph
from robustcert.lipschitz.lipsdp.compile import compiled, refined
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.lipschitz.upper.proof import proved_certificate
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.results.bound import UpperBound
from robustcert.results.norm import Norm


def prepared_graph(problem: Problem) -> LayerGraph:
    """The problem's graph folded in float64, its numbers finite.

    Raises:
        UnsupportedLayerError: there is no graph.
        UnsoundModelError: a weight is NaN or infinite.
    """
    graph = required_graph(problem)
    return problem.memo.once("folded", partial(sound_folded, graph))


def prepared_program(problem: Problem) -> Program:
    """The graph compiled for LipSDP; L2 only.

    Raises:
        UnsupportedLayerError: there is no graph, a layer has no rule, or the norm is
            another.
        UnsoundModelError: a weight is NaN or infinite.
    """
    require_l2(problem)
    graph = prepared_graph(problem)
    return problem.memo.once("program", partial(compiled, graph))


def refined_program(problem: Problem) -> Program | None:
    """The graph with one multiplier a unit where it has one a channel now.

    Raises: as :func:`prepared_program`.
    """
    require_l2(problem)
    return refined(prepared_graph(problem))


def require_l2(problem: Problem) -> None:
    """Raise unless the problem's norm is L2.

    Raises:
        UnsupportedLayerError: it is another.
    """
    if problem.norm is not Norm.L2:
        raise UnsupportedLayerError(
            "model", f"it bounds the constant in l2, not in {problem.norm.word}"
        )


def proved(
    problem: Problem, program: Program, multipliers: Sequence[Tensor], method: str
) -> UpperBound:
    """The bound that the checker proves from the multipliers, with its certificate.

    Raises:
        UnsupportedLayerError: the checker can prove nothing from them.
    """
    try:
        found = proved_certificate(prepared_graph(problem), program, multipliers)
    except CertificateError as error:
        raise UnsupportedLayerError("model", error.message) from error
    certificate = replace(found, model_sha256=problem.sha256)
    return UpperBound(found.value, problem.norm, method, certificate=certificate)
