"""The sample sets that come with the library, as read-only resources."""

from __future__ import annotations

import functools
import hashlib
import io

from robustcert.client.wire import SamplesResource
from robustcert.models.builtin import SAMPLE_SETS, Builtin

from .npz import read_samples_facts

_LIMIT = 2**30


@functools.cache
def builtin_samples() -> tuple[SamplesResource, ...]:
    """The built-in sets; their files are read once."""
    return tuple(_resource(builtin) for builtin in SAMPLE_SETS.values())


def _resource(builtin: Builtin) -> SamplesResource:
    data = builtin.read()
    facts = read_samples_facts(io.BytesIO(data), _LIMIT)
    return SamplesResource(
        id=builtin.name,
        name=builtin.name,
        builtin=True,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        count=facts.count,
        input_shape=list(facts.input_shape),
        classes=facts.classes,
    )
