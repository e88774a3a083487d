"""From multipliers to a proved bound, by a certificate and its checker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from robustcert.errors import CertificateError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.check.value import certified_value
from robustcert.lipschitz.emit import emitted
from robustcert.lipschitz.lipsdp.easing import EASINGS, eased
from robustcert.lipschitz.lipsdp.program import Program
from robustcert.results.lipschitz_certificate import LipschitzCertificate
from robustcert.results.norm import Norm


def proved_certificate(
    graph: LayerGraph, program: Program, multipliers: Sequence[Tensor]
) -> LipschitzCertificate:
    """The certificate of what the checker proves, in L2, from the multipliers.

    They are eased off the border of the feasible ones as far as the proof needs it.

    Args:
        graph: folded, float64, finite.
        program: compiled from it.
        multipliers: ``(M,)`` for each stage.

    Raises:
        CertificateError: it proves nothing.
    """
    for delta in EASINGS:
        chosen = eased(multipliers, delta)
        draft = emitted(program, chosen, Norm.L2, input_shape=graph.input_shape)
        try:
            return replace(draft, value=certified_value(graph, draft))
        except CertificateError as error:
            refusal = error
    raise refusal
