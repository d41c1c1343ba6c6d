"""Tables of a report as values: accuracy under each attack, geometry, and the same as CSV and LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from advdpnp.report import published
from advdpnp.report.declared import MISSING, Declared, declared, number
from advdpnp.report.names import attack_name, method_name
from advdpnp.report.read import MEAN_SEPARATION, PAIRWISE
from advdpnp.report.stored import Accuracy, AttackKey, Run, Suite

# Test images of the data sets that the paper reports; a run on any other is not the paper's protocol.
PAPER_TEST_IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "mnist": 10_000, "svhn": 26_032}
# Of CIFAR-10-C, one corruption at one severity; its own order is severity by severity.
CORRUPTED, SEVERITIES = "cifar10-c/", 5
# Section 4.1, for every model: field of the recipe -> its name in words, its value.
PAPER_RECIPE = {
    "epochs": ("epochs", 110),
    "lr": ("learning rate", 0.1),
    "momentum": ("momentum", 0.9),
    "weight_decay": ("weight decay", 5e-4),
    "batch_size": ("images per batch", 128),
}


@dataclass(frozen=True)
class Column:
    """Head of a column: what was measured, its budget, and the whole protocol in words."""

    head: str
    budget: str = ""
    details: str = ""


@dataclass(frozen=True)
class Cell:
    """A number as it is printed, with the fractions behind it, and whether it is the best of its column."""

    text: str
    interval: str = ""
    value: float | None = None
    limits: tuple[float, float] | None = None
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        kind: "run", "mean" (of several seeds) or "published" (printed in the paper).
        defense: name of the defense, as in the configuration.
        method: the method as people call it.
        source: seed, recipe and checkpoint, or where else the numbers are from.
        cells: one for each column.
        compared: whether this row stands for its method when the best of a column is sought.
        notes: indices of the footnotes that hold for it.
    """

    kind: str
    defense: str
    method: str
    source: str
    cells: list[Cell]
    compared: bool = False
    notes: tuple[int, ...] = ()
    backbone: str = ""


@dataclass(frozen=True)
class Table:
    """One table: all rows were measured on the same images."""

    title: str
    caption: str
    columns: list[Column]
    rows: list[Row]
    footnotes: list[str]


@dataclass(frozen=True)
class Result:
    """One suite of one run: the unit of which tables are made."""

    run: Run
    suite: Suite

    @property
    def group(self) -> tuple[str, str, str, int, str]:
        """Results with the same group stand in one table: the same test set, backbone, suite and images."""
        return (self.suite.data, self.run.backbone, self.suite.name, self.suite.n, self.suite.indices)

    @property
    def images(self) -> tuple[str, str, int, str]:
        """The group without the backbone, which a network from elsewhere has none of ours."""
        return (self.suite.data, self.suite.name, self.suite.n, self.suite.indices)

    @property
    def place(self) -> str:
        """Data and backbone, and the test set where it is another."""
        if self.run.foreign:
            return self.suite.data
        return self.run.place + (f" on {self.suite.data}" if self.suite.data != self.run.data else "")

    @property
    def source(self) -> str:
        """Seed, recipe and checkpoint."""
        return self.checkpoint if self.run.foreign else f"seed {self.run.seed}, {self.checkpoint}"

    @property
    def checkpoint(self) -> str:
        if self.run.foreign:
            return f"weights {self.suite.checkpoint}" if self.run.foreign["weights"] else self.suite.checkpoint
        return f"{self.run.recipe} recipe, {self.suite.checkpoint} checkpoint"

    @property
    def accuracies(self) -> dict[AttackKey | str, Accuracy]:
        """Accuracies by column."""
        ends: dict[AttackKey | str, Accuracy] = {"clean": self.suite.clean, "worst case": self.suite.worst_case}
        return ends | dict(self.suite.attacks)


def grouped(runs: list[Run]) -> list[list[Result]]:
    """Results that may be compared: one list per data, backbone, suite and images, each in the order of the runs."""
    return together([Result(run, suite) for run in runs for suite in run.suites])


