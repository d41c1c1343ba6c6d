"""CIFAR-10-C (Hendrycks & Dietterich, ICLR 2019): CIFAR-10's test images under 19 corruptions at 5 severities."""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advdpnp.ranges import cut, nearest

FAMILY = "cifar10-c"
SEVERITIES = 5
# The fifteen of the benchmark, then the four that its authors keep for validation.
CORRUPTIONS = tuple(
    "gaussian_noise shot_noise impulse_noise defocus_blur glass_blur motion_blur zoom_blur snow frost fog brightness "
    "contrast elastic_transform pixelate jpeg_compression speckle_noise gaussian_blur spatter saturate".split()
)


def parse_corruption(name: str) -> tuple[str, int | None]:
    """The corruption and severity in "cifar10-c/fog/3"; without one, as in "cifar10-c/fog", None stands for all five.

    Raises:
        ValueError: unknown corruption or severity; the nearest names are listed.
    """
    family, *rest = name.split("/")
    if family != FAMILY or len(rest) not in (1, 2):
        raise ValueError(
            f"corrupted images are {FAMILY}/<corruption> or {FAMILY}/<corruption>/<severity>, as in {FAMILY}/fog/3; "
            f"got {name!r}. Corruptions: {', '.join(CORRUPTIONS)}"
        )
    corruption, severity = rest[0], rest[1] if len(rest) == 2 else None
    _check_name(corruption, f" in {name!r}")
    if severity is None:
        return corruption, None
    known = [str(s + 1) for s in range(SEVERITIES)]
    if severity not in known:
        raise ValueError(f"a severity is one of {', '.join(known)}; got {severity!r} in {name!r}")
    return corruption, int(severity)


def check_corruption(corruption: str, severity: int) -> None:
    """Raise ValueError on an unknown corruption or a severity that is not 1 to 5; the nearest names are listed."""
    _check_name(corruption)
    if isinstance(severity, bool) or not isinstance(severity, int) or not 1 <= severity <= SEVERITIES:
        raise ValueError(f"a severity is an integer from 1 to {SEVERITIES}; got {severity!r}")


def _check_name(corruption: str, where: str = "") -> None:
    if corruption not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {corruption!r}{where}; nearest: {nearest(corruption, CORRUPTIONS)}")


def open_array(path: Path) -> NDArray[np.generic]:
    """An .npy file as an array that stays on disk until it is sliced; never a pickle.

    Raises:
        ValueError: the file is damaged or holds Python objects.
    """
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # a crafted header fails in any way that numpy's parser can
        reason = cut(error) or type(error).__name__
        raise ValueError(f"{path} must be an .npy file of numbers; got a damaged or foreign one ({reason})") from None


def layout(path: Path) -> str:
    """Type and shape of the array in a file of CIFAR-10-C, and for labels the MD5 sum of their bytes, as text."""
    try:
        array = open_array(path)
    except ValueError:
        return "no .npy file of numbers"
    text = f"{array.dtype} {array.shape}"
    return f"{text}, bytes of MD5 {hashlib.md5(array.tobytes()).hexdigest()}" if array.ndim == 1 else text
