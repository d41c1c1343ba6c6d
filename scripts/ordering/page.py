"""docs/paper-order.md, written from stored runs."""

from collections.abc import Iterator, Sequence

from advdpnp.report.methods import method
from advdpnp.report.paper_values import LEVEL, number_text, signed_text
from advdpnp.report.published import training_departures
from ordering.ablations import METRICS as ABLATED
from ordering.ablations import Change, Variant, level, variants
from ordering.metrics import ACCURACIES, BACKBONE, GEOMETRY, METRICS, Metric
from ordering.order import Measured, Order, order_of
from ordering.runs import Runs
from page_table import table

_HEAD = """\
# The order of the methods, beside the paper's

The paper trains its methods with {paper} at full length. Here they are small and short: {backbone} on {data}. Do they
come out in the same order? In another setting another order is no fault of the paper's, nor is the same one a proof.
This page is written by `python scripts/paper_order.py` from
`{name}` ([how to get it again](../results/README.md)).

What sets all of these trainings apart from the paper's, besides the network:
{common}."""
_AGREEMENT = """\
## How far the orders agree

A pair is two methods that are both printed and measured.

- **Accuracies**: a pair is told where the exact McNemar test on the same images says for every seed that the same one
  is better (p < {level:g}); of two networks that are equally good it says so at most once in 20. How much a method
  varies from training to training shows in the second seed alone.
- **Geometry** is one number for each seed: a pair is told where all seeds of one lie above all of the other. That is
  weak: two seeds of each of two equal methods do so once in three times.
- **Undefended networks** are compared in geometry alone, as in the paper.
- **PGD-20** is here twice: as the paper's text has it, with step 1/255 from a random point, and as the code of FSR has
  it, with 0.8/255 from the image. Table 2 does not say which is its own.
- **tau-b** is Kendall's correlation of the printed numbers with the means here: 1 is the same order, −1 the opposite.

A pair that is told here may still be one that the paper's own trainings, of which it prints no spread, do not tell.
"""
_NUMBERS = """\
Here: the mean of the seeds, in parentheses each of them. Bold: the best, told from the next one or not. ↓: lower is
better.
"""
_ABLATIONS = """\
## Ablations

The paper prints none: its Tables 6 to 8 vary the attack on one network, not the method. Each variant is compared with
the whole method of the same seed on the same images: points that it has more or less, and in parentheses how many
images the variant alone and the whole method alone have right, with p of the exact McNemar test. Bold: p below
{bound:.2g}, which is {level:g} over the number of tests. One training of each: another seed may differ as much.
"""


def page(runs: Runs, lacks: dict[str, list[str]], name: str) -> str:
    """The whole page.

    Args:
        runs: what is stored.
        lacks: what is not, by run.
        name: of the folder, as the page calls it.
    """
    orders = {metric: order_of(metric, runs) for metric in METRICS}
    parts = [
        _head(runs, name),
        _lacking(lacks),
        _agreement(list(orders.values())),
        _contradictions(list(orders.values())),
        _numbers("Accuracy, percent", [orders[metric] for metric in ACCURACIES], runs),
        _numbers("Geometry", [orders[metric] for metric in GEOMETRY], runs),
        _ablations(variants(runs)),
        _warnings(list(orders.values())),
    ]
    return "\n\n".join("\n".join(part) for part in map(list, parts) if part) + "\n"


def _head(runs: Runs, name: str) -> Iterator[str]:
    told = {run.name: list(training_departures(run)) for run in runs.all}
    common = [text for text in next(iter(told.values())) if all(text in texts for texts in told.values())]
    apart = "; ".join(common) or "nothing"
    yield _HEAD.format(paper=BACKBONE, backbone=runs.backbone, data=runs.data, name=name, common=apart)
    for text in dict.fromkeys(text for texts in told.values() for text in texts if text not in common):
        yield f"Some of them: {text} ({', '.join(run for run, texts in told.items() if text in texts)})."


def _lacking(lacks: dict[str, list[str]]) -> Iterator[str]:
    if lacks:
        yield "**Not everything has been measured yet.** Lacking:"
        yield ""
        for what in dict.fromkeys(what for of_run in lacks.values() for what in of_run):
            yield f"- {what}: {', '.join(run for run, of_run in lacks.items() if what in of_run)}"


def _agreement(orders: Sequence[Order]) -> Iterator[str]:
    yield _AGREEMENT.format(level=LEVEL)
    titles = ("", "suite", "images", "seeds", "methods", "pairs", "agree", "contradict", "cannot be told", "tau-b")
    yield from table(titles, [_counts(order) for order in orders])
    for word, metrics in (("accuracies", ACCURACIES), ("geometry", GEOMETRY)):
        some = [order for order in orders if order.metric in metrics]
        agree, against, open_ = _totals(some)
        yield ""
        yield f"Pairs in {word}: {agree} agree, {against} contradict, {open_} cannot be told."


