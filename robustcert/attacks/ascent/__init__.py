"""Attacks that climb a loss, on the model or on its smooth twin."""

from robustcert.attacks.ascent.rows import ROWS

__all__ = ["ROWS"]
