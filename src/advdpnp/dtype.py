"""Everything here is computed in float32, whatever PyTorch makes of numbers without a dtype elsewhere."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def float32_default() -> Iterator[None]:
    """New tensors are float32 inside, and of the caller's default dtype again outside; also a decorator."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
