"""Threads of torch, restored whatever happens."""

from __future__ import annotations

import pytest
import torch

from robustcert.experiments.threads import one_thread


@pytest.fixture
def two_threads():
    """Torch computes with two threads during the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_one_thread_computes_in_the_block_and_as_many_as_before_behind_it():
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_the_threads_come_back_after_an_error():
    with pytest.raises(KeyboardInterrupt), one_thread():
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2
