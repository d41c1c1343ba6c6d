"""Features in the plane."""

from __future__ import annotations

from advdpnp.attack_words import attack_name
from advdpnp.illustrations import Illustration
from advdpnp.indices import image_count
from advdpnp.report.figures.plane import feature_plane
from advdpnp.report.published.departures import figure_2_departures
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, file_name, lacking, picture

_STARS = "Stars: class centers; rays lead to them from the origin."


def plane_section(runs: list[RunResults]) -> Section:
    pictures = []
    for run in runs:
        if run.embedding is None:
            continue
        n, drawn = len(run.embedding.labels), _illustration_of(run)
        attack = attack_name(run.embedding.attack) if drawn is None else drawn.key.details
        title = f"{run.name} ({run.place})"
        alt = f"Scatter plots of the two features of {image_count(n)} by class, clean and under {attack}."
        rows = drawn is not None and drawn.centers == "rows"
        centers = "Dashed: directions of the rows of the linear layer." if rows else _STARS
        departures = "; ".join(figure_2_departures(run, drawn))
        caption = f"{image_count(n)}, colored by true class; {attack}. {centers} " + (
            f"Not the protocol of the paper's Figure 2: {departures}." if departures else "Figure 2's protocol."
        )
        build = binding(feature_plane, run.embedding, rows)
        pictures.append(picture(file_name("features", run), title, alt, caption, build))
    text = "Features of networks whose embedding has two dimensions, as in Figure 2 of the paper: nothing is projected."
    # Wider embeddings are no gap in the measurements, unless there is no picture at all.
    missing = [] if pictures else lacking(runs, lambda run: run.embedding)
    return Section("features", "Features in the plane", text, missing, pictures=pictures)


def _illustration_of(run: RunResults) -> Illustration | None:
    """What is told of the features that are stored; None where they are of an earlier version, or another attack."""
    told, drawn = run.illustration, run.embedding
    if told is None or drawn is None or told.n != len(drawn.labels):
        return None
    return told if f"{told.key.label}, {told.key.budget}" == attack_name(drawn.attack) else None
