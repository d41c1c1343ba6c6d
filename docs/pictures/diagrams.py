"""Pictures of ideas: prototypes, the two branches, threat models, resume, distances."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from ink import CLASSES, FAINT, INK
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle, Wedge

from advdpnp.threat import Norm, ThreatModel

_ANGLES = np.deg2rad([80.0, 215.0, 330.0])
_CENTERS = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def _arrow(axes: Axes, start: Sequence[float], end: Sequence[float], color: str, **style: object) -> None:
    look = {"arrowstyle": "-|>", "color": color, "lw": 1.6, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 13, **style}
    axes.annotate("", xy=end, xytext=start, arrowprops=look)


def _plane(axes: Axes, reach: float = 1.6) -> None:
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    axes.axis("off")


def _features(spread: float, count: int = 9) -> np.ndarray:
    """(3, count, 2) features around the three prototypes, somewhat inside the circle."""
    numbers = np.random.default_rng(4)
    return 0.86 * _CENTERS[:, None] + spread * numbers.normal(size=(3, count, 2))


def _sphere(axes: Axes) -> None:
    axes.add_patch(Circle((0, 0), 1, fill=False, color=INK, lw=1.2))
    axes.plot(0, 0, ".", color=INK)


def prototypes() -> Figure:
    """A prototype is a classifier weight (left) and the place where a class's features belong (right)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.2))
    for axes, title in ((left, "classifier weight: the nearest direction wins"), (right, "prototype: pull and push")):
        _plane(axes)
        axes.set_title(title)
        _sphere(axes)
    degrees = np.rad2deg(_ANGLES)
    for k, color in enumerate(CLASSES[:3]):
        low, high = (degrees[k - 1] - 360 * (k == 0) + degrees[k]) / 2, (degrees[k] + (*degrees, 440)[k + 1]) / 2
        left.add_patch(Wedge((0, 0), 1.4, low, high, color=color, alpha=0.13, lw=0))
        _arrow(left, (0, 0), _CENTERS[k], color, lw=2.4)
        left.text(*(1.17 * _CENTERS[k]), f"$c_{k + 1}$", color=color, ha="center", va="center", size=17)
    feature = np.array([0.62, 0.42])
    left.plot(*feature, "o", color=INK)
    left.text(*(feature + 0.06), "$f$", size=16)
    for center, color in zip(_CENTERS, CLASSES):
        foot = center * (feature @ center)
        left.plot(*zip(feature, foot), ls=":", color=color, lw=1.5)
    left.text(0, -1.56, r"$z_j = c_j \cdot f \,/\, \alpha$", ha="center", size=15)
    left.text(-0.52, 0.93, r"$\alpha$", size=15, ha="right")
    left.plot([0, -0.5], [0, 0.866], color=INK, lw=1, ls="--")
    for group, center, color in zip(_features(0.17), _CENTERS, CLASSES):
        for point in group:
            gap = center - point
            right.plot(*point, "o", color=color, ms=4.5)
            _arrow(right, point, point + 0.55 * gap, color, lw=1, mutation_scale=8)
        right.plot(*center, "*", color=color, ms=19)
    # Each prototype, its nearest rival on this circle, and the way that leads off it.
    for own, rival, turn in ((0, 2, 1), (1, 2, -1), (2, 0, -1)):
        right.plot(*zip(_CENTERS[own], _CENTERS[rival]), color=FAINT, lw=1, ls=":", zorder=0)
        tangent = turn * np.array([-_CENTERS[own][1], _CENTERS[own][0]])
        foot = 1.2 * _CENTERS[own] + 0.05 * tangent
        _arrow(right, foot, foot + 0.36 * tangent, CLASSES[own], lw=2.4)
    right.text(0, -1.5, "thin: pull to the own prototype;  thick: push off the nearest rival", ha="center", size=10.5)
    figure.tight_layout()
    return figure


def _box(axes: Axes, x: float, y: float, text: str, width: float = 1.5, color: str = INK, dashed: bool = False) -> None:
    corner = (x - width / 2, y - 0.36)
    outline = FancyBboxPatch(corner, width, 0.72, "round,pad=0.02,rounding_size=0.12", fill=False, color=color, lw=1.7)
    outline.set_linestyle("--" if dashed else "-")
    axes.add_patch(outline)
    axes.text(x, y, text, ha="center", va="center", size=11, color=color)


