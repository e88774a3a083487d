"""A certificate of a Lipschitz bound, checked against a model's file."""

from __future__ import annotations

import hashlib
from typing import Any

from robustcert.errors import CertificateError, UnsupportedLayerError
from robustcert.evaluation.load import load_model
from robustcert.evaluation.subject import read_model
from robustcert.lipschitz.check.value import check
from robustcert.lipschitz.upper.propagation import sound_folded
from robustcert.results.lipschitz_certificate import LipschitzCertificate

VERIFICATION_SCHEMA = "robustcert/lipschitz-verification/v1"


def verification(data: bytes, certificate: LipschitzCertificate) -> dict[str, Any]:
    """The document ``robustcert/lipschitz-verification/v1``: the certificate holds.

    Args:
        data: of the model's file.
        certificate: to be judged.

    Raises:
        CertificateError: it is about another file, or does not prove its value.
        RobustCertError: the model cannot be loaded, or read as layers.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    if certificate.model_sha256 != sha256:
        raise CertificateError(
            f"it is about the model {certificate.model_sha256[:12] or '(none)'}, "
            f"the file is {sha256[:12]} (SHA-256)",
            remedy="Give the model's file that the certificate was issued for.",
        )
    read = read_model(load_model(data, input_shape=certificate.input_shape))
    if read.graph is None:
        reason = read.unsupported[0]
        raise UnsupportedLayerError(reason.layer, reason.reason)
    proved = check(sound_folded(read.graph), certificate)
    return {
        "schema": VERIFICATION_SCHEMA,
        "model_sha256": sha256,
        "norm": certificate.norm.word,
        "scope": "global",
        "value": certificate.value,
        "proved": proved,
        "verified": True,
    }
