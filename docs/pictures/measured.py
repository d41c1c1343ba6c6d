"""Pictures of measured things: small networks are trained on digits, attacked, and drawn."""

import functools
import tempfile
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from ink import CLASSES, FAINT, INK, RIGHT, WRONG
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from advdpnp import api
from advdpnp.demo import demo_experiments
from advdpnp.experiments import Experiment, experiment
from advdpnp.metrics import fdr, scr, unpack, wilson, worst_case
from advdpnp.runs import Json


def _one(wanted: Experiment, suite: str) -> tuple[Json, dict[str, Any]]:
    """Result of a suite, and the arrays that a report draws."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = api.train(wanted, folder, device="cpu")
        result = api.evaluate(run.folder, suite, device="cpu")
        api.illustrate(run.folder, device="cpu")
        arrays: dict[str, Any] = {}
        for path in sorted(run.eval_path("").glob("*.npz")):
            with np.load(path) as stored:
                arrays[path.stem] = dict(stored)
        return result, arrays


@functools.cache
def _digits(defense: str) -> tuple[Json, dict[str, Any]]:
    return _one(experiment(f"digits/tiny/{defense}", settings=["recipe.epochs=8"]), "demo")


@functools.cache
def _flat(defense: str) -> dict[str, Any]:
    """Features in the plane, of the demo's networks with two-dimensional embeddings."""
    (wanted,) = [one for one in demo_experiments() if one.backbone == "tiny-2d" and one.defense.name == defense]
    arrays: dict[str, Any] = _one(wanted, "clean")[1]["embedding"]
    return arrays


def attacked_digits() -> Figure:
    """Digits, what the attack adds, and the attacked digits with the answers of a network without a defense."""
    samples = _digits("st")[1]["samples"]
    clean, attacked = samples["clean"][:, 0], samples["adversarial"][:, 0]
    figure, panels = plt.subplots(3, 10, figsize=(10, 3.7))
    for k, (image, moved) in enumerate(zip(clean, attacked)):
        panels[0, k].imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="none")
        panels[1, k].imshow(moved - image, cmap="RdBu_r", vmin=-0.1, vmax=0.1, interpolation="none")
        panels[2, k].imshow(moved, cmap="gray", vmin=0, vmax=1, interpolation="none")
        for row, predictions in ((0, samples["clean_predictions"]), (2, samples["adversarial_predictions"])):
            right = predictions[k] == samples["labels"][k]
            panels[row, k].set_title(str(predictions[k]), color=RIGHT if right else WRONG, pad=3, weight="bold")
    for axes in panels.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for row, name in enumerate(("clean", "added", "attacked")):
        panels[row, 0].set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    return figure


def _intervals(axes: Axes, verdicts: list[torch.Tensor]) -> None:
    """Wilson intervals of all images (thin) and of the first 60 (thick)."""
    for row, verdict in enumerate(verdicts):
        for count, color, width, shift in ((60, FAINT, 6, 0.16), (len(verdict), INK, 3, -0.16)):
            right = int(verdict[:count].sum())
            axes.plot(wilson(right, count), [row + shift] * 2, color=color, lw=width, solid_capstyle="butt")
            axes.plot(right / count, row + shift, "o", color=color, ms=width + 2)
    axes.set(yticks=[], xlim=(0.6, 1.0), xlabel="accuracy, 95 % interval", ylim=(len(verdicts) - 0.5, -0.5))
    axes.spines["left"].set_visible(False)
    axes.text(0.61, -0.45, f"thin: {len(verdicts[0])} images; thick: the first 60", size=9, va="bottom")


def verdicts() -> Figure:
    """Verdicts of the first 60 images, one row per attack, the worst case last; accuracies with intervals."""
    result, _ = _digits("at")
    names = ["clean", *(f"{attack['name'].upper()}-{attack['steps']}" for attack in result["attacks"]), "worst case"]
    texts = [result["clean_verdicts"], *(attack["verdicts"] for attack in result["attacks"])]
    found = [unpack(text, result["n"]) for text in texts]
    found.append(worst_case(found))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 2.6), width_ratios=(3, 1.35), layout="constrained")
    for row, verdict in enumerate(found):
        for value, color, marker in ((True, RIGHT, "s"), (False, WRONG, "X")):
            places = (verdict[:60] == value).nonzero().flatten()
            left.plot(places, [row] * len(places), marker, color=color, ms=4.6 if value else 6, ls="none")
    left.set(yticks=range(len(names)), yticklabels=names, xlabel="test image", ylim=(len(names) - 0.5, -0.5))
    left.axhline(len(names) - 1.5, color=FAINT, lw=1)
    left.spines["left"].set_visible(False)
    left.tick_params(left=False)
    _intervals(right, found)
    return figure


def _scatter(axes: Axes, arrays: dict[str, Any], which: str) -> None:
    features, labels, centers = arrays[which], arrays["labels"], arrays["centers"]
    for label, center in enumerate(centers):
        axes.plot(*features[labels == label].T, "o", color=CLASSES[label], ms=2.6, alpha=0.8, mew=0)
        axes.plot([0, center[0]], [0, center[1]], color=CLASSES[label], lw=1.1)
        axes.plot(*center, "*", color=CLASSES[label], ms=11)
    values = [torch.from_numpy(array) for array in (features, labels, centers)]
    ratio = fdr(values[0], values[1], len(centers)).trace_ratio_per_class
    separation = scr(*values)
    axes.set_xlabel(f"FDR {ratio:.3f}, SCR {separation:.2f}")
    reach = 1.1 * max(np.abs(features).max(), np.abs(centers).max())
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(FAINT)


def plane() -> Figure:
    """Two-dimensional features of AT and Adv-DPNP, clean and attacked, with two of the metrics."""
    figure, panels = plt.subplots(1, 4, figsize=(12, 3.5), layout="constrained")
    for pair, (defense, name) in zip(panels.reshape(2, 2), (("at", "AT"), ("adv-dpnp", "Adv-DPNP"))):
        for axes, which, text in zip(pair, ("clean", "adversarial"), ("clean", "attacked")):
            _scatter(axes, _flat(defense), which)
            axes.set_title(f"{name}, {text}")
    return figure
