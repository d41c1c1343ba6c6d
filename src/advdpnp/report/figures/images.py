"""Attacked images: clean, perturbation, adversarial."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advdpnp.report.figures.drawing import FAINT, clipped, new_figure
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


def _pixels(image: np.ndarray) -> np.ndarray:
    """(H, W, 3), from (1 or 3, H, W)."""
    import numpy as np

    pixels = np.moveaxis(image, 0, -1).clip(0, 1)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def attacked_images(samples: Samples) -> Figure:
    """A strip of images: clean, perturbation (amplified, gray is 0), adversarial; predictions marked right or wrong."""
    count, factor = min(len(samples.labels), IMAGES_PER_STRIP), amplification(samples)
    figure = new_figure(10.4, 3.9)
    # One panel for all images: thirty of them would take ten times as long.
    axes = figure.subplots()
    axes.set_axis_off()
    for column in range(count):
        clean, adversarial, label = samples.clean[column], samples.adversarial[column], int(samples.labels[column])
        for row, image in enumerate((clean, 0.5 + factor * (adversarial - clean), adversarial)):
            _show(axes, _pixels(image), column, row)
        predictions = int(samples.clean_predictions[column]), int(samples.adversarial_predictions[column])
        for row, prediction in zip((0, 2), predictions, strict=True):
            right = prediction == label
            axes.annotate(
                f"{clipped(samples.class_names[prediction], 14)} {'✓' if right else '✗'}",
                (column + 0.46, _top(row) + 0.95),
                ha="center",
                va="top",
                color=_RIGHT if right else _WRONG,
                fontweight="normal" if right else "bold",
            )
    for row, name in enumerate(("clean", f"perturbation\n× {factor}", "adversarial")):
        axes.text(-0.08, _top(row) + 0.46, name, rotation=90, ha="right", va="center", ma="center")
    axes.set(xlim=(-0.3, IMAGES_PER_STRIP), ylim=(_top(2) + 1.2, -0.05), aspect="equal")
    return figure


def _top(row: int) -> float:
    """Where a row of images begins; below the first and the last there is room for a line of text."""
    return (0.0, 1.25, 2.25)[row]


def _show(axes: Axes, pixels: np.ndarray, column: int, row: int) -> None:
    left, top = float(column), _top(row)
    right, bottom = left + 0.92, top + 0.92
    axes.imshow(pixels, interpolation="none", extent=(left, right, bottom, top))
    axes.plot((left, right, right, left, left), (top, top, bottom, bottom, top), color=FAINT, linewidth=0.7)