def together(results: list[Result]) -> list[list[Result]]:
    """Results in lists that may be compared; a network from elsewhere joins every list of its images."""
    ours = sorted((result for result in results if not result.run.foreign), key=lambda result: result.group)
    foreign = sorted((result for result in results if result.run.foreign), key=lambda result: result.images)
    groups = [list(group) for _, group in groupby(ours, key=lambda result: result.group)]
    for images, members in groupby(foreign, key=lambda result: result.images):
        guests = list(members)
        hosts = [group for group in groups if group[0].images == images]
        for host in hosts:
            host += guests
        groups += [] if hosts else [guests]
    return groups


def by_method(results: Iterable[Result]) -> list[list[Result]]:
    """The seeds of each method, in order; a recipe or checkpoint of its own makes a method of its own."""
    seeds: dict[tuple[str, ...], list[Result]] = {}
    for result in results:
        seeds.setdefault((result.run.defense, result.run.method, result.checkpoint), []).append(result)
    return list(seeds.values())


def percent(fraction: float, n: int) -> str:
    """A fraction of n images in percent, with no more decimals than n images can tell apart."""
    return f"{100 * fraction:.{2 if n >= 10_000 else 1}f}"


def paper_test_images(data: str) -> int | None:
    """How many test images the paper uses of a data set; None for a data set that it does not report."""
    if data.startswith(CORRUPTED):
        one = PAPER_TEST_IMAGES["cifar10"]
        return one if data.count("/") == 2 else one * SEVERITIES
    return PAPER_TEST_IMAGES.get(data)


def departures(result: Result) -> list[str]:
    """What sets a result apart from the protocol of the paper, in words; empty if nothing does."""
    run, suite, found = result.run, result.suite, []
    images = paper_test_images(suite.data)
    if images is None:
        found.append(f"{suite.data} is not a data set of the paper")
    elif suite.n != images or suite.indices != f"0-{suite.n - 1}":
        found.append(f"{suite.n:,} of {images:,} test images")
    if suite.search_precision != "fp32":
        found.append(f"attacks searched in {suite.search_precision}")
    found += suite.notes
    if run.foreign:
        return [*found, "a network from elsewhere, whose training is not known here", *suite.warnings]
    recipe = run.config["recipe"]
    if run.recipe != "paper":
        held_out = recipe.get("holdout", 0)
        found.append(f"recipe “{run.recipe}”" + (f": {held_out:,} training images held out" if held_out else ""))
    if run.data in PAPER_TEST_IMAGES:
        found += _other_settings(recipe)
    if recipe.get("train_images"):
        found.append(f"trained on {recipe['train_images']:,} images")
    if suite.checkpoint != "last":
        found.append(f"{suite.checkpoint} checkpoint (epoch {suite.epoch})")
    return found


def _other_settings(recipe: dict[str, Any]) -> Iterator[str]:
    """Where a recipe is not that of section 4.1, in words; what an old run did not record is taken as equal."""
    for field, (words, printed) in PAPER_RECIPE.items():
        value = recipe.get(field, printed)
        if value != printed:
            yield f"{value} {words}, not {printed}" if isinstance(printed, int) else f"{words} {value}, not {printed}"
    augmentation = recipe.get("augmentation", {"padding": 4, "flip": True})
    lacking = [name for name, field in (("crop", "padding"), ("flip", "flip")) if not augmentation[field]]
    if lacking:
        yield f"trained without random {' and '.join(lacking)}"


def _cell(accuracy: Accuracy | None, n: int) -> Cell:
    if accuracy is None:
        return Cell(MISSING)
    interval = f"{percent(accuracy.low, n)}–{percent(accuracy.high, n)}"
    return Cell(percent(accuracy.value, n), interval, accuracy.value, (accuracy.low, accuracy.high))


def spread(seeds: list[Accuracy]) -> Accuracy:
    """Mean of several seeds, with their smallest and largest as limits."""
    values = [seed.value for seed in seeds]
    return Accuracy(sum(values) / len(values), min(values), max(values))


