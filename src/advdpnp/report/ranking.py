"""Methods ranked by robust accuracy, as leaderboards do: under AutoAttack first; on the same images only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from advdpnp.attack_words import NORMS
from advdpnp.indices import images_text
from advdpnp.ranges import parse_eps
from advdpnp.report.paper_values import Value, apart, packed
from advdpnp.report.read import Result, RunResults
from advdpnp.report.tables import percent
from advdpnp.results import Accuracy, AttackKey, AttackResult

AUTOATTACK = "autoattack"
# What makes runs seeds of one method: backbone, defense, title, recipe and checkpoint.
Method = tuple[str, ...]


@dataclass(frozen=True)
class Measured:
    """One run under one attack; without a key, under none."""

    result: Result
    key: AttackKey | None
    accuracy: Accuracy
    verdicts: dict[str, str] | None = None

    @property
    def method(self) -> Method:
        run = self.result.run
        return (run.backbone, run.data, run.defense, run.method, self.result.checkpoint)

    @property
    def images(self) -> tuple[int, str, tuple[str, ...]]:
        """What must be equal where two are ranked: the images, and how they were attacked."""
        suite = self.result.suite
        return (suite.n, suite.indices, tuple(suite.manner))


@dataclass(frozen=True)
class Ranked:
    """A line: the seeds of one method, under the attack that left the least.

    Args:
        rank: from 1; methods with the same robust accuracy share it.
        seeds: in order.
        clean, robust: means over the seeds, each with the 95 % Wilson interval of its images.
        extremes: lowest and highest robust accuracy of the seeds; None for a single one.
    """

    rank: int
    seeds: tuple[Measured, ...]
    clean: Accuracy
    robust: Accuracy
    extremes: tuple[float, float] | None

    @property
    def run(self) -> RunResults:
        return self.seeds[0].result.run

    @property
    def key(self) -> AttackKey | None:
        return self.seeds[0].key

    @property
    def checkpoint(self) -> str:
        """Recipe and checkpoint, and the data of training where they are others."""
        result = self.seeds[0].result
        other = "" if self.run.foreign or self.run.data == result.suite.data else f"trained on {self.run.data}, "
        return other + result.checkpoint

    @property
    def extra_data(self) -> str:
        """Whether more than the training images of the data set is in the weights, as far as the run says."""
        initial = self.run.config.get("initial")
        if self.run.foreign:
            return "not known"
        return "no" if not initial or initial.get("weights") == "untrained" else "pretrained"

    @property
    def warnings(self) -> list[str]:
        """What evaluations say against their own numbers."""
        return list(dict.fromkeys(text for seed in self.seeds for text in seed.result.suite.warnings))


@dataclass(frozen=True)
class RankedTogether:
    """Lines that compare: the same attacks on the same images."""

    attacks: tuple[AttackKey, ...]
    n: int
    indices: str
    manner: tuple[str, ...]
    lines: tuple[Ranked, ...]

    @property
    def standard(self) -> bool:
        """Whether it is AutoAttack's ranking."""
        return _standard(self.attacks)

    @property
    def images(self) -> str:
        return images_text(self.indices, self.n)

    @property
    def title(self) -> str:
        """The attack, the images, and how they were attacked."""
        names = list(dict.fromkeys(key.label for key in self.attacks))
        if self.standard:
            attack = "AutoAttack"
        elif len(names) > 1:
            attack = f"No AutoAttack: the strongest of {', '.join(names[:-1])} and {names[-1]}"
        else:
            attack = f"No AutoAttack: {names[0]}" if names else "No attack"
        return f"{attack}, {self.images}" + "".join(f", {text}" for text in self.manner)


