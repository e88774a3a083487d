"""Fixtures for every test."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported

import pytest
import torch
from hypothesis import settings

settings.register_profile("repo", deadline=None, print_blob=True)
settings.load_profile("repo")
torch.set_num_threads(1)  # the tests run side by side, one process a core

TRAINED_MODELS = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def trained() -> Path:
    """The folder of models that others trained, with samples; skipped where absent."""
    if not TRAINED_MODELS.is_dir():
        pytest.skip("the folder of trained models (../shared/data) is absent")
    return TRAINED_MODELS
