import os
import subprocess
import sys

import pytest

# Takes eight times 16 MiB and frees them, twenty times, and says how many pages the system had to fill for that.
SCRIPT = """
import resource
from advdpnp.allocator import keep_freed_memory
import torch
kept = keep_freed_memory()
for turn in range(21):
    if turn == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [torch.ones(4 << 20) for _ in range(8)]
    del held
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(not hasattr(os, "confstr") or "CS_GNU_LIBC_VERSION" not in os.confstr_names, reason="glibc")


def pages(**chosen: str) -> tuple[bool, int]:
    environment = {name: value for name, value in os.environ.items() if "MALLOC" not in name} | chosen
    environment.pop("GLIBC_TUNABLES", None)
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    kept, filled = done.stdout.split()
    return kept == "True", int(filled)


@glibc
def test_freed_memory_is_taken_again_without_the_system() -> None:
    kept, filled = pages()
    # The user may choose otherwise: then each of the twenty times takes as many pages as the first one.
    chosen, filled_anew = pages(MALLOC_MMAP_THRESHOLD_="65536")
    assert kept and not chosen and 4 * filled < filled_anew
