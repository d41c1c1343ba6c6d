"""Attacked images: clean, perturbation, adversarial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.report.figures.drawing import new_figure
from advdpnp.report.read import Samples

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_RIGHT, _WRONG = "#00695C", "#C2410C"
IMAGES_PER_STRIP = 10


def amplification(samples: Samples) -> int:
    """Factor at which the largest perturbation just fills the range from black to white around gray."""
    import numpy as np

    largest = float(np.abs(samples.adversarial - samples.clean).max())
    # The margin keeps float32 rounding of eps from changing the factor.
    return max(1, int(0.5 / largest + 1e-3)) if largest > 0 else 1


def _show(axes: Axes, image: np.ndarray) -> None:
    import numpy as np

    pixels = np.moveaxis(image, 0, -1).clip(0, 1)
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    axes.imshow(pixels, interpolation="none")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)


def attacked_images(samples: Samples) -> Figure:
    """A strip of images: clean, perturbation (amplified, gray is 0), adversarial; predictions marked right or wrong."""
    count, factor = min(len(samples.labels), IMAGES_PER_STRIP), amplification(samples)
    figure = new_figure(10.4, 3.9)
    grid = figure.subplots(3, IMAGES_PER_STRIP, squeeze=False)
    for empty in grid[:, count:].flat:
        empty.set_axis_off()
    for column in range(count):
        clean, adversarial, label = samples.clean[column], samples.adversarial[column], int(samples.labels[column])
        _show(grid[0, column], clean)
        _show(grid[1, column], 0.5 + factor * (adversarial - clean))
        _show(grid[2, column], adversarial)
        predictions = int(samples.clean_predictions[column]), int(samples.adversarial_predictions[column])
        for axes, prediction in zip((grid[0, column], grid[2, column]), predictions, strict=True):
            right = prediction == label
            text = f"{samples.class_names[prediction]} {'✓' if right else '✗'}"
            axes.set_xlabel(text, color=_RIGHT if right else _WRONG, fontweight="normal" if right else "bold")
    for axes, name in zip(grid[:, 0], ("clean", f"perturbation\n× {factor}", "adversarial"), strict=True):
        axes.set_ylabel(name)
    return figure
