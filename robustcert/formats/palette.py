"""The colours of the charts: one pair for the two sides of every bracket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Palette:
    """CSS colours; ``lower`` and ``upper`` are the two sides of a bracket.

    ``band`` shades what neither side has settled.
    """

    ink: str
    muted: str
    grid: str
    lower: str
    upper: str
    band: str


LIGHT = Palette("#1b1b19", "#5c5a54", "#e3e0d8", "#175a9e", "#a8430c", "#e9e3d3")
DARK = Palette("#ecebe6", "#a9a69d", "#34332f", "#7db5ee", "#f0a070", "#3a372e")
PAGE = Palette(*(f"var(--{name})" for name in Palette.__slots__))
"""The page's own variables, so that one drawing serves light, dark and paper."""
