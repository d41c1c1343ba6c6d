"""The report as files: one self-contained page with tables and figures, the tables as CSV and LaTeX, figures as SVG."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advdpnp.attack_words import attack_name
from advdpnp.indices import of_the_first, short_indices
from advdpnp.report import figures, ood_figures, ood_section
from advdpnp.report.corruption_tables import corrupted, corruption_tables, source_text
from advdpnp.report.methods import color
from advdpnp.report.paper_tables import CAPTION, paper_csv, paper_tables
from advdpnp.report.radius_table import radius_table
from advdpnp.report.read import Result, RunResults, by_method, grouped, read_runs, together
from advdpnp.report.summary import findings, origin, scope
from advdpnp.report.tables import Table, accuracy_table, attack_keys, geometry_table, mark, to_csv, to_latex
from advdpnp.runs import write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure: file name without suffix, heading, what it shows in words, how to read it, and the SVG itself."""

    name: str
    title: str
    alt: str
    caption: str
    svg: str

    @property
    def source(self) -> str:
        """The SVG as a data URI, which keeps its ids apart from those of other figures."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg.encode()).decode("ascii")


@dataclass(frozen=True)
class Section:
    """A part of the page. `missing` names the runs for which it was not measured."""

    anchor: str
    title: str
    text: str
    missing: list[str]
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def _picture(name: str, title: str, alt: str, caption: str, build: Callable[[], Figure]) -> Picture:
    return Picture(re.sub(r"[^A-Za-z0-9.+-]+", "-", name), title, alt, caption, figures.to_svg(build, title))


def _file(kind: str, run: RunResults) -> str:
    variant = f"{run.defense}+{run.tag}" if run.tag else run.defense
    return f"{kind}-{run.data}-{run.backbone}-{variant}-seed-{run.seed}"


def _lacking(runs: list[RunResults], has: Callable[[RunResults], Any]) -> list[str]:
    return [f"{run.name} ({run.place})" for run in runs if not has(run)]


def _results(runs: list[RunResults], tables: list[Table]) -> Section:
    text = (
        "Bold: the highest measured value of a column. An interval says what another draw of test images would change, "
        "not what another training seed would; the command advdpnp compare tests two runs image by image. Published "
        "rows are what the paper prints for attacks of the same norm, radius and number of steps."
    )
    return Section("results", "Accuracy", text, _lacking(runs, lambda run: run.suites), tables)


def _paper(runs: list[RunResults]) -> list[Section]:
    """The paper's own tables, where any of them has a place for these runs."""
    tables = paper_tables(runs)
    return [Section("paper", "Beside the paper", CAPTION, [], tables)] if tables else []


def _curves(runs: list[RunResults]) -> Section:
    pictures = []
    for results in together([Result(run, curve) for run in runs for curve in run.curves]):
        data, backbone, suite, n, indices = results[0].group
        # Of chosen images; there may be several sets of them.
        chosen = "" if of_the_first(indices, n) else f" ({short_indices(indices)})"
        attack = attack_keys(results)[0].label
        names = list(dict.fromkeys(result.run.method for result in results))
        build = _binding(figures.accuracy_against_eps, results)
        # Further ones than `curve` are told apart by their attack.
        further = "" if suite == "curve" else f" under {attack}"
        title = f"{results[0].place}: accuracy{further} falls as the perturbation grows{chosen}"
        alt = f"Line chart of accuracy under {attack} against its radius for {', '.join(names)}."
        caption = (
            f"{n:,} test images{chosen}, {attack} at each radius; at 0 the clean accuracy. Bands: 95 % Wilson "
            "intervals, from the lowest to the highest seed where there are several."
        )
        name = f"accuracy-against-eps-{data}-{backbone}-{n}{chosen}" + (f"-{suite}" if further else "")
        pictures.append(_picture(name, title, alt, caption, build))
    text = (
        "As the radius grows, accuracy must fall to zero; a curve that levels off above it points to masked gradients."
    )
    missing = _lacking(runs, lambda run: run.curves)
    return Section("curve", "Accuracy against the radius of the attack", text, missing, pictures=pictures)


def _radii(groups: list[list[Result]]) -> list[Section]:
    """The part on the smallest eps, where a result has any: it is no gap where none has."""
    tables = [table for table in map(radius_table, groups) if table is not None]
    text = "How large a perturbation must be, image by image, as far as a search for the nearest one has found out."
    return [Section("smallest-eps", "The smallest eps of each image", text, [], tables)] if tables else []


