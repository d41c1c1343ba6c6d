"""The figure of a stored audit: robust accuracy against eps, after each attack, and the loss along the gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advdpnp.report.figures.drawing import FAINT, new_figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INKS = {"no sign of masking": "#00695C", "suspicious": "#B45309", "masked": "#B91C1C", "refused": "#B91C1C"}
_LINE = "#0072B2"


def audit_figure(stored: dict[str, Any]) -> str:
    """SVG of an audit, as eval/audit.json has it; the same audit gives the same bytes."""
    return to_svg(lambda: audit_panels(stored), f"masking audit: {stored['verdict']}")


def audit_panels(stored: dict[str, Any]) -> Figure:
    """The three panels of an audit's figure."""
    figure = new_figure(10.0, 3.2)
    eps, attacks, along = figure.subplots(1, 3)
    curves = stored.get("curves") or {}
    _accuracy_against_eps(eps, curves.get("eps") or {}, stored)
    _after_attacks(attacks, curves.get("attacks") or {}, stored)
    _along(along, curves.get("along") or {})
    figure.suptitle(f"masking audit: {stored['verdict']}", color=_INKS[stored["verdict"]], fontsize=11)
    return figure


def _empty(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center", color=FAINT)


def _accuracy_against_eps(axes: Axes, curve: dict[str, Any], stored: dict[str, Any]) -> None:
    axes.set(title="margin PGD-20, larger eps", xlabel=f"eps ({stored['norm']})", ylabel="robust accuracy (%)")
    if not curve:
        return _empty(axes)
    axes.plot(curve["eps"], [100 * value for value in curve["accuracy"]], "o-", color=_LINE, markersize=3)
    axes.set_xscale("symlog", linthresh=max(curve["eps"][1], 1e-9))
    axes.set_ylim(-3, 103)
    return None


def _after_attacks(axes: Axes, left: dict[str, float], stored: dict[str, Any]) -> None:
    axes.set(title="left standing, attack after attack", xlabel="robust accuracy (%)")
    if not left:
        return _empty(axes)
    names = list(left)
    axes.barh(names, [100 * left[name] for name in names], color=_LINE, height=0.7)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.tick_params(axis="y", labelsize=7)
    return None


def _along(axes: Axes, curve: dict[str, Any]) -> None:
    axes.set(title="margin along the gradient", xlabel="step / eps", ylabel="rise / median clean margin")
    if not curve:
        return _empty(axes)
    axes.plot(curve["shares"], curve["along"], "o-", color=_LINE, markersize=3, label="gradient")
    axes.plot(curve["shares"], curve["across"], "o--", color=FAINT, markersize=3, label="random signs")
    axes.legend(fontsize=7)
    return None
