"""How many threads torch computes with, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch computes in the calling thread alone while the block runs.

    Products of matrices of a few hundred rows gain little from a second thread, and
    lose much where other programs use the cores: the threads wait for each other
    thousands of times a second, and burn the processor while they do. Sums are also
    taken in one order, whatever the machine.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
