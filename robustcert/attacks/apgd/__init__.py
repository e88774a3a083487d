"""APGD: projected gradient ascent that chooses its own step sizes."""

from robustcert.attacks.apgd.rows import ROWS

__all__ = ["ROWS"]
