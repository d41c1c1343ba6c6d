"""What a report compared, and what it found, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from advdpnp.report.stored import Accuracy, Run
from advdpnp.report.tables import Result, attack_keys, by_method, percent, spread


def _listed(items: Iterable[str]) -> str:
    *most, last = dict.fromkeys(items)
    return f"{', '.join(most)} and {last}" if most else last


def scope(runs: Sequence[Run], groups: Sequence[Sequence[Result]]) -> str:
    """One paragraph: which methods, on which data, under which attacks, on how many images."""
    sentences = _compared(runs)
    for group in groups:
        suite, place = group[0].suite, f" of {group[0].suite.data}" if len(groups) > 1 else ""
        attacks = [key.label for key in attack_keys(group)]
        how = f"Attacked with {_listed(attacks)}" if attacks else "Evaluated without attack"
        sentence = f"{how} on {suite.n:,} test images{place} (suite {suite.name})."
        if sentence not in sentences:
            sentences.append(sentence)
    if not groups:
        sentences.append("Nothing has been evaluated yet.")
    return " ".join(sentences)


def _compared(runs: Sequence[Run]) -> list[str]:
    ours, foreign = [run for run in runs if not run.foreign], [run for run in runs if run.foreign]
    sentences = []
    if ours:
        places = _listed(f"{run.data} with the backbone {run.backbone}" for run in ours)
        count = "1 run" if len(ours) == 1 else f"{len(ours)} runs"
        sentences.append(f"{_listed(run.method for run in ours)}, trained on {places} ({count}).")
    if foreign:
        sentences.append(f"From elsewhere: {_listed(f'{run.method} ({run.data})' for run in foreign)}.")
    return sentences


def findings(group: Sequence[Result]) -> list[str]:
    """What the accuracies of comparable results show: the best method, and whether the next is apart from it."""
    methods = by_method(group)
    if len(methods) < 2:
        return []
    place, n = group[0].place, group[0].suite.n
    sentences = []
    for column in ("worst case", "clean") if attack_keys(group) else ("clean",):
        first, then = sorted(methods, key=lambda seeds: -_measured(seeds, column).value)[:2]
        best, name = _measured(first, column), first[0].run.method
        second, runner_up = _measured(then, column), then[0].run.method
        apart = "above" if _apart(first, then, column) else "not clearly apart from"
        what = "clean accuracy" if column == "clean" else f"worst-case accuracy under the {group[0].suite.name} suite"
        sentences.append(
            f"{place}: highest {what} is {name} with {_text(best, n)}, {apart} {runner_up} with {_text(second, n)}."
        )
    if all(len(seeds) == 1 for seeds in methods):
        sentences.append(f"{place}: one seed per method, so what another seed would change is not known.")
    return sentences


def _apart(better: list[Result], worse: list[Result], column: str) -> bool:
    # The spread of a few seeds leaves out what another draw of test images would change; the intervals do not.
    lowest = min(seed.accuracies[column].low for seed in better)
    return lowest > max(seed.accuracies[column].high for seed in worse)


def _measured(seeds: list[Result], column: str) -> Accuracy:
    values = [seed.accuracies[column] for seed in seeds]
    return values[0] if len(values) == 1 else spread(values)


def _text(accuracy: Accuracy, n: int) -> str:
    return f"{percent(accuracy.value, n)} % ({percent(accuracy.low, n)} to {percent(accuracy.high, n)})"
