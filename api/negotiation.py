"""Which format an Accept header asks for (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re

from robustcert.formats.interface import ReportFormat
from robustcert.formats.registry import FORMATS

from .errors import NotAcceptableError


def best_format(accept: str) -> ReportFormat:
    """The format that ``accept`` likes best; the first of the registry at a tie.

    Raises:
        NotAcceptableError: it accepts none of them.
    """
    weights = {one.name: quality(accept, one.media_type) for one in FORMATS.values()}
    best = max(weights, key=lambda name: weights[name])
    if weights[best] <= 0.0:
        offered = ", ".join(one.media_type for one in FORMATS.values())
        raise NotAcceptableError(f"The report is offered as {offered}.")
    return FORMATS[best]


def quality(accept: str, media_type: str) -> float:
    """How much ``accept`` likes ``media_type``, 0 to 1; the closest range decides."""
    main = media_type.partition("/")[0]
    closeness = {"*/*": 0, f"{main}/*": 1, media_type: 2}
    found = (-1, 0.0)
    for entry in accept.split(","):
        name, *parameters = (part.strip().lower() for part in entry.split(";"))
        if name in closeness:
            found = max(found, (closeness[name], _weight(parameters)))
    return found[1]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            match = re.fullmatch(r"q=(\d+(?:\.\d*)?)", parameter)
            return min(1.0, float(match[1])) if match else 0.0
    return 1.0
