"""Features wider than two, in a plane."""

from __future__ import annotations

from advdpnp.attack_words import attack_name
from advdpnp.indices import image_count
from advdpnp.report.figures.projection import projections
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, drawn, file_name, picture


def projection_section(runs: list[RunResults]) -> list[Section]:
    """The part on projected features, where a run has any: it is no gap where none has."""
    pictures = []
    shown, left_out = drawn(runs, lambda run: run.projection)
    for run, found in shown:
        n, attack = len(found.labels), attack_name(found.attack)
        title = f"{run.name} ({run.place}): features, projected"
        alt = (
            f"Scatter plots of the features of {image_count(n)} by class, clean and under {attack}: by PCA, whose two "
            f"components have {found.explained.sum():.0%} of the variance, and by t-SNE."
        )
        caption = (
            f"{image_count(n)}, clean and under {attack}, colored by true class; stars: {found.stars}. The plane of "
            f"PCA has {found.explained.sum():.0%} of the variance of these features."
        )
        pictures.append(picture(file_name("projection", run), title, alt, caption, binding(projections, found)))
    text = (
        "Features of many dimensions in two, clean and attacked ones together, on the scale on which the network "
        "compares them with its class centers (a cosine classifier's have length 1). PCA is a flat view: what looks "
        "apart in it is apart, what overlaps may be apart in other directions. t-SNE keeps neighbors together and "
        "nothing else: distances between clusters, their sizes and the space between them mean nothing. The table of "
        "the geometry measures; these pictures illustrate. Of several seeds the first is drawn." + left_out
    )
    return [Section("projection", "Features, projected", text, [], pictures=pictures)] if pictures else []
