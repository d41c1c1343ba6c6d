"""Stages of the scripts own their process; here they share one with other tests."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _cudnn_as_it_was() -> Iterator[None]:
    before = torch.backends.cudnn.benchmark
    yield
    torch.backends.cudnn.benchmark = before
