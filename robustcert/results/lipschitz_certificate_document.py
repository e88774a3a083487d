"""Certificates of Lipschitz bounds as versioned JSON documents, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from robustcert.errors import DocumentError
from robustcert.results.document_wire import Amount, Wire
from robustcert.results.lipschitz_certificate import (
    LayerMultipliers,
    LipschitzCertificate,
)
from robustcert.results.norm import norm_from_word

LIPSCHITZ_CERTIFICATE_SCHEMA = "robustcert/lipschitz-certificate/v1"

Size = Annotated[int, Field(ge=1, le=2**31)]


class LayerMultipliersWire(Wire):
    """The multipliers of one activation layer: ``multipliers * 4**-exponent``."""

    layer: str
    multipliers: list[Amount]
    exponent: int
    torus: Annotated[list[Size], Field(min_length=1, max_length=2)] | None


class LipschitzCertificateWire(Wire):
    """The document ``robustcert/lipschitz-certificate/v1``."""

    model_config = ConfigDict(title=LIPSCHITZ_CERTIFICATE_SCHEMA)

    schema_: Literal["robustcert/lipschitz-certificate/v1"] = Field(alias="schema")
    norm: Literal["l2", "linf"]
    value: Amount
    model_sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
    input_shape: Annotated[list[Size], Field(min_length=1, max_length=8)]
    layers: list[LayerMultipliersWire]


def certificate_document(certificate: LipschitzCertificate) -> dict[str, Any]:
    """``certificate`` as a document; every float is written so that it is read back.

    The value must be finite: an infinite one is no JSON number.
    """
    return {
        "schema": LIPSCHITZ_CERTIFICATE_SCHEMA,
        "norm": certificate.norm.word,
        "value": certificate.value,
        "model_sha256": certificate.model_sha256,
        "input_shape": [*certificate.input_shape],
        "layers": [_layer_part(layer) for layer in certificate.layers],
    }


def certificate_from_document(document: Mapping[str, Any]) -> LipschitzCertificate:
    """The certificate that ``document`` stands for.

    Raises:
        DocumentError: another schema, or a field that is missing or wrong, named.
    """
    try:
        wire = LipschitzCertificateWire.model_validate(document)
        return LipschitzCertificate(
            norm_from_word(wire.norm),
            wire.value,
            wire.model_sha256,
            tuple(wire.input_shape),
            tuple(map(_layer_of, wire.layers)),
        )
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(map(str, first["loc"]))
        raise _unreadable(f"{path}: {first['msg']}") from error
    except ValueError as error:
        raise _unreadable(str(error)) from error


def certificate_from_json(text: str | bytes) -> LipschitzCertificate:
    """The certificate in JSON ``text``.

    Raises:
        DocumentError: the text is no JSON object, or
            :func:`certificate_from_document` refuses it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unreadable(f"it is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise _unreadable("it is not a JSON object")
    return certificate_from_document(document)


def _layer_part(layer: LayerMultipliers) -> dict[str, Any]:
    return {
        "layer": layer.layer,
        "multipliers": [*layer.values],
        "exponent": layer.exponent,
        "torus": None if layer.torus is None else [*layer.torus],
    }


def _layer_of(wire: LayerMultipliersWire) -> LayerMultipliers:
    torus = None if wire.torus is None else tuple(wire.torus)
    return LayerMultipliers(wire.layer, tuple(wire.multipliers), wire.exponent, torus)


def _unreadable(what: str) -> DocumentError:
    return DocumentError(
        f"the certificate cannot be read: {what}",
        remedy=f"Give a document with schema {LIPSCHITZ_CERTIFICATE_SCHEMA}.",
    )
