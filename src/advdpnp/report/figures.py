"""Figures of a report, drawn from stored results: training, accuracy against eps, attacked images, 2-D features."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from advdpnp.attack_words import attack_name
from advdpnp.ranges import parse_eps
from advdpnp.report.corruption_tables import stored_corruptions, words
from advdpnp.report.methods import color, method
from advdpnp.report.read import Embedding, Result, RunResults, Samples, by_method
from advdpnp.report.tables import attack_keys, spread
from advdpnp.results import Accuracy

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CLASS_COLORS = (
    *("#332288", "#E69F00", "#117733", "#CC6677", "#56B4E9", "#882255", "#44AA99", "#999933", "#AA4499", "#777777"),
)
_TERM_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#882255", "#117733")
_RIGHT, _WRONG, _FAINT = "#00695C", "#C2410C", "#9AA5B1"
METHODS_PER_FIGURE = 4
_ACCURACY, _ANGLE = "held-out accuracy (%)", "angle of class centers (°)"
IMAGES_PER_STRIP = 10


def to_svg(build: Callable[[], Figure], title: str) -> str:
    """The figure that `build` draws, as SVG; the same input gives the same bytes."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context(fname=Path(__file__).with_name("figure.mplstyle")):
        build().savefig(text, format="svg", dpi=150, metadata={"Date": None, "Creator": None, "Title": title})
    return text.getvalue()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _term_name(term: str) -> str:
    """A term of the loss as people call it: ce_clean -> CE clean."""
    return " ".join(word.upper() if len(word) <= 3 else word for word in term.split("_"))


def term_names(runs: Sequence[RunResults]) -> list[str]:
    """All terms of the losses of these runs, the total first, in the order in which they first occur."""
    return list(dict.fromkeys(["total", *(term for run in runs for line in run.epochs for term in line["loss"])]))


def _series(run: RunResults, group: str, name: str) -> tuple[list[int], list[float]]:
    lines = [line for line in run.epochs if line.get(group) and line[group].get(name) is not None]
    return [line["epoch"] for line in lines], [line[group][name] for line in lines]


def _is_negative(run: RunResults, term: str) -> bool:
    return any(value < 0 for value in _series(run, "loss", term)[1])


def _draw_loss(axes: Axes, run: RunResults, terms: Sequence[str], negative: bool) -> None:
    for place, term in enumerate(terms):
        epochs, values = _series(run, "loss", term)
        if values and _is_negative(run, term) == negative:
            total = term == "total"
            ink = _FAINT if total else _TERM_COLORS[(place - 1) % len(_TERM_COLORS)]
            axes.plot(epochs, values, color=ink, linewidth=3.5 if total else 1.3, label=_term_name(term))


def _draw_accuracy(axes: Axes, run: RunResults, label: bool) -> None:
    for name, style, text in (("clean_accuracy", "-", "clean"), ("robust_accuracy", "--", "attacked")):
        epochs, values = _series(run, "holdout", name)
        percents = [100 * value for value in values]
        axes.plot(epochs, percents, style, color=color(run.defense), label=text if label else None)


def _draw_angles(axes: Axes, run: RunResults, label: bool) -> None:
    for name, style, text in (("angle_mean_degrees", "-", "mean of pairs"), ("angle_min_degrees", "--", "smallest")):
        axes.plot(*_series(run, "centers", name), style, color=color(run.defense), label=text if label else None)


def _share_y(row: Sequence[Axes]) -> None:
    for axes in row[1:]:
        axes.sharey(row[0])
        axes.tick_params(labelleft=False)
    row[0].autoscale(axis="y")


def _finish(axes: Axes) -> None:
    """Say that a panel is empty, and show lines of a single epoch."""
    import numpy as np

    if not axes.get_lines():
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", va="center", color=_FAINT)
    for line in axes.get_lines():
        line.set_marker("o" if np.size(line.get_xdata()) == 1 else "")


def _panels(runs: Sequence[RunResults], terms: Sequence[str]) -> dict[str, Callable[[Axes, RunResults, bool], None]]:
    """What is drawn in each row of the training figure: label of the axis -> function of panel, run, first."""
    panels: dict[str, Callable[[Axes, RunResults, bool], None]] = {
        "weighted loss": lambda axes, run, _: _draw_loss(axes, run, terms, negative=False)
    }
    # DNP's repulsion is negative and far larger than the other terms, which it would flatten in one panel.
    if any(_is_negative(run, term) for run in runs for term in terms):
        panels["loss, negative part"] = lambda axes, run, _: _draw_loss(axes, run, terms, negative=True)
    if any(line.get("holdout") for run in runs for line in run.epochs):
        panels[_ACCURACY] = _draw_accuracy
    if any(line.get("centers") for run in runs for line in run.epochs):
        panels[_ANGLE] = _draw_angles
    return panels