def _corruptions(groups: list[list[Result]]) -> list[Section]:
    """The part on common corruptions, where a result has any: it is no gap where none has."""
    tables, pictures = [], []
    for results in groups:
        tables += corruption_tables(results)
        data, backbone, _, n, indices = results[0].group
        source = results[0].suite.corruption_source
        chosen = "" if of_the_first(indices, n) else f" ({short_indices(indices)})"
        place, name = f"{results[0].place}{chosen}", f"{data}-{backbone}-{n}{chosen}-{source}"
        names = ", ".join(dict.fromkeys(result.run.method for result in results))
        images = f"{n:,} test images{chosen}; corrupted images: {source_text(results)}."
        title = f"{place}: accuracy falls as corruptions grow ({source})"
        alt = f"Line chart of the mean accuracy over corruptions against their severity for {names}."
        build = _binding(figures.accuracy_against_severity, results)
        pictures.append(_picture(f"severity-{name}", title, alt, f"{images} At 0 the clean accuracy.", build))
        for number, part in enumerate(_parts(by_method(results), figures.METHODS_PER_FIGURE), start=1):
            names = ", ".join(seeds[0].run.method for seeds in part)
            title, alt = f"{place}: each corruption ({source})", f"Heat map of accuracies by corruption, {names}."
            build = _binding(figures.corruption_maps, part)
            pictures.append(_picture(f"corruptions-{name}-{number}", title, alt, f"{images} In percent.", build))
    text = (
        "What is left of the accuracy under 19 common corruptions at five severities (Hendrycks and Dietterich 2019). "
        "Generated images have the authors' constants, but are not the published ones: their numbers compare with each "
        "other, and not with Table 5 and Figure 3 of the paper."
    )
    return [Section("corruptions", "Common corruptions", text, [], tables, pictures)] if tables else []


def _outside(runs: list[RunResults]) -> list[Section]:
    """The part on images from outside, where a run has any: it is no gap where none has."""
    tables, pictures = ood_section.ood_tables(runs), []
    for run in runs:
        if run.ood is None:
            continue
        names = ", ".join(row.name for row in run.ood.outside)
        for number, part in enumerate(_parts(run.ood.outside, ood_figures.SETS_PER_FIGURE), start=1):
            title, score = f"{run.name} ({run.place}): test images and others", ood_figures.shown_score(run.ood)
            alt = f"Histograms of the {score} score and ROC curves of all scores against {names}."
            caption = f"Above: shares of the images by {score} score. Below: ROC curves; dotted, 95 % TPR and chance."
            build = _binding(ood_figures.scores_against, run.ood, part)
            pictures.append(_picture(_file(f"outside-{number}", run), title, alt, caption, build))
        title = f"{run.name} ({run.place}): accuracy of what is accepted"
        alt = "Line charts of accuracy against the share of accepted test images, clean and attacked."
        caption = "The test images of the highest scores are accepted first. Dotted: accuracy of all of them."
        build = _binding(ood_figures.accuracy_of_accepted, run.ood)
        pictures.append(_picture(_file("accepted", run), title, alt, caption, build))
    return [Section("outside", ood_section.TITLE, ood_section.TEXT, [], tables, pictures)] if tables else []


def _geometry(runs: list[RunResults], groups: list[list[Result]]) -> Section:
    tables = [table for table in map(geometry_table, groups) if table is not None]
    missing = _lacking(runs, lambda run: any(suite.geometry for suite in run.suites))
    text = "How tightly features gather around their class, and how far classes are apart (Eqs. 8 to 12 of the paper)."
    return Section("geometry", "Geometry of the features", text, missing, tables)


def _images(runs: list[RunResults]) -> Section:
    pictures = []
    for run in runs:
        if run.samples is None:
            continue
        attack, factor = attack_name(run.samples.attack), figures.amplification(run.samples)
        shown = min(len(run.samples.labels), figures.IMAGES_PER_STRIP)
        wrong = int((run.samples.adversarial_predictions != run.samples.labels)[:shown].sum())
        title = f"{run.name} ({run.place})"
        alt = f"{shown} test images, clean and under {attack}; {wrong} of the adversarial ones are misclassified."
        caption = (
            f"{attack}: {wrong} of {shown} adversarial images are misclassified. Below each image the predicted class, "
            f"✓ right or ✗ wrong. Perturbation × {factor}; gray is 0."
        )
        build = _binding(figures.attacked_images, run.samples)
        pictures.append(_picture(_file("images", run), title, alt, caption, build))
    text = "The same images for every run, each attacked anew. A few images illustrate; the tables measure."
    return Section("images", "Adversarial images", text, _lacking(runs, lambda run: run.samples), pictures=pictures)