def _totals(orders: Sequence[Order]) -> tuple[int, int, int]:
    return (
        sum(order.agree for order in orders),
        sum(len(order.contradictions) for order in orders),
        sum(order.open_ for order in orders),
    )


def _counts(order: Order) -> list[str]:
    suites = [value.result.suite for value in order.values]
    images = dict.fromkeys(", ".join([f"{suite.n:,}", *suite.manner]) for suite in suites)
    seeds = sorted({value.result.run.seed for value in order.values})
    agree, against, open_ = map(str, _totals([order]))
    tau = "" if order.tau is None else f"{order.tau:.2f}".replace("-", "−")
    told = [agree, against, open_, tau] if order.pairs else [""] * 4
    sizes = [str(len(order.compared)), str(order.pairs)]
    return [_title(order.metric), order.metric.suite, "; ".join(images), ", ".join(map(str, seeds)), *sizes, *told]


def _title(metric: Metric) -> str:
    return metric.title + (" ↓" if metric.column.lower_is_better else "")


def _contradictions(orders: Sequence[Order]) -> Iterator[str]:
    yield "## Pairs in the other order"
    yield ""
    rows = [
        (_title(order.metric), f"{_name(pair.higher)} − {_name(pair.lower)}", *signed)
        for order in orders
        for pair in order.contradictions
        for signed in [[signed_text(order.metric.column, number) for number in (pair.printed, pair.ours)]]
    ]
    yield from table(("", "difference", "the paper", "here"), rows) if rows else ["None."]


def _name(defense: str) -> str:
    return method(defense).title


def _numbers(title: str, orders: Sequence[Order], runs: Runs) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield _NUMBERS
    found = [{row.defense: row for row in order.rows} for order in orders]
    rows = []
    for defense in runs.methods:
        cells = [(order, rows_of.get(defense)) for order, rows_of in zip(orders, found, strict=True)]
        shown = [row for _, row in cells if row is not None]
        if any(row.printed is not None for row in shown):
            rows.append([_name(defense), "the paper", *(_printed(*cell) for cell in cells)])
        if any(row.values for row in shown):
            rows.append([_name(defense), "here", *(_measured(*cell) for cell in cells)])
    yield from table(("", "", *(_title(order.metric) for order in orders)), rows)


def _printed(order: Order, row: Measured | None) -> str:
    if row is None or row.printed is None:
        return ""
    numbers = {one.defense: one.printed for one in order.rows if one.printed is not None}
    return _bold_best(order.metric, row.defense, numbers)


def _measured(order: Order, row: Measured | None) -> str:
    if row is None or not row.values:
        return ""
    numbers = {one.defense: one.mean for one in order.rows if one.values}
    mean, seeds = _bold_best(order.metric, row.defense, numbers), [value.result.run.seed for value in row.values]
    if len(seeds) > 1:
        return f"{mean} ({', '.join(number_text(order.metric.column, value.number) for value in row.values)})"
    only = {value.result.run.seed for value in order.values} == {*seeds}
    return mean if only else f"{mean} (seed {seeds[0]} alone)"


def _bold_best(metric: Metric, defense: str, numbers: dict[str, float]) -> str:
    rivals = [number for name, number in numbers.items() if metric.competes(name)]
    text = number_text(metric.column, numbers[defense])
    is_best = metric.competes(defense) and numbers[defense] == (min if metric.column.lower_is_better else max)(rivals)
    return f"**{text}**" if is_best else text


def _ablations(found: Sequence[Variant]) -> Iterator[str]:
    if not found:
        return
    bound = level(found)
    yield _ABLATIONS.format(bound=bound, level=LEVEL)
    heads = [text for metric in ABLATED for text in (metric.title, "less the whole")]
    rows = [
        [
            f"`{one.name}`",
            one.description,
            one.seed,
            *(text for change in one.changes for text in _change(change, bound)),
        ]
        for one in found
    ]
    yield from table(("", "", "seed", *heads), rows)


def _change(change: Change | None, bound: float) -> tuple[str, str]:
    if change is None:
        return "", ""
    number = number_text(ABLATED[0].column, change.number)
    if change.pair is None:
        return number, ""
    points = signed_text(ABLATED[0].column, change.points)
    shown = f"**{points}**" if change.pair.p < bound else points
    return number, f"{shown} ({change.pair.only_first}, {change.pair.only_second}; p = {change.pair.p:.2g})"


def _warnings(orders: Sequence[Order]) -> Iterator[str]:
    found = dict.fromkeys(
        f"- {value.result.run.name}, suite {value.result.suite.name}: {text}"
        for order in orders
        for value in order.values
        for text in value.result.suite.warnings
    )
    if found:
        yield "## What the results say of themselves"
        yield ""
        yield from found
