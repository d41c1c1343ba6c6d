"""Which classes are taken for which."""

from __future__ import annotations

from advdpnp.report.figures.confusion import confusion_maps
from advdpnp.report.read import RunResults
from advdpnp.report.sections.section import Section, binding, drawn, file_name, lacking, picture

# Pairs of classes that the caption names.
_PAIRS = 5
# More names than this are numbers at the axes.
_NAMED = 30


def confusion_section(runs: list[RunResults]) -> list[Section]:
    """The part on confusion, where a run has any: it is no gap where none has."""
    pictures = []
    shown, left_out = drawn(runs, lambda run: run.illustration)
    for run, found in shown:
        pairs = ", ".join(found.confused_texts("adversarial", _PAIRS)) or "none"
        numbers = (
            " Classes are numbered in the order of their data set; colors follow the root of the share."
            if len(found.class_names) > _NAMED
            else ""
        )
        title = f"{run.name} ({run.place}): which classes are taken for which"
        alt = (
            f"Two heat maps of true against predicted class, clean and attacked; {found.accuracy('clean'):.1%} and "
            f"{found.accuracy('adversarial'):.1%} of the images are on the diagonal."
        )
        caption = (
            f"{found.images[0].upper()}{found.images[1:]}; {found.key.details}. Most often confused under attack: "
            f"{pairs}.{numbers}"
        )
        pictures.append(picture(file_name("confusion", run), title, alt, caption, binding(confusion_maps, found)))
    text = (
        "Of the images of each class (rows), the share that the network takes for each class (columns); on the "
        "diagonal it is right. Gray: no images. The same images on both sides; of several seeds the first is drawn."
        + left_out
    )
    missing = lacking([run for run in runs if not run.foreign], lambda run: run.illustration)
    return [Section("confusion", "Confused classes", text, missing, pictures=pictures)] if pictures else []