def branches() -> Figure:
    """Which branch moves what: forward in ink, gradients in color."""
    figure, axes = plt.subplots(figsize=(10.4, 5.0))
    axes.set(xlim=(-0.2, 11.6), ylim=(-1.35, 4.15))
    axes.axis("off")
    blue, orange = CLASSES[:2]
    for y, image, prototypes, loss, dashed in (
        (3.0, "image $x$", "prototypes $c$", "$D(x)$\ncross-entropy, pull", False),
        (0.4, "attacked $x'$", "detached copy", "$D(x')$\ncross-entropy, pull", True),
    ):
        _box(axes, 0.7, y, image)
        _box(axes, 3.3, y, "backbone")
        _box(axes, 6.2, y, prototypes, width=2.0, color=orange if dashed else blue, dashed=dashed)
        _box(axes, 9.9, y, loss, width=2.6)
        for start, end in ((1.47, 2.53), (4.07, 5.18), (7.22, 8.58)):
            _arrow(axes, (start, y + 0.12), (end, y + 0.12), INK)
        axes.text(4.62, y + 0.25, "$f'$" if dashed else "$f$", ha="center", size=13)
        axes.text(7.9, y + 0.25, "$z'$" if dashed else "$z$", ha="center", size=13)
    _arrow(axes, (0.7, 2.6), (0.7, 0.8), INK)
    axes.text(0.82, 1.7, "attack\n(PGD)", va="center", size=10)
    axes.plot([3.3, 3.3], [0.82, 2.58], color=FAINT, lw=5, solid_capstyle="butt")
    axes.text(3.45, 1.7, "the same\nweights", va="center", size=10)
    axes.plot([6.2, 6.2], [0.82, 2.58], color=FAINT, lw=1.5, ls=":")
    axes.text(6.35, 1.7, "the same values,\nno gradient", va="center", size=10)
    axes.annotate("", (9.9, 0.8), (9.9, 2.6), arrowprops={"arrowstyle": "<|-|>", "color": INK, "lw": 1.4})
    axes.text(10.02, 1.7, "DFA:\nKL$(p(x)\\,\\|\\,p(x'))$", va="center", size=10)
    for start, end in ((8.58, 7.22), (5.18, 4.07)):
        _arrow(axes, (start, 2.8), (end, 2.8), blue, ls="--")
    axes.text(6.2, 2.32, "moved by clean images", ha="center", size=9.5, color=blue)
    path = [(8.58, 0.2), (7.9, 0.2), (7.9, -0.42), (4.4, -0.42), (4.4, 0.2)]
    axes.plot(*zip(*path), color=orange, lw=1.6, ls="--")
    _arrow(axes, (4.4, 0.2), (4.07, 0.2), orange)
    axes.text(6.2, -0.7, "gradient to the backbone only", ha="center", size=9.5, color=orange)
    _arrow(axes, (6.2, 3.95), (6.2, 3.42), blue)
    axes.text(6.35, 3.82, "push between rivals (DNP)", size=10, va="center")
    axes.text(5.6, -1.2, "solid: forward    dashed: gradient", ha="center", size=10)
    return figure


def _loss(x: torch.Tensor) -> torch.Tensor:
    """A smooth hill in the plane of two pixels."""
    return -((x[..., 0] - 0.98) ** 2 + 0.8 * (x[..., 1] - 0.15) ** 2 + 0.5 * x[..., 0] * x[..., 1])


def _ascent(threat: ThreatModel, x: torch.Tensor, start: torch.Tensor, step_size: float) -> np.ndarray:
    """(steps + 1, 2): the path of a projected ascent on `_loss`."""
    path, x_adv = [start], start
    for _ in range(9):
        point = x_adv.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(_loss(point).sum(), point)
        x_adv = threat.project(x_adv + step_size * threat.step(gradient), x)
        path.append(x_adv)
    return torch.cat(path).numpy()


def threat_models() -> Figure:
    """An linf and an l2 ball around an image of two pixels, cut with [0, 1], and the path of PGD in each."""
    figure, panels = plt.subplots(1, 2, figsize=(9.6, 4.9))
    x, eps = torch.tensor([[0.74, 0.52]]), 0.34
    grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, 81), torch.linspace(0, 1, 81), indexing="xy"), dim=-1)
    norms: tuple[Norm, ...] = ("linf", "l2")
    for axes, norm in zip(panels, norms):
        threat = ThreatModel(norm, eps)
        axes.contour(grid[..., 0], grid[..., 1], _loss(grid), levels=9, colors=FAINT, linewidths=0.9)
        axes.add_patch(Rectangle((0, 0), 1, 1, fill=False, color=INK, lw=1.4))
        corner = (x - eps).squeeze().tolist()
        shape = Rectangle(corner, 2 * eps, 2 * eps) if norm == "linf" else Circle(x.squeeze().tolist(), eps)
        shape.set(facecolor=CLASSES[0], edgecolor="none", alpha=0.2)
        axes.add_patch(shape)
        shape.set_clip_path(Rectangle((0, 0), 1, 1, transform=axes.transData))
        path = _ascent(threat, x, threat.project(x + torch.tensor([[-0.2, 0.24]]), x), 0.1)
        axes.plot(*path.T, "o-", color=CLASSES[1], ms=4.5, lw=1.4)
        axes.plot(*x.squeeze(), "s", color=INK, ms=8)
        axes.text(*(x.squeeze() + torch.tensor([-0.03, -0.07])), "$x$", size=15)
        axes.text(path[-1][0] - 0.02, path[-1][1] - 0.02, "$x'$", size=15, color=CLASSES[1], va="top", ha="right")
        axes.set(xlim=(-0.03, 1.12), ylim=(-0.03, 1.03), aspect="equal", xticks=[0, 1], yticks=[0, 1])
        axes.set(xlabel="first pixel", ylabel="second pixel")
        axes.spines[["left", "bottom"]].set_visible(False)
    panels[0].set_title(r"linf: every pixel moves at most $\epsilon$")
    panels[1].set_title(r"l2: the whole image moves at most $\epsilon$")
    figure.tight_layout()
    return figure