@dataclass(frozen=True)
class Ranking:
    """All methods of one data set and threat model; `norm` and `eps` are empty where nothing was attacked."""

    data: str
    norm: str
    eps: str
    groups: tuple[RankedTogether, ...]

    @property
    def threat(self) -> str:
        """Such as ℓ∞ 8/255."""
        return f"{NORMS.get(self.norm, self.norm)} {self.eps}" if self.norm else "no attack"

    @property
    def title(self) -> str:
        return f"{self.data}, {self.threat}"

    @property
    def head(self) -> str:
        """Of the column of robust accuracies."""
        return "AutoAttack" if all(group.standard for group in self.groups) else "Robust"

    @property
    def warnings(self) -> list[str]:
        """What evaluations say against their own numbers, each once."""
        return list(dict.fromkeys(text for group in self.groups for line in group.lines for text in line.warnings))

    def warned(self, line: Ranked) -> tuple[int, ...]:
        """Which of the warnings are of a line."""
        return tuple(sorted(map(self.warnings.index, line.warnings)))

    @property
    def finding(self) -> str:
        """One sentence: who is first, how sure that is, and whether the next is told apart."""
        group = self.groups[0]
        first, *others = group.lines
        attack = first.key.label if first.key else ""
        score = f"{_with_interval(first.robust, group.n)} {f'under {attack}' if attack else 'without an attack'}"
        if attack:
            score += f" and {percent(first.clean.value, group.n)} % clean"
        if not others:
            return f"{first.run.method} keeps {score}." if attack else f"{first.run.method} has {score}."
        then = f"{others[0].run.method} ({percent(others[0].robust.value, group.n)} %)"
        if not all(seed.verdicts for line in (first, others[0]) for seed in line.seeds):
            return f"{first.run.method} is first with {score}, then {then}."
        told = "told apart from" if _told_apart(first, others[0]) else "not told apart from"
        return f"{first.run.method} is first with {score}, {told} {then} by McNemar's test on the same images."


def _with_interval(accuracy: Accuracy, n: int) -> str:
    low, high = percent(accuracy.low, n), percent(accuracy.high, n)
    return f"{percent(accuracy.value, n)} % [{low}, {high}]"


def _told_apart(better: Ranked, worse: Ranked) -> bool:
    return apart(*([Value(seed.accuracy.value, None, seed.result, seed.verdicts) for seed in line.seeds]
                   for line in (better, worse)))  # fmt: skip


def rankings(runs: Sequence[RunResults]) -> list[Ranking]:
    """One ranking for each data set and threat model: those with AutoAttack first, then those of most methods.

    Args:
        runs: in the order of tables. Images that were crafted on another network, attacks at a class of the caller's
            choice, and curves are left out: they bound the robust accuracy less closely.
    """
    measured = [one for run in runs for one in _of_run(run)]
    attacked = {(one.result.suite.data, one.method) for one in measured if one.key}
    clean = [one for one in measured if not one.key and (one.result.suite.data, one.method) not in attacked]
    chosen = sorted([one for one in measured if one.key] + clean, key=_threat)
    found = [_ranking(threat, list(members)) for threat, members in groupby(chosen, key=_threat)]
    return sorted(found, key=_prominence)


def _prominence(ranking: Ranking) -> tuple[object, ...]:
    first = ranking.groups[0]
    size = -sum(len(group.lines) for group in ranking.groups)
    eps = parse_eps(ranking.eps) if ranking.eps else 0.0
    return (not first.standard, not ranking.norm, size, ranking.data, ranking.norm, eps)


def _threat(one: Measured) -> tuple[str, str, str]:
    return (one.result.suite.data, one.key.norm if one.key else "", one.key.eps if one.key else "")


def _of_run(run: RunResults) -> Iterator[Measured]:
    for suite in run.suites:
        result = Result(run, suite)
        if suite.transfer is None:
            yield Measured(result, None, suite.clean, packed(suite.clean_verdicts))
            for row in suite.rows:
                yield from _of_row(result, row)


def _of_row(result: Result, row: AttackResult) -> Iterator[Measured]:
    if row.targeted is None:
        yield Measured(result, row.key, row.accuracy, packed(row.verdicts, row.unevaluated_bits))
    for tier in row.tiers:
        if tier["name"] == AUTOATTACK:
            bits = packed(tier.get("verdicts", ""), tier.get("unevaluated_bits", ""))
            yield Measured(result, replace(row.key, name=AUTOATTACK, settings=()), Accuracy.read(tier), bits)