def training_curves(methods: Sequence[Sequence[RunResults]], terms: Sequence[str]) -> Figure:
    """Loss terms, held-out accuracy and angles between class centers by epoch: a column for each method.

    Args:
        methods: at most `METHODS_PER_FIGURE` methods, each with its seeds, drawn over each other.
        terms: names of all loss terms of the report, so that a term has one color in all its figures.
    """
    panels = _panels([run for seeds in methods for run in seeds], terms)
    figure = _figure(10.4, 0.6 + 1.9 * len(panels))
    # Columns that stay empty keep the panels of all figures the same size.
    grid = figure.subplots(len(panels), METHODS_PER_FIGURE, squeeze=False)
    for row, (name, draw) in zip(grid, panels.items(), strict=True):
        row[0].set_ylabel(name)
        for axes, seeds in zip(row, methods, strict=False):
            for run in seeds:
                draw(axes, run, axes is row[0] and run is seeds[0])
            axes.tick_params(labelbottom=name == list(panels)[-1])
            _finish(axes)
        if name in (_ACCURACY, _ANGLE):
            _share_y(row[: len(methods)])
            row[0].legend(loc="best")
        if name == _ACCURACY:
            row[0].set_ylim(0, 101)
        for empty in row[len(methods) :]:
            empty.set_axis_off()
    for top, bottom, seeds in zip(grid[0], grid[-1], methods, strict=False):
        top.set_title(seeds[0].method, color=color(seeds[0].defense))
        bottom.set_xlabel("epoch")
    handles = {line.get_label(): line for axes in grid.flat for line in axes.get_lines()}
    drawn = [name for name in map(_term_name, terms) if name in handles]
    figure.legend([handles[name] for name in drawn], drawn, loc="outside upper left", ncols=len(drawn))
    return figure


def _spread_apart(values: list[float], gap: float) -> list[float]:
    """The values, sorted upwards and moved up where two are nearer than `gap`, for labels beside lines."""
    placed: list[float] = []
    for value in values:
        placed.append(max(value, placed[-1] + gap) if placed else value)
    return placed


class _Point(NamedTuple):
    """Accuracy at one radius: the mean of the seeds, the lowest and the highest end of their intervals."""

    eps: float
    mean: float
    low: float
    high: float


def _point(eps: float, seeds: list[Accuracy]) -> _Point:
    return _Point(eps, spread(seeds).value, min(seed.low for seed in seeds), max(seed.high for seed in seeds))


def _curve(seeds: list[Result]) -> list[_Point]:
    keys = set.intersection(*({row.key for row in seed.suite.rows if not row.added} for seed in seeds))
    attacked = [_point(parse_eps(key.eps), [seed.suite.attacks[key] for seed in seeds]) for key in keys]
    return sorted([_point(0.0, [seed.suite.clean for seed in seeds]), *attacked])


def _label_lines(axes: Axes, ends: list[tuple[float, RunResults]], x: float) -> None:
    ends.sort(key=lambda end: (end[0], end[1].order))
    places = _spread_apart([height for height, _ in ends], gap=4.6)
    for (_, run), y in zip(ends, places, strict=True):
        label = axes.annotate(
            run.method, (x, y), (9, 0), textcoords="offset points", va="center", color=color(run.defense)
        )
        label.set_annotation_clip(False)


def _mark_training_eps(axes: Axes, results: list[Result], unit: int) -> None:
    trained = {result.run.trained_eps for result in results} - {None}
    if len(trained) == 1:
        x = unit * (trained.pop() or 0)
        axes.axvline(x, color=_FAINT, linewidth=0.9, linestyle=":")
        axes.annotate("ε of training", (x, 100), (3, -2), textcoords="offset points", va="top")


def accuracy_against_eps(results: list[Result]) -> Figure:
    """Accuracy under the same attack at growing radius (Figure 4 of the paper): a line for each method.

    Args:
        results: "curve" suites on the same images.
    """
    key = attack_keys(results)[0]
    pixels = any(key.eps.endswith("/255") for key in attack_keys(results))
    unit = 255 if pixels else 1
    figure = _figure(7.6, 4.2)
    axes = figure.subplots()
    ends, x = [], [0.0]
    for seeds in by_method(results):
        run, points = seeds[0].run, _curve(seeds)
        x, y = [unit * point.eps for point in points], [100 * point.mean for point in points]
        low, high = [100 * point.low for point in points], [100 * point.high for point in points]
        axes.fill_between(x, low, high, color=color(run.defense), alpha=0.14, linewidth=0)
        style, marker = "--" if run.tag else "-", method(run.defense).marker
        axes.plot(x, y, style, color=color(run.defense), marker=marker, markersize=4.5)
        ends.append((y[-1], run))
    _label_lines(axes, ends, x[-1])
    _mark_training_eps(axes, results, unit)
    axes.set(xlim=(0, 1.01 * x[-1]), ylim=(0, 101), ylabel=f"accuracy under {key.label} (%)")
    axes.set_xlabel(
        f"radius ε of the {key.norm_name} ball, " + ("in 1/255 of the pixel range" if pixels else "pixels in [0, 1]")
    )
    return figure


