"""Square Attack: random search that needs no gradients."""

from robustcert.attacks.square.rows import ROWS

__all__ = ["ROWS"]
