"""What training against linf gives in other norms: accuracy there as a share of the clean accuracy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from advdpnp.indices import image_count
from advdpnp.report import published
from advdpnp.report.declared_metrics import MISSING
from advdpnp.report.published.departures import WITHOUT_ATTACK, on_the_papers_images
from advdpnp.report.read import Result, by_method
from advdpnp.report.tables import Cell, Column, Row, Table, attack_keys, percent, published_row, spread
from advdpnp.results import AttackKey


def norm_transfer(results: list[Result]) -> Table | None:
    """Accuracy under attacks in several norms, with its share of the clean one, of networks trained against linf.

    Args:
        results: that may be compared, see `advdpnp.report.read.grouped`.
    Returns:
        None where there is no attack in another norm than linf, or no network that was trained against linf.
    """
    trained = [result for result in results if _trained_norm(result) == "linf"]
    keys = attack_keys(trained)
    if all(key.norm == "linf" for key in keys):
        return None
    rows: list[Row] = []
    for _, of_defense in groupby(by_method(trained), key=lambda seeds: seeds[0].run.defense):
        methods = list(of_defense)
        rows += [_row(seeds, keys) for seeds in methods]
        rows += _printed(methods[0][0], keys)
    first = trained[0]
    return Table(
        title=f"{first.place}: from ℓ∞ to other norms, {first.suite.name} suite",
        caption=f"Accuracy in percent on {image_count(first.suite.n)} of networks trained against ℓ∞ alone, and how "
        "much of the clean accuracy that is; of several seeds the mean. In ℓ1 the attack decides: steps of single "
        "pixels are weak.",
        columns=[Column("Clean"), *(Column(key.label, key.budget, key.details) for key in keys)],
        rows=rows,
        footnotes=[],
    )


def _trained_norm(result: Result) -> str:
    """Norm that a network was trained against; "" where it is not known, or where there was no attack."""
    if result.run.foreign or result.run.defense in WITHOUT_ATTACK:
        return ""
    return str(result.run.config["recipe"]["attack"].get("norm", "linf"))


def _row(seeds: Sequence[Result], keys: list[AttackKey]) -> Row:
    n, clean = seeds[0].suite.n, spread([seed.suite.clean for seed in seeds]).value
    found = [[seed.suite.attacks[key] for seed in seeds if key in seed.suite.attacks] for key in keys]
    cells = [_cell(spread(values).value if values else None, clean, n) for values in found]
    kind, source = ("run", seeds[0].source) if len(seeds) == 1 else ("mean", f"mean of {len(seeds)} seeds")
    return Row(kind, seeds[0].run.defense, seeds[0].run.method, source, [Cell(percent(clean, n), value=clean), *cells])


def _cell(accuracy: float | None, clean: float, n: int) -> Cell:
    if accuracy is None:
        return Cell(MISSING)
    share = f"{100 * accuracy / clean:.0f} % of clean" if clean else ""
    return Cell(percent(accuracy, n), value=accuracy, difference=share)


def _printed(result: Result, keys: list[AttackKey]) -> Iterator[Row]:
    """The same of Table 1 of the paper, where the attacks and images are its own."""
    printed = published.accuracies(result.suite.data, result.run.backbone, result.run.defense)
    if printed is None or printed.clean is None or not on_the_papers_images(result):
        return
    clean, numbers = printed.clean / 100, [printed.attack(key) for key in keys]
    if any(number is not None for number in numbers):
        cells = [_cell(None if number is None else number / 100, clean, result.suite.n) for number in numbers]
        yield published_row(result, [Cell(f"{printed.clean:.2f}", value=clean), *cells])
