"""Devices, and the facts of an environment that a result needs to be believed."""

import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from advdpnp import runs
from advdpnp.runs import Json, Run

# Facts of the environment on which bitwise resume depends.
_BITWISE = ("torch", "device", "threads", "instructions", "cudnn_benchmark", "deterministic", "ranks")
# What cuBLAS works in, and a size of it with which its products are the same each time.
_CUBLAS, _REPEATABLE = "CUBLAS_WORKSPACE_CONFIG", ":4096:8"

# Names the commit of code that was copied without its history, "+" after it where files differ. It may have been copied
# into another history, which knows nothing of it.
COMMIT_VARIABLE = "ADVDPNP_COMMIT"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _revision() -> tuple[str, bool]:
    """The commit of the code, and whether files differ from it."""
    named, head = os.environ.get(COMMIT_VARIABLE, ""), _git("rev-parse", "HEAD")
    commit, changed = named.removesuffix("+"), named.endswith("+")
    if not head.startswith(commit):
        return commit, changed
    return head, changed or bool(_git("status", "--porcelain", "--untracked-files=no"))


def environment(device: torch.device) -> Json:
    """Versions, device, threads, commit and command, as JSON values that are stored with a result."""
    from advdpnp import __version__

    on_gpu = device.type == "cuda"
    commit, dirty = _revision()
    return {
        "advdpnp": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        **({"deterministic": True} if torch.are_deterministic_algorithms_enabled() else {}),
        "commit": commit,
        "dirty": dirty,
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def check_environment(run: Run, now: Json) -> None:
    """Write environment.json, or warn if a resumed run meets another environment."""
    path = run.folder / "environment.json"
    if not path.exists():
        runs.write_json(path, now)
        return
    stored = runs.read_json(path)
    # It is told where it is so.
    was, is_now = {"deterministic": False} | stored, {"deterministic": False} | now
    changed = [f"{key} {was[key]} -> {is_now[key]}" for key in _BITWISE if key in was and was[key] != is_now[key]]
    if changed:
        warnings.warn(
            f"resumed in another environment ({', '.join(changed)}): weights may differ in the last bits", stacklevel=3
        )


def resolve_device(name: str | None = None) -> torch.device:
    """A device by name; by default the GPU where there is one. ValueError if it cannot be used."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"--device must be a torch device such as cpu, cuda or cuda:1; got {name!r}") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda, but torch sees no GPU here: use --device cpu")
    return device


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """While it lasts, torch takes deterministic algorithms alone; as it was before, afterwards.

    On a GPU the same work then gives the same bits each time, and takes longer. On a CPU it does so anyway.

    Raises:
        ValueError: an operation has no deterministic algorithm; it is named.
    """
    if not wanted:
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic
    # cuBLAS reads it when it is first used, and torch whenever a product is asked for.
    former = os.environ.setdefault(_CUBLAS, _REPEATABLE)
    if former not in (_REPEATABLE, ":16:8"):
        raise ValueError(f"{_CUBLAS} must be {_REPEATABLE} or :16:8 to be deterministic; got {former!r}: unset it")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    try:
        yield
    except RuntimeError as error:
        if "deterministic" not in str(error):
            raise
        operation = str(error).split(" does not have")[0].split("\n")[0]
        raise ValueError(
            f"{operation} has no deterministic algorithm on this device: leave --deterministic out, or take another "
            "network or recipe.engine"
        ) from error
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.deterministic = before[1]


def use_tf32(allowed: bool) -> None:
    """Whether GPU products of fp32 numbers may round them to 10 bits; torch's own default allows it in convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def cudnn_benchmark(wanted: bool) -> Iterator[None]:
    """Whether cuDNN tries its algorithms for every new shape and keeps the fastest; as it was before, afterwards.

    It changes no mathematics, but the choice depends on the moment, and with it the rounding.
    """
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = wanted
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
