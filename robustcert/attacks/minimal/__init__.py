"""Minimal attacks: the smallest perturbation they find serves every epsilon."""

from robustcert.attacks.minimal.rows import ROWS

__all__ = ["ROWS"]