def _plane(runs: list[RunResults]) -> Section:
    pictures = []
    for run in runs:
        if run.embedding is None:
            continue
        attack, n = attack_name(run.embedding.attack), len(run.embedding.labels)
        title = f"{run.name} ({run.place})"
        alt = f"Scatter plots of the two features of {n} test images by class, clean and under {attack}."
        caption = f"{n:,} test images, colored by true class. Stars: class centers; rays lead to them from the origin."
        build = _binding(figures.feature_plane, run.embedding)
        pictures.append(_picture(_file("features", run), title, alt, caption, build))
    text = "Features of networks whose embedding has two dimensions, as in Figure 2 of the paper: nothing is projected."
    # Wider embeddings are no gap in the measurements, unless there is no picture at all.
    missing = [] if pictures else _lacking(runs, lambda run: run.embedding)
    return Section("features", "Features in the plane", text, missing, pictures=pictures)


def _training(runs: list[RunResults]) -> Section:
    trained = [run for run in runs if run.epochs]
    terms, pictures = figures.term_names(trained), []
    for place, members in groupby(trained, key=lambda run: run.place):
        by_method = groupby(members, key=lambda run: (run.defense, run.tag))
        methods = [list(seeds) for _, seeds in by_method]
        for number, part in enumerate(_parts(methods, figures.METHODS_PER_FIGURE), start=1):
            names = ", ".join(seeds[0].method for seeds in part)
            title = f"{place}: training of {names}"
            alt = f"Small multiples by epoch for {names}: loss terms, held-out accuracy, angles between class centers."
            caption = (
                "Terms as they enter the sum that is minimized, weights included. Held-out accuracy is on training "
                "images set aside, attacked with the attack of training. Seeds are drawn over each other."
            )
            build = _binding(figures.training_curves, part, terms)
            pictures.append(_picture(f"training-{place}-{number}", title, alt, caption, build))
    missing = _lacking(runs, lambda run: run.epochs)
    return Section("training", "Training", "", missing, pictures=pictures)


def _binding(draw: Callable[..., Figure], *arguments: Any) -> Callable[[], Figure]:
    return lambda: draw(*arguments)


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Items in as few parts of at most `size` as can be, as even as can be."""
    count = -(-len(items) // size)
    for part in range(count):
        yield items[part * len(items) // count : (part + 1) * len(items) // count]


def _sections(runs: list[RunResults], groups: list[list[Result]], tables: list[Table]) -> list[Section]:
    """All parts of the page but the last, in order; those without tables and pictures were not measured."""
    # Of networks from elsewhere, accuracy alone is measured.
    ours = [run for run in runs if not run.foreign]
    return [
        _results(runs, tables),
        *_paper(runs),
        _curves(runs),
        *_radii(groups),
        *_corruptions(corrupted(groups)),
        *_outside(runs),
        _geometry(ours, groups),
        _images(ours),
        _plane(ours),
        _training(ours),
    ]


def _render(**content: Any) -> str:
    import jinja2

    template = Path(__file__).with_name("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(template).render(content)


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_report(runs: list[Path], out: Path, title: str | None = None) -> Path:
    """Write index.html, results.csv, results.tex and figures/*.svg from the stored results of runs.

    Where the runs have a place in the tables of the paper, paper.csv has those.

    Args:
        runs: run folders, runs/<data>/<backbone>/<defense>[+tag]/seed-<n>, in any order.
        out: folder of the report; files of an earlier report in it are replaced.
        title: heading of the page.
    Returns:
        Path of index.html, which needs no other file and no network. The same runs give the same bytes.
    Raises:
        FileNotFoundError: a folder holds no run.
        ValueError: no runs, the same run twice, or a damaged file, which is named.
    """
    stored = read_runs(runs)
    groups = grouped(stored)
    # Of a result without attacks that measures corruptions, the clean accuracy is with these.
    attacked = [group for group in groups if not all(one.suite.corruptions and not one.suite.rows for one in group)]
    accuracies = list(map(accuracy_table, attacked))
    parts = _sections(stored, groups, accuracies)
    places = list(dict.fromkeys(run.place for run in stored))
    page = _render(
        title=title or f"Robust accuracy: {', '.join(places)}",
        scope=scope(stored, groups),
        findings=[text for group in attacked for text in findings(group)],
        sections=parts,
        origins=list(map(origin, stored)),
        color=color,
        mark=mark,
    )
    for picture in (picture for part in parts for picture in part.pictures):
        _write(out / "figures" / f"{picture.name}.svg", picture.svg)
    listed = [table for group in corrupted(groups) for table in corruption_tables(group)]
    _write(out / "results.csv", to_csv([*accuracies, *listed]))
    if beside := [table for part in parts if part.anchor == "paper" for table in part.tables]:
        _write(out / "paper.csv", paper_csv(beside))
    _write(out / "results.tex", "\n".join(to_latex(table) for part in parts for table in part.tables))
    _write(out / "index.html", page)
    return out / "index.html"
