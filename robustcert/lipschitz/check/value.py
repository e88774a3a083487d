"""The Lipschitz bound that a certificate's multipliers prove.

This is a second implementation, kept apart from the one that finds multipliers: its
own walk over the layers, matrices and Fourier sums, in numpy, and at each step a proof
in floating point (``step``). Shared are how a model is read and folded, how max pooling
is written as rectifiers, and the order of the layers, of which any is right.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robustcert.errors import CertificateError
from robustcert.graph.layers import LayerGraph
from robustcert.lipschitz.check.covariance import Covariance, times_powers
from robustcert.lipschitz.check.definite import Array
from robustcert.lipschitz.check.largest import largest_root
from robustcert.lipschitz.check.rewriting import rewritten
from robustcert.lipschitz.check.tori import tori
from robustcert.lipschitz.check.walk import last_covariance
from robustcert.lipschitz.lipsdp.frontier import Step, steps
from robustcert.results.lipschitz_certificate import (
    LayerMultipliers,
    LipschitzCertificate,
)
from robustcert.results.norm import Norm


def check(graph: LayerGraph, certificate: LipschitzCertificate) -> float:
    """What the certificate proves for ``graph``, if that is no more than it claims.

    Args:
        graph: folded, float64, finite.
        certificate: to be judged; its model's hash is not looked at.

    Raises:
        CertificateError: the multipliers prove no bound, or a larger one.
        UnsupportedLayerError: a layer has no rule here.
    """
    proved = certified_value(graph, certificate)
    if not proved <= certificate.value:
        raise CertificateError(
            f"it claims {certificate.value!r}, its multipliers prove only {proved!r}"
        )
    return proved


def certified_value(graph: LayerGraph, certificate: LipschitzCertificate) -> float:
    """The smallest L2 bound that the multipliers could be proved to give.

    The value that the certificate claims is not looked at.

    Raises:
        CertificateError: the multipliers do not fit the graph, or prove nothing.
        UnsupportedLayerError: a layer has no rule here.
    """
    return largest_root(_proved(graph, certificate))


def certified_covariance(graph: LayerGraph, certificate: LipschitzCertificate) -> Array:
    """``(K, K)`` G with ``y y^T <= G`` for changes y of the logits by inputs 1 apart.

    Its largest eigenvalue is about the square of :func:`certified_value`, and other
    directions of the logits move less.

    Raises: as :func:`certified_value`.
    """
    proved = _proved(graph, certificate)
    exponents = proved.exponents
    matrix = times_powers(proved.matrices[0], exponents[:, None] + exponents)
    whole = np.zeros((len(proved.alive), len(proved.alive)))
    whole[np.ix_(proved.alive, proved.alive)] = matrix
    return whole


def _proved(graph: LayerGraph, certificate: LipschitzCertificate) -> Covariance:
    if certificate.norm is not Norm.L2:
        raise CertificateError(f"no proof in {certificate.norm.word} can be checked")
    if tuple(certificate.input_shape) != tuple(graph.input_shape):
        raise CertificateError(
            f"it is about inputs of shape {certificate.input_shape}, the model reads "
            f"{tuple(graph.input_shape)}"
        )
    simple = rewritten(graph, certificate)
    walk = steps(simple)
    multipliers = _by_position(simple, walk, certificate)
    on_torus = tori(simple, {i: part.torus for i, part in multipliers.items()})
    with np.errstate(all="ignore"):  # what is not finite is refused where it matters
        return last_covariance(simple, walk, on_torus, multipliers)


def _by_position(
    graph: LayerGraph, walk: Sequence[Step], certificate: LipschitzCertificate
) -> dict[int, LayerMultipliers]:
    """The multipliers of each activation, by its position.

    Raises:
        CertificateError: the certificate is about other layers, or in another order.
    """
    sources = [step.source for step in walk[1:]]
    names = [graph.layers[source].name for source in sources]
    claimed = [part.layer for part in certificate.layers]
    if names != claimed:
        pairs = zip(names, claimed, strict=False)
        wrong = next((b for a, b in pairs if a != b), "")
        raise CertificateError(
            f"it has multipliers of {len(claimed)} activation layers, the model "
            f"has {len(names)}; the first that differs is {wrong!r}"
        )
    return dict(zip(sources, certificate.layers, strict=True))
