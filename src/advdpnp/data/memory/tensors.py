"""Arrays of images and labels, of any usual layout and type, as the tensors that training and attacks take."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from advdpnp.data.folder.decode import centered_square

_CHANNELS = (1, 3)
# A float32 quotient of a byte by 255 is right to this.
_ROUNDING = 1.2e-7
# What rounding may put outside of [0, 1].
_SLACK = 1e-6
_BLOCK = 4096


def is_array(value: Any) -> bool:
    """Whether it is a tensor or a numpy array, or as good as one."""
    return isinstance(value, np.ndarray | Tensor)


def tensor_of(values: Any, what: str) -> Tensor:
    """A tensor or a numpy array as a tensor without history.

    Args:
        values: the array.
        what: "images" or "labels", for messages.
    Raises:
        ValueError: arrays of objects or of texts.
    """
    if isinstance(values, Tensor):
        return values.detach()
    if values.dtype.kind not in "buif":
        cure = "images of one size make one array of numbers"
        if what == "labels":
            cure = "give integers, as of numpy.unique(labels, return_inverse=True), and the names as class_names"
        kind = "objects" if values.dtype.kind == "O" else f"type {values.dtype}"
        raise ValueError(f"{what} must be an array of numbers; got {kind}: {cure}")
    if values.dtype.kind == "u" and values.dtype.itemsize > 1:
        # torch knows few operations on wide unsigned numbers.
        values = values.astype(np.int64)
    # A copy of what is read-only, reversed, or of the other byte order.
    plain = np.require(values.astype(values.dtype.newbyteorder("="), copy=False), requirements=("C", "W"))
    return torch.from_numpy(plain)


def channels_first(x: Tensor) -> Tensor:
    """Images (N, H, W), (N, H, W, channels) or (N, channels, H, W) as the last; nothing is copied.

    An array that may be both of the last two is taken for (N, channels, H, W).
    """
    if x.dim() == 3:
        return x[:, None]
    if x.dim() == 4 and x.shape[1] not in _CHANNELS and x.shape[3] in _CHANNELS:
        return x.permute(0, 3, 1, 2)
    return x


def check_layout(x: Tensor) -> None:
    """Raise ValueError unless x is (N, channels, H, W) with 1 or 3 channels and at least one image."""
    if x.dim() == 4 and len(x) and x.shape[1] in _CHANNELS and x.shape[2] and x.shape[3]:
        return
    cure = ""
    if x.dim() == 4 and 4 in (x.shape[1], x.shape[3]):
        cure = ": leave the fourth channel out, which says how transparent a pixel is"
    raise ValueError(
        "images must be (N, H, W), (N, H, W, channels) or (N, channels, H, W), with 1 or 3 channels; "
        f"got {tuple(x.shape)}{cure}"
    )


def bytes_or_floats(x: Tensor) -> Tensor:
    """Pixels as uint8 in [0, 255], or, where they are finer than that, float32 in [0, 1].

    Args:
        x: (N, channels, H, W) integers in [0, 255] or floats in [0, 1].
    Raises:
        ValueError: other values, such as those of images that are normalized already.
    """
    if x.dtype == torch.bool:
        raise ValueError("images must be bytes, or floats in [0, 1]; got truth values: give x.astype('float32')")
    low, high = x.amin().item(), x.amax().item()
    if not x.is_floating_point():
        if low < 0 or high > 255:
            raise ValueError(
                f"images of whole numbers must be in [0, 255]; got {low} to {high}: divide by the number that is "
                "white, so that they are floats in [0, 1]"
            )
        if high <= 1:
            raise ValueError(
                f"in images of whole numbers 255 is white; got {low} to {high}: give floats, as x.astype('float32')"
            )
        return x.to(torch.uint8)
    _check_floats(low, high)
    return _as_bytes(x.to(torch.float32).clamp(0, 1))


def _check_floats(low: float, high: float) -> None:
    """Raise ValueError unless floats from `low` to `high` are pixels in [0, 1]."""
    if low >= -_SLACK and high <= 1 + _SLACK:
        return
    got = f"images of floats must be in [0, 1]; got {low:.9g} to {high:.9g}"
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{got}: some are no numbers, or infinite")
    if low < -0.01:
        raise ValueError(f"{got}: give un-normalized images, since normalization belongs into the network")
    if high > 2:
        raise ValueError(f"{got}: divide bytes by 255, or give them as uint8")
    raise ValueError(f"{got}: cut them with x.clip(0, 1)")


def _as_bytes(x: Tensor) -> Tensor:
    """Floats that are bytes divided by 255, as most are, as bytes again; others as they are."""
    parts = []
    for part in torch.split(x, _BLOCK):
        levels = (part * 255).round()
        if (part - levels / 255).abs().max() > _ROUNDING:
            return x
        parts.append(levels.to(torch.uint8))
    return torch.cat(parts)


def squared(image: Tensor, side: int) -> Tensor:
    """The largest centered square, resized with an antialiased bilinear filter, as image files are.

    Args:
        image: (channels, H, W) uint8 or float.
        side: S, at least 1.
    Returns:
        (channels, S, S) uint8, or float32 in the range of the image.
    """
    from PIL import Image

    if image.shape[1:] == (side, side):
        return image
    # Channel by channel, since Pillow has no color image of floats.
    kind = torch.uint8 if image.dtype == torch.uint8 else torch.float32
    channels = [Image.fromarray(channel.to(kind).cpu().contiguous().numpy()) for channel in image]
    small = torch.stack([torch.from_numpy(np.array(centered_square(channel, side))) for channel in channels])
    return small if kind == torch.uint8 else small.clamp(image.amin(), image.amax())


def class_labels(values: Any, count: int) -> Tensor:
    """Labels of any integer type as (count,) int64.

    Args:
        values: tensor, array or sequence; (count, 1) is taken for (count,).
        count: how many images there are.
    Raises:
        ValueError: texts, floats, one-hot rows, or another number of labels than of images.
    """
    if not is_array(values):
        try:
            values = np.asarray(values)
        except ValueError:
            raise ValueError("labels must be one integer for each image; got lists of different lengths") from None
    labels = tensor_of(values, "labels")
    if labels.dim() == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dim() == 2:
        raise ValueError(f"labels must be one integer for each image; got {tuple(labels.shape)}: give y.argmax(1)")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers; got {labels.dtype}: give y.astype('int64')")
    if labels.shape != (count,):
        raise ValueError(f"there must be one label for each image; got {count} images and {tuple(labels.shape)} labels")
    return labels.to(torch.int64)
