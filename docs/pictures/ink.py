"""Colors that are right on a light and on a dark page, and SVG files that are the same bytes every time."""

import io
from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

INK, FAINT = "#1f2933", "#b8c2cc"
CLASSES = ("#1f6fd1", "#d9640a", "#15875a", "#8a4fd0", "#c2334d", "#0e8a9c", "#a3790b", "#6b7280", "#c23a9b", "#4f7f16")
RIGHT, WRONG = CLASSES[0], CLASSES[1]

_DARK = {
    INK: "#e4e8ee",
    FAINT: "#56606c",
    "#1f6fd1": "#79b4ff",
    "#d9640a": "#ffa35c",
    "#15875a": "#5fd3a0",
    "#8a4fd0": "#c9a3ff",
    "#c2334d": "#ff8b9c",
    "#0e8a9c": "#5ad4e6",
    "#a3790b": "#e8c04e",
    "#6b7280": "#a9b1bd",
    "#c23a9b": "#ff9ae0",
    "#4f7f16": "#a6d76a",
}


def _rules() -> str:
    """What a dark page changes; a viewer that does not know the rule shows the light colors."""
    rules = [
        f'[style*="{part}: {light}"]{{{part}:{dark}!important}}'
        for light, dark in _DARK.items()
        for part in ("fill", "stroke")
    ]
    return "<style>@media (prefers-color-scheme: dark){" + "".join(rules) + "}</style>"


def set_style() -> None:
    """One look for all pictures; text becomes outlines, so that it looks the same everywhere."""
    plt.rcParams.update(
        {
            "svg.hashsalt": "advdpnp",
            "svg.fonttype": "path",
            "font.family": "DejaVu Sans",
            "font.size": 11,
            "mathtext.fontset": "cm",
            "axes.titlesize": 12,
            "axes.spines.top": False,
            "axes.spines.right": False,
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor", "axes.edgecolor"), INK),
            **dict.fromkeys(("xtick.color", "ytick.color"), INK),
            "axes.facecolor": "none",
            "figure.facecolor": "none",
        }
    )


def write(figure: Figure, path: Path) -> None:
    """Write a figure as SVG, without date, with both sets of colors."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    path.write_text(text.replace("<defs>", _rules() + "\n <defs>", 1))
