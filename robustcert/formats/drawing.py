"""Vega-Lite specifications drawn as SVG: offline, without a browser or a script."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import vl_convert
from markupsafe import Markup, escape

_OPENING = re.compile(r"<svg [^>]*>")
_SIZE = re.compile(r'\b(width|height)="([0-9.]+)"')


@dataclass(frozen=True, slots=True)
class Caption:
    """What a chart says to those who do not see it.

    Attributes:
        identity: unique on the page; letters, digits and hyphens.
        title: a few words.
        description: one or two sentences with the figures that matter.
    """

    identity: str
    title: str
    description: str


def svg(specification: dict[str, Any]) -> str:
    """``specification`` as a standalone SVG document.

    No address is fetched, whatever the specification names.
    """
    return str(vl_convert.vegalite_to_svg(specification, allowed_base_urls=[]))


def picture(specification: dict[str, Any], caption: Caption) -> Markup:
    """``specification`` as an SVG element for a page, with role, title, description."""
    drawn = svg(specification)
    opening = _OPENING.match(drawn)
    if opening is None:
        raise ValueError("the drawing is no SVG element")
    size = dict(_SIZE.findall(opening.group()))
    name = escape(caption.identity)
    head = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" '
        'height="{height}" viewBox="0 0 {width} {height}" '
        'aria-labelledby="{name}-title {name}-description">'
        '<title id="{name}-title">{title}</title>'
        '<desc id="{name}-description">{description}</desc>'
    ).format(
        width=size["width"],
        height=size["height"],
        name=name,
        title=caption.title,
        description=caption.description,
    )
    # Vega escapes the strings it draws; the rest is its own markup.
    return head + Markup(drawn[opening.end() :])  # noqa: S704 - see above
