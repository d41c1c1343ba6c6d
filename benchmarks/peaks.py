"""The most memory that a piece of work takes: of the process, and of tensors alone."""

import ctypes
import gc
import resource
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from advdpnp.runs import Json


class LiveTensors(TorchDispatchMode):
    """Bytes of all tensors that operations make while it is entered and that are still alive, and the most so far.

    What kernels take for themselves is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and id(leaf.untyped_storage()) not in known:
                self._follow(leaf.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key = id(storage)
        if key not in self._sizes:
            self._sizes[key] = storage.nbytes()
            self.now += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def peak_memory(work: Callable[[], object], tensors: bool = True) -> Json:
    """MiB that one run of some work takes beyond what there is.

    Run it in a process of its own, before the work has been run there: what was freed is used again.

    Args:
        work: what is run.
        tensors: whether it is run a second time, to follow tensors.
    Returns:
        Of the process ("process"), and of the tensors that are alive at the same time ("tensors").
    """
    _forget_what_was()
    before = _largest_mib()
    work()
    found: Json = {"process": round(_largest_mib() - before, 2)}
    if tensors:
        with LiveTensors() as live:
            work()
        found["tensors"] = round(live.most / 2**20, 2)
    return found


def _forget_what_was() -> None:
    """Give freed memory back, and let the largest size be the present one; where the system can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _largest_mib() -> float:
    """The largest size of this process since `_forget_what_was`.

    Where Linux tells it: what getrusage says of a process that another one has started is at least that one's size.
    """
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