def _mean_over_seeds(seeds: Sequence[Result], read: Callable[[dict[str, Any]], Any]) -> np.ndarray:
    """What `read` takes from the stored corruptions of each seed, in percent."""
    import numpy as np

    return np.asarray(100 * np.mean([read(stored_corruptions(seed)) for seed in seeds], axis=0))


def accuracy_against_severity(results: list[Result]) -> Figure:
    """Mean accuracy over the corruptions at each severity (Figure 3 of the paper), clean at 0: a line for each method.

    Args:
        results: of corruptions, on the same images and from the same source.
    """
    figure = _figure(7.6, 4.2)
    axes = figure.subplots()
    ends, last = [], 0
    for seeds in by_method(results):
        run, clean = seeds[0].run, spread([seed.suite.clean for seed in seeds]).value
        y = [100 * clean, *_mean_over_seeds(seeds, lambda stored: stored["severity_accuracy"])]
        last = len(y) - 1
        style, marker = "--" if run.tag else "-", method(run.defense).marker
        axes.plot(range(len(y)), y, style, color=color(run.defense), marker=marker, markersize=4.5)
        ends.append((y[-1], run))
    _label_lines(axes, ends, last)
    source = results[0].suite.corruption_source
    axes.set(xlim=(0, 1.01 * last), ylim=(0, 101), xlabel=f"severity of the corruptions ({source})")
    axes.set_ylabel("mean accuracy (%)")
    return figure


def corruption_maps(methods: Sequence[Sequence[Result]]) -> Figure:
    """Accuracy under each corruption at each severity, in percent: a heat map for each method.

    Args:
        methods: at most `METHODS_PER_FIGURE` methods, each with its seeds, of which the mean is drawn.
    """
    names = list(stored_corruptions(methods[0][0])["right"])
    figure = _figure(10.4, 0.5 + 0.24 * len(names))
    grid = figure.subplots(1, METHODS_PER_FIGURE, squeeze=False)[0]
    for axes, seeds in zip(grid, methods, strict=False):
        n = seeds[0].suite.n
        shares = _mean_over_seeds(seeds, lambda stored: [stored["right"][name] for name in names]) / n
        axes.grid(visible=False)
        axes.imshow(shares, cmap="viridis", vmin=0, vmax=100, aspect="auto")
        for (row, column), share in _cells(shares):
            ink = "white" if share < 60 else "black"
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=ink, fontsize=7)
        labels = list(map(words, names)) if axes is grid[0] else [""] * len(names)
        axes.set_yticks(range(len(names)), labels=labels)
        axes.set_xticks(range(shares.shape[1]), labels=[str(k + 1) for k in range(shares.shape[1])])
        axes.set_title(seeds[0].run.method, color=color(seeds[0].run.defense))
        axes.set_xlabel("severity")
    for empty in grid[len(methods) :]:
        empty.set_axis_off()
    return figure


def _cells(values: np.ndarray) -> Iterator[tuple[tuple[int, int], float]]:
    return (((row, column), float(value)) for row, line in enumerate(values) for column, value in enumerate(line))


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
    figure = _figure(10.4, 3.9)
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


def _scatter(axes: Axes, features: np.ndarray, embedding: Embedding, limit: float) -> None:
    colors = [_CLASS_COLORS[label % len(_CLASS_COLORS)] for label in embedding.labels]
    axes.scatter(features[:, 0], features[:, 1], s=7, c=colors, alpha=0.55, linewidths=0, rasterized=True)
    for label, (x, y) in enumerate(embedding.centers):
        ink = _CLASS_COLORS[label % len(_CLASS_COLORS)]
        axes.plot([0, x], [0, y], color=ink, linewidth=1)
        axes.plot(x, y, "*", color=ink, markersize=12, markeredgecolor="white", markeredgewidth=0.8)
        away = 13 / max(float((x**2 + y**2) ** 0.5), 1e-12)
        axes.annotate(
            embedding.class_names[label],
            (x, y),
            (away * x, away * y),
            textcoords="offset points",
            ha="center",
            va="center",
            bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
        )
    axes.set_box_aspect(1)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), xlabel="feature 1")


def feature_plane(embedding: Embedding) -> Figure:
    """2-D features colored by class with the class centers as stars on rays (Figure 2): clean, then attacked."""
    import numpy as np

    everything = np.concatenate([embedding.clean, embedding.adversarial, embedding.centers])
    limit = 1.12 * float(np.abs(everything).max())
    figure = _figure(9.2, 5.15)
    left, right = figure.subplots(1, 2, sharey=True)
    _scatter(left, embedding.clean, embedding, limit)
    _scatter(right, embedding.adversarial, embedding, limit)
    left.set_title("clean")
    right.set_title(f"attacked: {attack_name(embedding.attack)}")
    left.set_ylabel("feature 2")
    return figure
