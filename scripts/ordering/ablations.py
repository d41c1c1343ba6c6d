"""Each ablation of Adv-DPNP beside the whole method, on the same images."""

from collections.abc import Iterable
from dataclasses import dataclass

from advdpnp.experiments.ablations import ABLATIONS
from advdpnp.report.paper_values import LEVEL, Paired, paired
from advdpnp.report.read import RunResults
from ordering.metrics import CLEAN, PGD20, Metric
from ordering.runs import FULL, Runs

# The suite of the ablations; of the whole method the suite `text` has the same attack, on the same images.
SUITE, FULL_SUITE = "pgd20", "text"
METRICS = (CLEAN, PGD20)


@dataclass(frozen=True)
class Change:
    """An accuracy of a variant.

    Args:
        number: percent.
        pair: images that it and the whole method have right alone; None where they cannot be compared.
    """

    number: float
    pair: Paired | None

    @property
    def points(self) -> float:
        """Its accuracy less that of the whole method, percent."""
        assert self.pair is not None
        return 100 * (self.pair.only_first - self.pair.only_second) / self.pair.n


@dataclass(frozen=True)
class Variant:
    """An ablation, or the whole method, with one seed.

    Args:
        name: of the experiment.
        description: one line.
        seed: of the training.
        changes: one for each of `METRICS`; None where it was not measured.
    """

    name: str
    description: str
    seed: int
    changes: tuple[Change | None, ...]


def variants(runs: Runs) -> list[Variant]:
    """The whole method, then its ablations; nothing where there are no ablations."""
    whole = {run.seed: run for run in runs.methods.get(FULL, ())}
    seeds = {run.seed for ablation in runs.ablations.values() for run in ablation}
    found = [Variant(FULL, "the whole method", seed, _changes(whole[seed], None)) for seed in sorted(seeds & {*whole})]
    for name, ablation in runs.ablations.items():
        for run in ablation:
            found.append(Variant(name, ABLATIONS[name].description, run.seed, _changes(run, whole.get(run.seed))))
    return found if runs.ablations else []


def _changes(run: RunResults, whole: RunResults | None) -> tuple[Change | None, ...]:
    return tuple(_change(metric, run, whole) for metric in METRICS)


def _change(metric: Metric, run: RunResults, whole: RunResults | None) -> Change | None:
    value = metric.value(run, SUITE if run.tag else FULL_SUITE)
    beside = None if whole is None else metric.value(whole, FULL_SUITE)
    if value is None:
        return None
    return Change(value.number, None if beside is None else paired(value, beside))


def level(found: Iterable[Variant]) -> float:
    """What p must be below for a difference to be told among all that are tested: 0.05 over their number."""
    tests = sum(change is not None and change.pair is not None for variant in found for change in variant.changes)
    return LEVEL / max(tests, 1)
