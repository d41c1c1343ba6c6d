"""The constants of the benchmark's authors, and what they become at other image sizes.

Of CIFAR-10-C and ImageNet-C (Hendrycks and Dietterich, ICLR 2019): the numbers in their `make_cifar_c.py`, for images
of 32 pixels, and `make_imagenet_c.py`, for 224 (github.com/hendrycks/robustness, ImageNet-C/create_c, commits ca36008
and e0377d4). Images whose shorter side is below 85, the geometric mean of the two, have those of 32, larger ones those
of 224. Lengths in pixels grow in proportion to the shorter side; below 32 they stay, since a blur of a quarter of a
pixel is none.
"""

import math
from dataclasses import dataclass

Values = tuple[float, ...]


@dataclass(frozen=True)
class Constants:
    """Of one corruption.

    Args:
        cifar: for each severity, at 32 pixels.
        imagenet: for each severity, at 224 pixels.
        lengths: which of them are lengths in pixels.
    """

    cifar: tuple[Values, ...]
    imagenet: tuple[Values, ...]
    lengths: tuple[int, ...] = ()

    def of(self, severity: int, side: int) -> Values:
        """At a severity in 1-5, for images whose shorter side is so many pixels."""
        small = side < math.sqrt(32 * 224)
        values = (self.cifar if small else self.imagenet)[severity - 1]
        scale = max(1.0, side / 32) if small else side / 224
        return tuple(scale * value if place in self.lengths else value for place, value in enumerate(values))


def _single(*values: float) -> tuple[Values, ...]:
    return tuple((value,) for value in values)


def _share(factor: float, *rows: Values) -> tuple[Values, ...]:
    return tuple(tuple(factor * value for value in row) for row in rows)


CONSTANTS: dict[str, Constants] = {
    # Standard deviation.
    "gaussian_noise": Constants(_single(0.04, 0.06, 0.08, 0.09, 0.10), _single(0.08, 0.12, 0.18, 0.26, 0.38)),
    # Photons of a white pixel.
    "shot_noise": Constants(_single(500, 250, 100, 75, 50), _single(60, 25, 12, 5, 3)),
    # Share of black and white values.
    "impulse_noise": Constants(_single(0.01, 0.02, 0.03, 0.05, 0.07), _single(0.03, 0.06, 0.09, 0.17, 0.27)),
    # Standard deviation, as a share of the pixel.
    "speckle_noise": Constants(_single(0.06, 0.10, 0.12, 0.16, 0.20), _single(0.15, 0.20, 0.35, 0.45, 0.60)),
    # Radius of the disk; sigma of the blur that smooths its rim.
    "defocus_blur": Constants(
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
        lengths=(0,),
    ),
    # Sigma of the blurs before and after; how far pixels are taken from; how often.
    "glass_blur": Constants(
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
        lengths=(0, 1),
    ),
    # Length and sigma of the trail.
    "motion_blur": Constants(
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)), ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)), lengths=(0, 1)
    ),
    # How many magnifications, from 1 on, in steps of this.
    "zoom_blur": Constants(
        ((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    ),
    # Sigma.
    "gaussian_blur": Constants(_single(0.4, 0.6, 0.7, 0.8, 1), _single(1, 2, 3, 4, 6), lengths=(0,)),
    # Mean and deviation of the flakes' field, its magnification, the least value that is a flake; length and sigma of
    # their trails; the weight of the image beside its whitened self.
    "snow": Constants(
        (
            (0.10, 0.2, 1.00, 0.60, 8, 3, 0.95),
            (0.10, 0.2, 1.00, 0.50, 10, 4, 0.90),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.90),
            (0.25, 0.3, 2.25, 0.60, 12, 6, 0.85),
            (0.30, 0.3, 1.25, 0.65, 14, 12, 0.80),
        ),
        (
            (0.10, 0.3, 3.0, 0.50, 10, 4, 0.80),
            (0.20, 0.3, 2.0, 0.50, 12, 4, 0.70),
            (0.55, 0.3, 4.0, 0.90, 12, 8, 0.70),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
        lengths=(4, 5),
    ),
    # Weights of the image and of the frost.
    "frost": Constants(
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    # Weight of the fog; its roughness falls from one scale to the next by the square of this.
    "fog": Constants(
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)), ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))
    ),
    # What is added to the value of HSV.
    "brightness": Constants(_single(0.05, 0.10, 0.15, 0.20, 0.30), _single(0.1, 0.2, 0.3, 0.4, 0.5)),
    # Share of the distance from the mean that is left.
    "contrast": Constants(_single(0.75, 0.50, 0.40, 0.30, 0.15), _single(0.40, 0.30, 0.20, 0.10, 0.05)),
    # Amplitude and smoothness of the shifts, and how far three points of the image may move: shares of the side. The
    # authors' side is 244 for images of 224.
    "elastic_transform": Constants(
        ((0, 0, 0.08), (0.05, 0.20, 0.07), (0.08, 0.06, 0.06), (0.10, 0.04, 0.05), (0.10, 0.03, 0.03)),
        _share(244 / 224, (2, 0.70, 0.10), (2, 0.08, 0.20), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02)),
    ),
    # Share of the side that is left.
    "pixelate": Constants(_single(0.95, 0.90, 0.85, 0.75, 0.65), _single(0.6, 0.5, 0.4, 0.3, 0.25)),
    # Quality, as libjpeg counts it.
    "jpeg_compression": Constants(_single(80, 65, 58, 50, 40), _single(25, 18, 15, 10, 7)),
    # Mean, deviation and blur of the field of drops, the least value that is a drop; the water's strength, or the blur
    # of the mud; 0 for water, 1 for mud.
    "spatter": Constants(
        (
            (0.62, 0.1, 0.7, 0.70, 0.5, 0),
            (0.65, 0.1, 0.8, 0.70, 0.5, 0),
            (0.65, 0.3, 1.0, 0.69, 0.5, 0),
            (0.65, 0.1, 0.7, 0.69, 0.6, 1),
            (0.65, 0.1, 0.5, 0.68, 0.6, 1),
        ),
        (
            (0.65, 0.3, 4, 0.69, 0.6, 0),
            (0.65, 0.3, 3, 0.68, 0.6, 0),
            (0.65, 0.3, 2, 0.68, 0.5, 0),
            (0.65, 0.3, 1, 0.65, 1.5, 1),
            (0.67, 0.4, 1, 0.65, 1.5, 1),
        ),
        lengths=(2,),
    ),
    # Factor of the saturation of HSV, and what is added to it.
    "saturate": Constants(
        ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2)), ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))
    ),
}
