"""Images from outside."""

from __future__ import annotations

from advdpnp.report.figures.outside import SETS_PER_FIGURE, accuracy_of_accepted, scores_against, shown_score
from advdpnp.report.ood_tables import TEXT, TITLE, ood_tables
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, file_name, parts, picture


def outside_section(runs: list[RunResults]) -> list[Section]:
    """The part on images from outside, where a run has any: it is no gap where none has."""
    tables, pictures = ood_tables(runs), []
    for run in runs:
        if run.ood is None:
            continue
        names = ", ".join(row.name for row in run.ood.outside)
        for number, part in enumerate(parts(run.ood.outside, SETS_PER_FIGURE), start=1):
            title, score = f"{run.name} ({run.place}): test images and others", shown_score(run.ood)
            alt = f"Histograms of the {score} score and ROC curves of all scores against {names}."
            caption = f"Above: shares of the images by {score} score. Below: ROC curves; dotted, 95 % TPR and chance."
            build = binding(scores_against, run.ood, part)
            pictures.append(picture(file_name(f"outside-{number}", run), title, alt, caption, build))
        if not run.ood.accepting:
            continue
        title = f"{run.name} ({run.place}): accuracy of what is accepted"
        alt = "Line charts of accuracy against the share of accepted test images, clean and attacked."
        caption = "The test images of the highest scores are accepted first. Dotted: accuracy of all of them."
        build = binding(accuracy_of_accepted, run.ood)
        pictures.append(picture(file_name("accepted", run), title, alt, caption, build))
    return [Section("outside", TITLE, TEXT, [], tables, pictures)] if tables else []