def _published(result: Result, cells: list[Cell]) -> Row:
    defense = result.run.defense
    return Row("published", defense, method_name(defense), "published, arXiv 2504.03782", cells)


def _published_row(result: Result, keys: list[AttackKey]) -> Row | None:
    printed = published.accuracies(result.suite.data, result.run.backbone, result.run.defense)
    if printed is None:
        return None
    worst_case = [printed.worst_case(keys)] if keys else []
    values = [printed.clean, *map(printed.attack, keys), *worst_case]
    cells = [Cell(MISSING) if value is None else Cell(f"{value:.2f}", value=value / 100) for value in values]
    return _published(result, cells)


def _method_rows(seeds: list[Result], columns: list[AttackKey | str], footnotes: list[str]) -> Iterator[Row]:
    n, alone = seeds[0].suite.n, len(seeds) == 1
    for result in seeds:
        cells = [_cell(result.accuracies.get(column), n) for column in columns]
        notes = tuple(sorted(map(footnotes.index, departures(result))))
        yield Row("run", result.run.defense, result.run.method, result.source, cells, alone, notes, result.run.backbone)
    if not alone:
        measured = [[seed.accuracies[column] for seed in seeds if column in seed.accuracies] for column in columns]
        cells = [_cell(spread(values) if values else None, n) for values in measured]
        yield Row(
            "mean",
            seeds[0].run.defense,
            seeds[0].run.method,
            f"mean of {len(seeds)} seeds, min to max",
            cells,
            compared=True,
            backbone=seeds[0].run.backbone,
        )


def _mark_best(rows: list[Row]) -> list[Row]:
    """Mark the highest number of each column, one number per method: its mean where there are several seeds."""
    compared = [row for row in rows if row.compared]
    if len(compared) < 2:
        return rows
    columns = zip(*(row.cells for row in compared), strict=True)
    best = [max((cell.value for cell in column if cell.value is not None), default=None) for column in columns]

    def marked(row: Row) -> Row:
        cells = zip(row.cells, best, strict=True)
        return replace(row, cells=[replace(cell, best=top is not None and cell.value == top) for cell, top in cells])

    return [marked(row) if row.compared else row for row in rows]


def attack_keys(results: Iterable[Result]) -> list[AttackKey]:
    """All attacks of these results, in the order in which they first occur."""
    return list(dict.fromkeys(key for result in results for key in result.suite.attacks))


def accuracy_table(results: list[Result]) -> Table:
    """Clean, robust and worst-case accuracy of comparable results (Tables 1 and 2 of the paper).

    Args:
        results: one of the lists of `grouped`.
    Returns:
        One row per run; a mean row after two or more seeds of a method; a published row where the paper prints one.
    """
    keys, first = attack_keys(results), results[0]
    footnotes = list(dict.fromkeys(text for result in results for text in departures(result)))
    columns: list[AttackKey | str] = ["clean", *keys, "worst case"] if keys else ["clean"]
    heads = [Column("Clean"), *(Column(key.label, key.budget, key.details) for key in keys)]
    rows: list[Row] = []
    for _, of_defense in groupby(by_method(results), key=lambda seeds: seeds[0].run.defense):
        for seeds in of_defense:
            rows += _method_rows(seeds, columns, footnotes)
        printed = _published_row(seeds[0], keys)
        rows += [printed] if printed else []
    n = first.suite.n
    return Table(
        title=f"{first.place}: accuracy under the {first.suite.name} suite",
        caption=f"Accuracy in percent on {n:,} test images ({first.suite.indices}); 95 % Wilson interval below each."
        + (" Worst case: right on the clean image and under every attack." if keys else ""),
        columns=[*heads, Column("Worst case", "all of these")] if keys else heads,
        rows=_mark_best(rows),
        footnotes=footnotes,
    )


