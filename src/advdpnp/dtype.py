"""The package computes in float32, whatever default dtype the caller has set."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def float32_default() -> Iterator[None]:
    """Inside, float32 is the default dtype; outside, the caller's again. A context manager, and a decorator."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
