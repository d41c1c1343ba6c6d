"""Accuracy against the radius of the attack."""

from __future__ import annotations

from advdpnp.indices import chosen_text, images_text
from advdpnp.report.figures.radius import accuracy_against_eps
from advdpnp.report.radius_curves import attack_of_curve, by_suite, comparable_curves, ends
from advdpnp.report.read import Result, RunResults
from advdpnp.report.sections.section import Picture, Section, binding, lacking, picture


def curves_section(runs: list[RunResults]) -> Section:
    text = (
        "As the radius grows, accuracy must fall to zero under an attack of many steps; a curve that levels off above "
        "it points to masked gradients. FGSM is one step, and need not get there."
    )
    missing = lacking(runs, lambda run: run.curves)
    pictures = list(map(_picture, comparable_curves(runs)))
    return Section("curve", "Accuracy against the radius of the attack", text, missing, pictures=pictures)


def _picture(results: list[Result]) -> Picture:
    data, backbone, suite, n, indices = results[0].group
    # Of chosen images; there may be several sets of them.
    chosen = chosen_text(indices, n)
    suites = by_suite(results)
    attacks = " and ".join(map(attack_of_curve, suites))
    names = list(dict.fromkeys(result.run.method for result in results))
    # Further ones than `curve` are told apart by their attacks.
    further = "" if suite == "curve" else f" under {attacks}"
    title = f"{results[0].place}: accuracy{further} falls as the perturbation grows{chosen}"
    alt = f"Line chart of accuracy under {attacks} against the radius for {', '.join(names)}."
    caption = (
        f"{images_text(indices, n)}, {attacks} at each radius; at 0 the clean accuracy. Bands: 95 % Wilson "
        "intervals, from the lowest to the highest seed where there are several. "
    )
    caption += " ".join(sentence for one in suites for sentence in ends(one))
    name = f"accuracy-against-eps-{data}-{backbone}-{n}{chosen}" + ("-figure-4" if further else "")
    return picture(name, title, alt, caption, binding(accuracy_against_eps, results))
