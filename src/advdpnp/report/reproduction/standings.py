"""For every number that the paper prints: what was measured nearest to its row, and whether it is reproduced."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from advdpnp.report.paper_tables import filling_commands
from advdpnp.report.paper_values import Value, number_text, signed_text, value_of
from advdpnp.report.published import departures, training_departures
from advdpnp.report.published.tables import TABLES, PaperTable, Place, PrintedColumn
from advdpnp.report.read import Result, RunResults

Verdict = Literal["reproduced", "not reproduced", "another protocol", "not measured"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "another protocol", "not measured")
# Of what has no interval: averages of two accuracies, in points; losses and geometry, as a share of what is printed.
POINTS, SHARE = 1.0, 0.05


@dataclass(frozen=True)
class Standing:
    """How one number of the paper stands.

    Args:
        column: where it is printed.
        printed: the number.
        verdict: see `VERDICTS`.
        reason: what the verdict rests on, in words.
        ours, interval, difference: as they are shown; "" where nothing was measured.
        source: which runs, and on how many images.
        other_run: whether the run that the row is of lacks it, so that it is another's.
    """

    column: PrintedColumn
    printed: float
    verdict: Verdict
    reason: str = ""
    ours: str = ""
    interval: str = ""
    difference: str = ""
    source: str = ""
    other_run: bool = False

    @property
    def text(self) -> str:
        """The printed number, as the paper has it."""
        return number_text(self.column, self.printed)


@dataclass(frozen=True)
class PaperRow:
    """One row of one of the paper's tables: whose numbers they are, how each stands, and what measures the rest.

    What was measured is of one method and recipe, the nearest to the row as a whole, where that has it.
    """

    place: Place
    standings: list[Standing]
    commands: list[str]

    @property
    def verdict(self) -> str:
        """Such as "2 of 6 reproduced, 1 another protocol, 3 not measured"."""
        found = counted(self.standings)
        others = [f"{count} {verdict}" for verdict, count in found.items() if count and verdict != "reproduced"]
        return ", ".join([f"{found['reproduced']} of {len(self.standings)} reproduced", *others])


class _Found(NamedTuple):
    """What the seeds of one method have of a column, and what sets that apart from the paper's protocol."""

    values: list[Value]
    departed: list[str]


def counted(standings: Iterable[Standing]) -> dict[Verdict, int]:
    """How many numbers have each of the verdicts."""
    found = Counter(one.verdict for one in standings)
    return {verdict: found[verdict] for verdict in VERDICTS}


def paper_rows(runs: Sequence[RunResults]) -> dict[int, list[PaperRow]]:
    """By the number of the paper's table, all of its rows.

    Args:
        runs: everything that was measured, in the order of tables.
    """
    return {number: [_row(table, place, runs) for place in table.rows] for number, table in TABLES.items()}


def _row(table: PaperTable, place: Place, runs: Sequence[RunResults]) -> PaperRow:
    # A variant, such as a term switched off, is another method than the printed one.
    ours = [run for run in runs if (run.data, run.defense) == (place.data, place.defense) and not run.tag]
    measured = [_measured(table, place, seeds) for seeds in _methods(ours)]
    nearest = sorted((one for one in measured if any(one)), key=lambda one: _nearness(one, place), reverse=True)
    numbers = zip(table.columns, table.rows[place], strict=True)
    standings = [
        _standing(column, printed, [found[position] for found in nearest])
        for position, (column, printed) in enumerate(numbers)
    ]
    lacking = any(one.verdict in ("not measured", "another protocol") for one in standings)
    return PaperRow(place, standings, list(_commands(table, place, ours)) if lacking else [])


def _commands(table: PaperTable, place: Place, runs: Sequence[RunResults]) -> Iterator[str]:
    """What measures the row under the paper's protocol."""
    trained = [run for run in runs if run.backbone == place.backbone and not list(training_departures(run))]
    yield from filling_commands(table, place, trained)
    if not trained:
        folder = f"runs/{place.data}/{place.backbone}/{place.defense}/seed-0"
        yield f"advdpnp evaluate {folder} --suite table{table.number}"