def resume() -> Figure:
    """A run that is killed and resumed ends where one that was left alone ends."""
    figure, axes = plt.subplots(figsize=(10, 3.0))
    axes.set(xlim=(-0.4, 10.9), ylim=(-0.75, 2.4))
    axes.axis("off")
    blue, orange = CLASSES[:2]
    for y, name in ((1.6, "left alone"), (0.3, "killed")):
        axes.text(-0.35, y + 0.42, name, size=11)
        axes.plot(10, y, "o", color=blue, ms=13)
    _arrow(axes, (0, 1.6), (9.8, 1.6), blue)
    axes.plot([0, 5.6], [0.3, 0.3], color=blue, lw=1.6)
    axes.plot([4, 5.6], [0.3, 0.3], color=orange, lw=4, solid_capstyle="butt")
    axes.plot(5.6, 0.3, "X", color=orange, ms=14)
    axes.text(5.6, 0.62, "kill -9", ha="center", color=orange)
    axes.text(4.8, -0.08, "lost", ha="center", va="top", color=orange)
    for x in (2, 4):
        axes.plot(x, 0.3, "s", color=INK, ms=9)
    axes.text(3, 0.5, "checkpoints", ha="center", size=10)
    axes.annotate(
        "",
        (4.05, -0.05),
        (5.62, 0.1),
        arrowprops={"arrowstyle": "-|>", "color": INK, "ls": "--", "connectionstyle": "arc3,rad=-0.75"},
    )
    axes.text(4.75, -0.72, "--resume", ha="center", size=10)
    _arrow(axes, (5.9, 0.3), (9.8, 0.3), blue)
    axes.plot([10, 10], [0.56, 1.34], color=INK, lw=1.2, ls=":")
    axes.text(10.12, 0.95, "the same\nbits", va="center", size=10.5)
    return figure


def distances() -> Figure:
    """What the geometry metrics measure, on three classes of features in the plane."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.0))
    groups = 1.0 * _CENTERS[:, None] + np.array([0.2, 0.17, 0.12])[:, None, None] * np.random.default_rng(1).normal(
        size=(3, 14, 2)
    )
    means = groups.mean(axis=1)
    for axes in (left, right):
        _plane(axes)
    left.set_title("FDR, AFS: scatter within against between")
    right.set_title("SCR, MeanSep, MinSep: distances and angles of centers")
    for group, mean, center, color in zip(groups, means, _CENTERS, CLASSES):
        left.plot(*group.T, "o", color=color, ms=4)
        right.plot(*group.T, "o", color=color, ms=4, alpha=0.45)
        for point in group:
            left.plot(*zip(point, mean), color=color, lw=0.8)
        left.plot(*mean, "P", color=color, ms=12)
        left.plot(*zip(mean, means.mean(axis=0)), color=INK, lw=1.3, ls="--")
        right.plot([0, center[0]], [0, center[1]], color=color, lw=1.6)
        right.plot(*center, "*", color=color, ms=18)
    left.plot(*means.mean(axis=0), "s", color=INK, ms=8)
    left.text(-0.02, -1.52, "thin: within;  dashed: class means to the mean of all", ha="center", size=10.5)
    first, _, last = _CENTERS
    right.annotate("", first, last, arrowprops={"arrowstyle": "<|-|>", "color": INK, "lw": 1.3})
    right.text(0.66, 0.42, "nearest\nrival", size=10.5, ha="left")
    for point in groups[1]:
        right.plot(*zip(point, _CENTERS[1]), color=CLASSES[1], lw=0.8)
    right.add_patch(Wedge((0, 0), 0.3, -30, 80, width=0.02, color=INK, lw=0))
    right.text(0.36, 0.1, r"$\theta$", size=15)
    right.text(
        -0.02, -1.52, "SCR = distance to the nearest rival / mean distance to the own center", ha="center", size=10.5
    )
    figure.tight_layout()
    return figure