_STATISTICS = ("fdr_eq8", "fdr_trace_ratio", "fdr_trace_ratio_per_class", "afs", "scr")
_CENTERS = ("scr_floor", MEAN_SEPARATION, "min_separation_degrees")
GEOMETRY_COLUMNS = [
    *(Column(head, "clean | attacked") for head in ("FDR Eq. 8", "FDR W/B", "FDR W/B/C", "AFS", "SCR")),
    *(Column(head, "of centers") for head in ("SCR floor", "MeanSep °", "MinSep °")),
]


def _geometry_cells(
    statistics: Iterable[tuple[float | None, float | None]], floor: float | None, angles: Iterable[float | None]
) -> list[Cell]:
    pairs = [Cell(f"{number(clean)} | {number(attacked)}") for clean, attacked in statistics]
    degrees = [Cell(MISSING if angle is None else f"{angle:.2f}") for angle in angles]
    return [*pairs, Cell(number(floor)), *degrees]


_ALL_PAIRS = (
    "stored by an earlier version, whose MeanSep was the mean angle over all pairs of centers and not that to the "
    "nearest rival (Eq. 11): evaluate the run again"
)


def _without_mean_separation(result: Result) -> list[str]:
    """What is said of a result of an earlier version."""
    stored = result.suite.geometry or {}
    return [_ALL_PAIRS] if PAIRWISE in stored and MEAN_SEPARATION not in stored else []


def _geometry_row(result: Result, more: list[Declared], footnotes: list[str]) -> Row:
    stored = result.suite.geometry or {}
    clean, attacked = stored.get("clean", {}), stored.get("adversarial", {})
    floor, *angles = map(stored.get, _CENTERS)
    cells = _geometry_cells(((clean.get(name), attacked.get(name)) for name in _STATISTICS), floor, angles)
    cells += [Cell(metric.text(stored)) for metric in more]
    notes = tuple(map(footnotes.index, _without_mean_separation(result)))
    return Row("run", result.run.defense, result.run.method, result.source, cells, notes=notes)


def _published_geometry(result: Result, more: list[Declared]) -> Row | None:
    printed = published.geometry(result.suite.data, result.run.backbone, result.run.defense)
    if printed is None:
        return None
    nothing = (None, None)
    statistics = [nothing, nothing, printed["fdr"], printed["afs"], printed["scr"]]
    cells = _geometry_cells(statistics, None, printed["separation"])
    return _published(result, [*cells, *(Cell(MISSING) for _ in more)])


def geometry_table(results: list[Result]) -> Table | None:
    """Geometry of features and class centers (Eqs. 8-12) of comparable results; None if no result has any."""
    measured = [result for result in results if result.suite.geometry]
    if not measured:
        return None
    footnotes = list(dict.fromkeys(text for result in measured for text in _without_mean_separation(result)))
    more = declared(result.suite.geometry or {} for result in measured)
    rows: list[Row] = []
    for _, of_defense in groupby(measured, key=lambda result: result.run.defense):
        members = list(of_defense)
        rows += [_geometry_row(member, more, footnotes) for member in members]
        printed = _published_geometry(members[0], more)
        rows += [printed] if printed else []
    first = measured[0]
    attacks = {(result.suite.geometry or {}).get("adversarial", {}).get("attack", "") for result in measured}
    return Table(
        title=f"{first.place}: geometry of the features, {first.suite.name} suite",
        caption=f"{first.suite.n:,} test images, attacked with {' or '.join(sorted(map(attack_name, attacks)))}. "
        "FDR and AFS: lower is more discriminative. SCR: higher is more separate, but it is a ratio of distances "
        "between features and centers, so it compares only methods in which the two share a scale; features that are "
        "all zero score the floor. FDR is given as Eq. 8 prints it, as the ratio of total within- to between-class "
        "scatter (W/B), and that over the number of classes, the form whose size fits the paper's table. MeanSep: "
        "angle of a center to its nearest rival, averaged over the centers."
        + "".join(f" {metric.head[2]}." for metric in more if metric.better),
        columns=GEOMETRY_COLUMNS + [Column(*metric.head) for metric in more],
        rows=rows,
        footnotes=footnotes,
    )
