"""What a report compared, what it found, and how each number was made, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from advdpnp.indices import images_text, short_indices
from advdpnp.report.methods import color
from advdpnp.report.read import Result, RunResults, by_method
from advdpnp.report.tables import attack_keys, percent, spread
from advdpnp.results import Accuracy, EvaluationResult


def _listed(items: Iterable[str]) -> str:
    *most, last = dict.fromkeys(items)
    return f"{', '.join(most)} and {last}" if most else last


def page_title(runs: Sequence[RunResults]) -> str:
    """The heading of a page: where its runs are from; of many places, the data sets alone."""
    places = list(dict.fromkeys(run.place for run in runs))
    if len(places) > 3:
        places = list(dict.fromkeys(run.data for run in runs))
    return f"Robust accuracy: {', '.join(places)}"


def headline(runs: Sequence[RunResults]) -> str:
    """One short sentence: how much there is."""
    methods, data = (dict.fromkeys(values) for values in ((run.method for run in runs), (run.data for run in runs)))
    return f"{_count(len(runs), 'run')} of {_count(len(methods), 'method')} on {_listed(data)}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def scope(runs: Sequence[RunResults], groups: Sequence[Sequence[Result]]) -> str:
    """One paragraph: which methods, on which data, under which attacks, on how many images."""
    sentences = _compared(runs)
    for group in groups:
        suite, place = group[0].suite, f" of {group[0].suite.data}" if len(groups) > 1 else ""
        attacks = [key.label for key in attack_keys(group)]
        how = f"Attacked with {_listed(attacks)}" if attacks else "Evaluated without attack"
        if source := suite.corruption_source:
            how += f"{',' if attacks else ''} and under common corruptions ({source})"
        sentence = f"{how} on {images_text(suite.indices, suite.n)}{place} (suite {suite.name})."
        if sentence not in sentences:
            sentences.append(sentence)
    if not groups:
        sentences.append("Nothing has been evaluated yet.")
    return " ".join(sentences)


def _compared(runs: Sequence[RunResults]) -> list[str]:
    ours, foreign = [run for run in runs if not run.foreign], [run for run in runs if run.foreign]
    sentences = []
    if ours:
        places = _listed(f"{run.data} with the backbone {run.backbone}" for run in ours)
        sentences.append(f"{_listed(run.method for run in ours)}, trained on {places} ({_count(len(ours), 'run')}).")
    if foreign:
        sentences.append(f"From elsewhere: {_listed(f'{run.method} ({run.data})' for run in foreign)}.")
    return sentences


def findings(group: Sequence[Result]) -> list[str]:
    """What the accuracies of comparable results show: the best method, and whether the next is apart from it."""
    methods = by_method(group)
    if len(methods) < 2:
        return []
    n = group[0].suite.n
    sentences = []
    for column in ("worst case", "clean") if attack_keys(group) else ("clean",):
        first, then = sorted(methods, key=lambda seeds: -_measured(seeds, column).value)[:2]
        best, name = _measured(first, column), first[0].run.method
        second, runner_up = _measured(then, column), then[0].run.method
        apart = "told apart from" if _apart(first, then, column) else "not told apart from"
        what = "clean accuracy" if column == "clean" else f"worst-case accuracy under the {group[0].suite.name} suite"
        sentences.append(
            f"The highest {what} is {name} with {_text(best, n)}, {apart} {runner_up} with {_text(second, n)} by "
            "their intervals."
        )
    if all(len(seeds) == 1 for seeds in methods):
        sentences.append("There is one seed per method: what another seed would change is not known.")
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


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _software(environment: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {environment[name]}" for name in ("advdpnp", "torch", "python") if name in environment
    )
    where = f"{environment.get('device', '?')}, {environment.get('threads', '?')} threads"
    commit = str(environment.get("commit", ""))[:10] or "unknown"
    changed = ", with uncommitted changes" if environment.get("dirty") else ""
    return f"{versions}; {where}; commit {commit}{changed}" if environment else "not recorded"


def _training(run: RunResults) -> list[tuple[str, str]]:
    recipe, attack = run.config["recipe"], run.config["recipe"]["attack"]
    seconds = sum(line["seconds"] for line in run.epochs)
    done = (
        f"{len(run.epochs)} of {recipe.get('epochs', '?')} epochs in {_duration(seconds)}"
        if run.epochs
        else "not recorded"
    )
    inner = f"{attack.get('steps', '?')} steps, ε = {attack['eps']:.4g}, BatchNorm in {attack.get('mode', '?')} mode"
    return [
        ("seed", str(run.seed)),
        ("recipe", f"{run.recipe}; {recipe.get('holdout') or 'no'} training images held out"),
        ("attack of training", inner),
        ("training", done),
        ("trained with", _software(run.environment)),
    ]


def _foreign(run: RunResults, source: dict[str, Any]) -> list[tuple[str, str]]:
    given = ", ".join(f"{name}={value}" for name, value in source.get("arguments", {}).items())
    mean, std = (", ".join(f"{value:g}" for value in source.get(name, ())) for name in ("mean", "std"))
    return [
        ("network", f"{source['model']}({given})"),
        ("weights", f"{source['weights'] or 'as built'}, SHA-256 {source['sha256'][:16]}…"),
        ("normalization", f"mean {mean}, std {std}" if mean else "none, or its own"),
        ("first measured with", _software(run.environment)),
    ]


def _over_seeds(suite: EvaluationResult) -> str:
    worst = (suite.seeds or {})["worst_case"]
    mean, spread = (percent(worst[name], suite.n) for name in ("mean", "spread"))
    return f"worst case {mean} % on average, spread {spread}; the tables have the first seed"


def origin(run: RunResults) -> dict[str, Any]:
    """How the numbers of a run were made: pairs of name and text, the commands, and the whole configuration."""
    facts = _foreign(run, run.foreign) if run.foreign else _training(run)
    commands = [run.environment["command"]] if "command" in run.environment else []
    for suite in [*run.suites, *run.curves]:
        weights = suite.checkpoint if suite.epoch is None else f"{suite.checkpoint} checkpoint (epoch {suite.epoch})"
        searched = f" ({'; '.join(suite.manner)})" if suite.manner else ""
        measured = f"{weights}, images {short_indices(suite.indices)}, {suite.precision}{searched}, "
        facts.append(
            (f"suite {suite.name}", f"{measured}chunks of {suite.chunk}, {_duration(suite.seconds)} of attacks")
        )
        if suite.environment and _software(suite.environment) != _software(run.environment):
            facts.append((f"{suite.name} measured with", _software(suite.environment)))
        facts += [(f"{suite.name}: warning", text) for text in suite.warnings]
        if suite.seeds:
            facts.append((f"{suite.name}: {suite.seeds['count']} seeds of the attacks", _over_seeds(suite)))
        commands += [suite.environment["command"]] if "command" in suite.environment else []
    return {
        "name": f"{run.name} ({run.place})",
        "color": color(run.defense),
        "facts": facts,
        "commands": list(dict.fromkeys(commands)),
        "config": json.dumps(run.config, indent=1, ensure_ascii=False),
    }