def _standard(attacks: Sequence[AttackKey]) -> bool:
    return len(attacks) == 1 and attacks[0].name == AUTOATTACK and not attacks[0].settings


def _ranking(threat: tuple[str, str, str], measured: Sequence[Measured]) -> Ranking:
    official = {one.method for one in measured if one.key and _standard([one.key])}
    groups = _together([one for one in measured if one.key and _standard([one.key])])
    groups += _together([one for one in measured if one.method not in official])
    seen: set[Method] = set()
    kept = []
    for group in groups:
        methods = {line.seeds[0].method for line in group.lines}
        # On fewer images, all of whose methods were ranked on more, there is nothing new.
        if methods - seen:
            kept.append(group)
        seen |= methods
    return Ranking(*threat, tuple(kept))


def _together(measured: Sequence[Measured]) -> list[RankedTogether]:
    """Groups of the same images and attacks, those of most images first."""
    by_method: dict[tuple[object, ...], list[Measured]] = {}
    for one in measured:
        by_method.setdefault((one.images, one.method), []).append(one)
    lines: dict[tuple[object, ...], list[list[Measured]]] = {}
    for found in by_method.values():
        common, strongest = _strongest(found)
        lines.setdefault((found[0].images, common), []).append(strongest)
    groups = [_group(attacks, found) for (_, attacks), found in lines.items() if isinstance(attacks, tuple)]
    return sorted(groups, key=lambda group: (-group.n, group.manner, -len(group.attacks), group.indices, group.title))


def _strongest(found: Sequence[Measured]) -> tuple[tuple[AttackKey, ...], list[Measured]]:
    """The attacks that a method met, and of the one of lowest mean accuracy what each seed kept."""
    by_attack: dict[AttackKey | None, dict[Path, Measured]] = {}
    for one in found:
        by_attack.setdefault(one.key, {}).setdefault(one.result.run.folder, one)
    strongest = min(by_attack.values(), key=lambda ones: _mean(one.accuracy.value for one in ones.values()))
    return tuple(sorted((key for key in by_attack if key), key=repr)), list(strongest.values())


def _group(attacks: tuple[AttackKey, ...], found: Iterable[Sequence[Measured]]) -> RankedTogether:
    lines = [_line(seeds) for seeds in found]
    lines.sort(key=lambda line: (-_exact(line.robust), -_exact(line.clean), line.run.order))
    values = [_exact(line.robust) for line in lines]
    n, indices, manner = lines[0].seeds[0].images
    return RankedTogether(
        attacks, n, indices, manner, tuple(replace(line, rank=values.index(_exact(line.robust)) + 1) for line in lines)
    )


def _line(seeds: Sequence[Measured]) -> Ranked:
    robust = [seed.accuracy for seed in seeds]
    values = [accuracy.value for accuracy in robust]
    clean, n = [seed.result.suite.clean for seed in seeds], seeds[0].result.suite.n
    extremes = (min(values), max(values)) if len(values) > 1 else None
    return Ranked(0, tuple(seeds), _over_seeds(clean, n), _over_seeds(robust, n), extremes)


def _over_seeds(seeds: Sequence[Accuracy], n: int) -> Accuracy:
    """The mean, with the interval that its images give one network: what another draw of them would change."""
    if len(seeds) == 1:
        return seeds[0]
    from advdpnp.result_files import score_interval

    mean, unevaluated = _mean(one.value for one in seeds), max(one.unevaluated for one in seeds)
    high = score_interval(min(n, mean * n + unevaluated), n)[1]
    return Accuracy(mean, score_interval(mean * n, n)[0], high, unevaluated)


def _exact(accuracy: Accuracy) -> float:
    """The fraction without what adding up seeds in another order would change."""
    return round(accuracy.value, 12)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
