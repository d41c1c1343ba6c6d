"""The nineteen corruptions, applied to images in memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from advdpnp.data.corruptions import blurs, colors, files, noises, warps, weather
from advdpnp.data.corruptions.constants import CONSTANTS
from advdpnp.data.corruptions.draws import Array, Draws
from advdpnp.data.corruptions.names import check_corruption
from advdpnp.ranges import Integer, check

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    found.__name__: found
    for found in (
        *(noises.gaussian_noise, noises.shot_noise, noises.impulse_noise, noises.speckle_noise),
        *(blurs.defocus_blur, blurs.glass_blur, blurs.motion_blur, blurs.zoom_blur, blurs.gaussian_blur),
        *(weather.snow, weather.frost, weather.fog, weather.spatter),
        *(colors.brightness, colors.contrast, colors.saturate),
        *(warps.elastic_transform, files.pixelate, files.jpeg_compression),
    )
}
# Rounding of what was divided by 255 or resized.
_SLACK = 1e-6


def corrupt(x: Tensor, corruption: str, severity: int, *, index: Tensor | None = None, seed: int = 0) -> Tensor:
    """Images under a common corruption (Hendrycks and Dietterich, ICLR 2019), generated as CIFAR-10-C was.

    With the authors' constants (`advdpnp.data.corruptions.constants`), for any image size, and for gray images. Images
    are taken, and given back, as files of 8 bits would hold them: rounded to k/255. What is random depends on the
    image's index, corruption, severity and seed alone, so neither the batch nor the order matters.

    Args:
        x: (B, channels, H, W) floats in [0, 1]; three channels are RGB, others gray, each by itself.
        corruption: one of `CORRUPTIONS`.
        severity: 1 to 5.
        index: (B,) int64 indices of the images in their test set; None for 0 to B - 1.
        seed: any integer.
    Returns:
        (B, channels, H, W) float32 in [0, 1], on the device of x.
    Raises:
        ValueError: unknown corruption or severity, or no such images or indices.
    Note:
        These are not the published images: noise is drawn anew, frost is drawn instead of photographed, and blurs
        and drops are computed without ImageMagick and OpenCV.
    """
    check_corruption(corruption, severity)
    check("seed", seed, Integer)
    _check_images(x)
    which = torch.arange(len(x)) if index is None else index.cpu()
    if which.shape != (len(x),) or which.dtype != torch.int64:
        raise ValueError(f"index must be ({len(x)},) int64, one for each image; got {tuple(which.shape)} {which.dtype}")
    if not len(x):
        return x.detach().to(torch.float32)
    clean = _rounded(x.detach().cpu().to(torch.float32).numpy())
    values = CONSTANTS[corruption].of(severity, min(x.shape[2:]))
    changed = _FUNCTIONS[corruption](clean, Draws(seed, f"corruption/{corruption}/{severity}", which), *values)
    return torch.from_numpy(_rounded(changed)).to(x.device)


def _rounded(x: Array) -> Array:
    # In float64, so that the last bits of a float32 decide less.
    return (np.rint(255 * np.clip(np.asarray(x, np.float64), 0, 1)) / 255).astype(np.float32)


def _check_images(x: object) -> None:
    if not isinstance(x, Tensor):
        raise ValueError(f"images must be a tensor of torch; got a {type(x).__name__}: give torch.as_tensor(x)")
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(f"images must be (B, channels, H, W) floats; got {tuple(x.shape)} {x.dtype}")
    if len(x) and not (x.amin() >= -_SLACK and x.amax() <= 1 + _SLACK):
        raise ValueError(
            f"images must be in [0, 1]; got values from {x.amin():.7g} to {x.amax():.7g}: divide bytes by 255"
        )
