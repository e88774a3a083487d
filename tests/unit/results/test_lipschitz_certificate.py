"""Certificates of Lipschitz bounds as records and as documents."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from robustcert.errors import DocumentError
from robustcert.results.document import canonical_json
from robustcert.results.lipschitz_certificate import (
    LayerMultipliers,
    LipschitzCertificate,
)
from robustcert.results.lipschitz_certificate_document import (
    certificate_document,
    certificate_from_document,
    certificate_from_json,
)
from robustcert.results.norm import Norm

SHA256 = "ab" * 32


@pytest.fixture
def certificate():
    return LipschitzCertificate(
        Norm.L2,
        74.30000000000001,
        SHA256,
        (1, 28, 28),
        (
            LayerMultipliers("conv1.relu", (0.1, 1e-300, 3.0), -7, (16, 16)),
            LayerMultipliers("fc.relu", (5e-324, 0.0), 12, None),
        ),
    )


def test_a_certificate_survives_json_to_the_last_digit(certificate):
    text = canonical_json(certificate_document(certificate))
    assert certificate_from_json(text) == certificate
    assert certificate_from_json(text.encode()) == certificate


def test_a_document_may_gain_keys(certificate):
    document = certificate_document(certificate)
    document["issuer"] = "somebody"
    document["layers"][0]["note"] = "?"
    assert certificate_from_document(document) == certificate


def test_no_document_has_an_infinite_value(certificate):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(certificate_document(replace(certificate, value=math.inf)))


WRONG = {
    "another schema": ("schema", "robustcert/report/v1"),
    "unknown norm": ("norm", "l3"),
    "negative value": ("value", -1.0),
    "value is no number": ("value", "74.3"),
    "value is null": ("value", None),
    "hash is short": ("model_sha256", "ab"),
    "hash in capitals": ("model_sha256", "AB" * 32),
    "no input": ("input_shape", []),
    "input of size 0": ("input_shape", [1, 0]),
    "input of fractions": ("input_shape", [1.5]),
    "layers are no list": ("layers", {}),
    "a layer without multipliers": ("layers", [{"layer": "a", "exponent": 0}]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_field_is_named(certificate, case):
    field, value = WRONG[case]
    with pytest.raises(DocumentError, match=field) as caught:
        certificate_from_document({**certificate_document(certificate), field: value})
    assert "lipschitz-certificate" in caught.value.remedy


@pytest.mark.parametrize("field", ["schema", "norm", "value", "layers"])
def test_a_missing_field_is_named(certificate, field):
    document = certificate_document(certificate)
    del document[field]
    with pytest.raises(DocumentError, match=field):
        certificate_from_document(document)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("multipliers", [1.0, -1.0]),
        ("multipliers", [1.0, None]),
        ("multipliers", [True]),
        ("exponent", 0.5),
        ("exponent", 2**40),
        ("torus", []),
        ("torus", [0, 4]),
        ("torus", [4, 4, 4]),
        ("torus", [4.5]),
        ("layer", 3),
    ],
)
def test_a_wrong_layer_is_refused(certificate, field, value):
    document = certificate_document(certificate)
    document["layers"][0][field] = value
    with pytest.raises(DocumentError):
        certificate_from_document(document)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"value": NaN}', "[" * 100_000, b"\xff\xfe"]
)
def test_what_is_no_document_is_refused(text):
    with pytest.raises(DocumentError):
        certificate_from_json(text)


def test_numbers_that_are_not_finite_are_refused(certificate):
    document = certificate_document(certificate)
    for word in ("NaN", "Infinity", "-Infinity"):
        text = json.dumps(document).replace("74.30000000000001", word)
        with pytest.raises(DocumentError, match="value"):
            certificate_from_json(text)


@pytest.mark.parametrize("value", [math.nan, -1.0, -math.inf])
def test_a_bound_below_zero_cannot_be_claimed(certificate, value):
    with pytest.raises(ValueError, match="at least 0"):
        replace(certificate, value=value)
