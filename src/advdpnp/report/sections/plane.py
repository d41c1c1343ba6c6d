"""Features in the plane."""

from __future__ import annotations

from advdpnp.attack_words import attack_name
from advdpnp.report.figures.plane import feature_plane
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, file_name, lacking, picture


def plane_section(runs: list[RunResults]) -> Section:
    pictures = []
    for run in runs:
        if run.embedding is None:
            continue
        attack, n = attack_name(run.embedding.attack), len(run.embedding.labels)
        title = f"{run.name} ({run.place})"
        alt = f"Scatter plots of the two features of {n} test images by class, clean and under {attack}."
        caption = f"{n:,} test images, colored by true class. Stars: class centers; rays lead to them from the origin."
        build = binding(feature_plane, run.embedding)
        pictures.append(picture(file_name("features", run), title, alt, caption, build))
    text = "Features of networks whose embedding has two dimensions, as in Figure 2 of the paper: nothing is projected."
    # Wider embeddings are no gap in the measurements, unless there is no picture at all.
    missing = [] if pictures else lacking(runs, lambda run: run.embedding)
    return Section("features", "Features in the plane", text, missing, pictures=pictures)
