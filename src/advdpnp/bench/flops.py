"""Counted floating-point operations of convolutions and matrix products; a multiply-add is two."""

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    # torch's own FlopCounterMode follows modules, which autograd.grad on a leaf does not survive.
    count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.count += formula(*args, **(kwargs or {}), out_val=result)
        return result


def count_flops(work: Callable[[], object]) -> int:
    """Operations that `work` runs eagerly, backward passes included."""
    counter = _Counter()  # type: ignore[no-untyped-call]
    with counter:
        work()
    return int(counter.count)
