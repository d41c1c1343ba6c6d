"""What tells one image from another: a hash of its pixels."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_LETTERS = 16
_SHOWN = 3


def image_digests(pixels: NDArray[Any]) -> list[str]:
    """The first 64 bits of the SHA-256 of each image, in hexadecimal: equal for equal pixels.

    Args:
        pixels: (N, channels, H, W), of any type.
    """
    return [hashlib.sha256(np.ascontiguousarray(image).data).hexdigest()[:_LETTERS] for image in pixels]


def repeated_text(
    train: Sequence[str], test: Sequence[str], train_names: Sequence[str], test_names: Sequence[str]
) -> str:
    """A warning that names test images that are training images too; "" where there are none.

    Args:
        train, test: digests of the images of both splits.
        train_names, test_names: what the images are called.
    """
    places = {digest: place for place, digest in enumerate(train)}
    pairs = [(test_names[place], train_names[places[digest]]) for place, digest in enumerate(test) if digest in places]
    if not pairs:
        return ""
    shown = ", ".join(f"{tested} = {trained}" for tested, trained in pairs[:_SHOWN])
    return (
        f"warning: {len(pairs)} of {len(test)} test images {'are' if len(pairs) > 1 else 'is'} among the training "
        f"images too, so the accuracy says less ({shown}{', ...' if len(pairs) > _SHOWN else ''})"
    )
