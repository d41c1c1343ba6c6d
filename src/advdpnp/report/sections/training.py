"""Training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from advdpnp.report.figures.drawing import METHODS_PER_FIGURE
from advdpnp.report.figures.training import stride, term_names, training_curves
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, lacking, parts, picture


def training_section(runs: list[RunResults]) -> Section:
    trained = [run for run in runs if run.epochs]
    terms, pictures = term_names(trained), []
    for place, members in groupby(trained, key=lambda run: run.place):
        by_method = groupby(members, key=lambda run: run.method)
        methods = [list(seeds) for _, seeds in by_method]
        for number, part in enumerate(parts(methods, METHODS_PER_FIGURE), start=1):
            names = ", ".join(seeds[0].method for seeds in part)
            title = f"{place}: training of {names}"
            alt = (
                f"Small multiples by epoch for {names}: loss terms, held-out accuracy, norms of class centers and "
                "angles between them."
            )
            caption = (
                "Terms as they enter the sum that is minimized, weights included. Held-out accuracy is on training "
                "images set aside, attacked with the attack of training. Class centers are prototypes or rows of the "
                "last layer, before they are put back on their sphere, where a method does so; bands: smallest to "
                "largest norm. Seeds are drawn over each other."
            ) + _left_out([run for seeds in part for run in seeds])
            build = binding(training_curves, part, terms)
            pictures.append(picture(f"training-{place}-{number}", title, alt, caption, build))
    missing = lacking(runs, lambda run: run.epochs)
    return Section("training", "Training", "", missing, pictures=pictures)


def _left_out(runs: Sequence[RunResults]) -> str:
    """Which epochs are not drawn, in words; "" where all are."""
    longest = max(runs, key=lambda run: len(run.epochs))
    if stride(longest) == 1:
        return ""
    return f" Of {len(longest.epochs):,} epochs one in {stride(longest)} is drawn, the first and the last among them."
