"""What the C library does with the memory of tensors that are freed."""

import ctypes
import os

# In <malloc.h> of glibc.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# The most that glibc takes for each: buffers up to the one come from its heap, of which so many bytes may lie free.
_LARGEST_BUFFER, _MOST_FREE = 32 * 2**20, 2**31 - 1
_CHOSEN = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Have glibc keep what is freed for the next tensor, in the whole process, instead of giving it back to the system.

    A network on a CPU frees and takes the same buffers in every layer of every step. By default they go back to the
    system, which fills them with zeros when they are taken again, page by page. What the process needed at its peak it
    then holds until it ends. Nothing that is computed changes.

    Commands of `advdpnp` do so; a program of one's own may. PyTorch's tuning guide has the same advice.

    Returns:
        Whether it is so now. Not where the user has chosen by `$MALLOC_TRIM_THRESHOLD_`, `$MALLOC_MMAP_THRESHOLD_` or
        `$GLIBC_TUNABLES`, nor with another C library.
    """
    if any(name in os.environ for name in _CHOSEN):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all((mallopt(_MMAP_THRESHOLD, _LARGEST_BUFFER), mallopt(_TRIM_THRESHOLD, _MOST_FREE)))
