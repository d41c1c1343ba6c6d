"""Common corruptions."""

from __future__ import annotations

from advdpnp.indices import chosen_text, images_text
from advdpnp.report.corruption_tables import corruption_tables, source_text
from advdpnp.report.figures.corruptions import accuracy_against_severity, corruption_maps
from advdpnp.report.figures.drawing import METHODS_PER_FIGURE
from advdpnp.report.read import Result, by_method
from advdpnp.report.sections.section import Section, binding, parts, picture


def corruptions_section(groups: list[list[Result]]) -> list[Section]:
    """The part on common corruptions, where a result has any: it is no gap where none has."""
    tables, pictures = [], []
    for results in groups:
        tables += corruption_tables(results)
        data, backbone, _, n, indices = results[0].group
        source = results[0].suite.corruption_source
        chosen = chosen_text(indices, n)
        place, name = f"{results[0].place}{chosen}", f"{data}-{backbone}-{n}{chosen}-{source}"
        names = ", ".join(dict.fromkeys(result.run.method for result in results))
        images = f"{images_text(indices, n)}; corrupted images: {source_text(results)}."
        title = f"{place}: accuracy falls as corruptions grow ({source})"
        alt = f"Line chart of the mean accuracy over corruptions against their severity for {names}."
        build = binding(accuracy_against_severity, results)
        pictures.append(picture(f"severity-{name}", title, alt, f"{images} Accuracy does not begin at 0.", build))
        for number, part in enumerate(parts(by_method(results), METHODS_PER_FIGURE), start=1):
            names = ", ".join(seeds[0].run.method for seeds in part)
            title, alt = f"{place}: each corruption ({source})", f"Heat map of accuracies by corruption, {names}."
            build = binding(corruption_maps, part)
            pictures.append(
                picture(
                    f"corruptions-{name}-{number}", title, alt, f"{images} In percent; below, the mean of all.", build
                )
            )
    text = (
        "What is left of the accuracy under 19 common corruptions at five severities (Hendrycks and Dietterich 2019). "
        "Generated images have the authors' constants, but are not the published ones: their numbers compare with each "
        "other, and not with Table 5 and Figure 3 of the paper."
    )
    return [Section("corruptions", "Common corruptions", text, [], tables, pictures)] if tables else []
