"""Accuracy against the radius of the attack."""

from __future__ import annotations

from advdpnp.indices import of_the_first, short_indices
from advdpnp.report.figures.radius import accuracy_against_eps
from advdpnp.report.read import Result, RunResults, together
from advdpnp.report.sections.section import Section, binding, lacking, picture
from advdpnp.report.tables import attack_keys


def curves_section(runs: list[RunResults]) -> Section:
    pictures = []
    for results in together([Result(run, curve) for run in runs for curve in run.curves]):
        data, backbone, suite, n, indices = results[0].group
        # Of chosen images; there may be several sets of them.
        chosen = "" if of_the_first(indices, n) else f" ({short_indices(indices)})"
        attack = attack_keys(results)[0].label
        names = list(dict.fromkeys(result.run.method for result in results))
        build = binding(accuracy_against_eps, results)
        # Further ones than `curve` are told apart by their attack.
        further = "" if suite == "curve" else f" under {attack}"
        title = f"{results[0].place}: accuracy{further} falls as the perturbation grows{chosen}"
        alt = f"Line chart of accuracy under {attack} against its radius for {', '.join(names)}."
        caption = (
            f"{n:,} test images{chosen}, {attack} at each radius; at 0 the clean accuracy. Bands: 95 % Wilson "
            "intervals, from the lowest to the highest seed where there are several."
        )
        name = f"accuracy-against-eps-{data}-{backbone}-{n}{chosen}" + (f"-{suite}" if further else "")
        pictures.append(picture(name, title, alt, caption, build))
    text = (
        "As the radius grows, accuracy must fall to zero; a curve that levels off above it points to masked gradients."
    )
    missing = lacking(runs, lambda run: run.curves)
    return Section("curve", "Accuracy against the radius of the attack", text, missing, pictures=pictures)