def _methods(runs: Iterable[RunResults]) -> Iterator[list[RunResults]]:
    """The seeds of each network and recipe."""
    found: dict[tuple[str, str, str], list[RunResults]] = {}
    for run in runs:
        found.setdefault((run.backbone, run.method, run.recipe), []).append(run)
    yield from found.values()


def _measured(table: PaperTable, place: Place, seeds: Sequence[RunResults]) -> list[_Found | None]:
    """What the seeds of one method have of each column."""
    columns = [[value for run in seeds if (value := value_of(column, run)) is not None] for column in table.columns]
    return [_Found(values, _departures(values, place)) if values else None for values in columns]


def _nearness(row: Sequence[_Found | None], place: Place) -> tuple[int, bool, int, int, int, int, int]:
    """Higher is nearer to a row of the paper: one run's numbers of it come before any of another."""
    found = [one for one in row if one is not None]
    under_protocol = sum(not one.departed for one in found)
    departed = {text for one in found for text in one.departed}
    first = found[0].values[0].result
    epochs = first.run.config["recipe"].get("epochs", 0)
    size = first.suite.n, max(len(one.values) for one in found)
    return under_protocol, first.run.backbone == place.backbone, len(found), -len(departed), epochs, *size


def _standing(column: PrintedColumn, printed: float, nearest: Sequence[_Found | None]) -> Standing:
    """How a number stands beside what each method has of its column, that of the row's own run first."""
    found = next((one for one in nearest if one is not None), None)
    if found is None:
        return Standing(column, printed, "not measured")
    number = sum(value.number for value in found.values) / len(found.values)
    limits = _limits(found.values)
    verdict, reason = _verdict(column, printed, number, limits)
    if found.departed:
        verdict, reason = "another protocol", "; ".join(found.departed)
    return Standing(
        column,
        printed,
        verdict,
        reason,
        ours=number_text(column, number),
        interval="" if limits is None else "–".join(number_text(column, limit) for limit in limits),
        difference=signed_text(column, number - printed),
        source=_source(found.values),
        other_run=found is not nearest[0],
    )


def _departures(values: Sequence[Value], place: Place) -> list[str]:
    backbone = values[0].result.run.backbone
    other = [] if backbone == place.backbone else [f"another architecture: {backbone}, not {place.backbone}"]
    told = (text for value in values for text in (*departures(value.result), *_unfinished(value.result)))
    return [*other, *dict.fromkeys(told)]


def _unfinished(result: Result) -> Iterator[str]:
    """Where the last checkpoint is not that of the last epoch."""
    epoch, epochs = result.suite.epoch, result.run.config["recipe"].get("epochs", 0)
    if result.suite.checkpoint == "last" and epoch is not None and epoch < epochs:
        yield f"after {epoch} of {epochs} epochs"


def _limits(values: Sequence[Value]) -> tuple[float, float] | None:
    """From the lowest to the highest end of the 95 % intervals of the seeds; None where there are none."""
    limits = [value.limits for value in values if value.limits is not None]
    return (min(low for low, _ in limits), max(high for _, high in limits)) if limits else None


def _verdict(
    column: PrintedColumn, printed: float, number: float, limits: tuple[float, float] | None
) -> tuple[Verdict, str]:
    if limits is not None:
        covered = limits[0] <= printed <= limits[1]
        return _of(covered), f"the 95 % interval {'covers' if covered else 'does not cover'} the printed number"
    away = abs(number - printed)
    if column.kind == "average":
        near, most = away <= POINTS, f"{POINTS:g} point"
    else:
        near, most = away <= SHARE * abs(printed), f"{SHARE:.0%}"
    return _of(near), f"{'within' if near else 'more than'} {most} of the printed number"


def _of(reproduced: bool) -> Verdict:
    return "reproduced" if reproduced else "not reproduced"


def _source(values: Sequence[Value]) -> str:
    first = values[0].result
    seeds = f"seed {first.run.seed}" if len(values) == 1 else f"{len(values)} seeds"
    return f"{first.run.method}, {first.run.backbone}, {seeds}, {first.suite.n:,} images"
