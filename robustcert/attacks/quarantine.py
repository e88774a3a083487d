"""Run a guest so that the process's global state is as it was before."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def isolated_generators(seed: int) -> Iterator[None]:
    """Seed every global generator inside, restore each outside.

    Covers torch (CPU and every CUDA device), NumPy's legacy generator and Python's.

    Args:
        seed: at least 0.
    """
    devices = list(range(torch.cuda.device_count()))
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002 - saved
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002 - guests draw from it
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)  # noqa: NPY002 - restored


@contextlib.contextmanager
def quarantine(seed: int) -> Iterator[None]:
    """Isolated generators, no words on standard output, and gradients available.

    The caller may be in ``no_grad`` or ``inference_mode``, or treat warnings as errors;
    a guest's own warnings are about its own code.
    """
    with (
        isolated_generators(seed),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
        torch.inference_mode(mode=False),
        torch.enable_grad(),
    ):
        warnings.simplefilter("ignore")
        yield
