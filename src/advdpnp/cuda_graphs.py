"""Work on tensors that stay where they are, captured once as a CUDA graph and replayed."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
Capture = Callable[[Callable[[], T]], Callable[[], T]]

_WARM_UPS = 3


def cuda_graph(work: Callable[[], T]) -> Callable[[], T]:
    """Capture `work` as a CUDA graph; the returned function replays it and returns the same output tensors each time.

    Args:
        work: reads and writes tensors whose storage never moves, and does not read from the device to the host. It is
            run a few times before the capture, so that compilations and library set-ups are over.
    """
    # One stream for warm-up and capture: libraries keep a workspace for each, which a capture must not have to make.
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            work()
    # Garbage that is collected during a capture would free memory in the middle of it.
    gc.collect()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        result = work()
    torch.cuda.current_stream().wait_stream(stream)

    def replay() -> T:
        graph.replay()
        return result

    return replay


def again(work: Callable[[], T]) -> Callable[[], T]:
    """The capture of machines without graphs: replaying is running again. Tests put it in `cuda_graph`'s place."""
    return work


class Slots:
    """Tensors that keep their storage while their contents are exchanged."""

    def __init__(self) -> None:
        self._slots: tuple[Tensor, ...] | None = None

    def fill(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Copy the values into the slots, made by the first call, and return the slots."""
        if self._slots is None:
            self._slots = tuple(value.clone() for value in values)
        for slot, value in zip(self._slots, values, strict=True):
            slot.copy_(value)
        return self._slots
