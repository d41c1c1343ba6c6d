"""From a sweep's file to its tasks, in an order in which each comes after what it needs."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from advdpnp.api.collections import replaced
from advdpnp.api.named_data import facts_of, usual_size
from advdpnp.api.protocol import Radii, radius_of
from advdpnp.attacks import COLLECTIONS
from advdpnp.data import DataSpec
from advdpnp.experiments import Experiment, experiment_on
from advdpnp.experiments.config import encode
from advdpnp.stored_values import differences
from advdpnp.sweeping.sweep_file import Group, SuiteEntry, Sweep
from advdpnp.sweeping.tasks import SuiteTask, SweepTask, TrainTask
from advdpnp.threat import eps_text

# More are a mistake in the file.
MOST_TASKS = 100_000


def make_plan(
    sweep: Sweep,
    out: Path | None = None,
    data_root: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> tuple[SweepTask, ...]:
    """All tasks of a sweep: what several runs need, as HAT's helper, is trained once.

    Args:
        sweep: what its file says.
        out: folder of the runs, in place of the file's.
        data_root: folder of the data files, where a folder's decoded images are kept.
        tell: called with lines on folders of images.
    Raises:
        ValueError: unknown names, a folder of images that cannot be used, or two runs of different configurations for
            one folder; the message names the file.
    """
    try:
        return _planned(sweep, out or sweep.out, data_root, tell)
    except ValueError as error:
        raise ValueError(f"{sweep.path}: {error}") from None


def _planned(sweep: Sweep, out: Path, data_root: Path | None, tell: Callable[[str], None]) -> tuple[SweepTask, ...]:
    trained, attacked = dict[str, TrainTask](), dict[str, SuiteTask]()
    for group in sweep.groups:
        for wanted in _experiments(group, _facts(group, data_root, tell)):
            training = _add(trained, wanted, out)
            for task in _attacks(training, group.suites):
                task.check()
                if (there := attacked.setdefault(task.key, task)).entry != task.entry:
                    raise ValueError(
                        f"{task.key} is asked for twice with different options: leave one out, or give attacks by hand "
                        f"a name of their own ({_difference(there.entry, task.entry)})"
                    )
                if len(trained) + len(attacked) > MOST_TASKS:
                    raise ValueError(f"at most {MOST_TASKS:,} tasks; this file asks for more: make several files of it")
    return (*trained.values(), *attacked.values())


def _facts(group: Group, root: Path | None, tell: Callable[[str], None]) -> DataSpec:
    size = usual_size(group.data, group.image_size or None, group.backbone, tell)
    return facts_of(group.data, size, group.split_seed, group.skip_broken, root, tell)


def _experiments(group: Group, facts: DataSpec) -> Iterator[Experiment]:
    """One after the other by seed, so that a comparison of one seed is complete early."""
    for seed in group.seeds:
        for method in group.methods:
            for tag, settings in group.settings():
                yield experiment_on(facts, group.backbone, method, group.recipe, seed, tag, settings)


def _add(trained: dict[str, TrainTask], wanted: Experiment, out: Path) -> TrainTask:
    """The training of an experiment, after that of what it needs."""
    after = (_add(trained, wanted.needs, out).key,) if wanted.needs is not None else ()
    training = TrainTask(wanted.config(), out, after)
    there = trained.setdefault(training.key, training)
    if there.config != training.config:
        found = "; ".join(differences(there.config, training.config))
        raise ValueError(
            f"two different runs would be {training.run.folder} ({found}): name one of them under variants"
        )
    return there


def _attacks(training: TrainTask, suites: tuple[SuiteEntry, ...]) -> Iterator[SuiteTask]:
    for entry in suites:
        if entry.seeds and training.experiment.seed not in entry.seeds:
            continue
        for one in _single(entry, training.experiment):
            if one.shards == 1:
                yield SuiteTask(training, one, after=(training.key,))
                continue
            keys = []
            # One at a time: a number that is beyond all images is refused at the first.
            for part in range(1, one.shards + 1):
                shard = SuiteTask(training, one, part, (training.key,))
                yield shard
                keys.append(shard.key)
            yield SuiteTask(training, one, after=tuple(keys))


def _single(entry: SuiteEntry, wanted: Experiment) -> list[SuiteEntry]:
    """The suites of a table, each with its radius; of a suite itself."""
    if entry.attack or entry.suite not in COLLECTIONS:
        return [entry]
    if entry.norm:
        raise ValueError(f"suites: {entry.suite} has suites in norms of their own: leave norm {entry.norm} out")
    found = []
    for part in COLLECTIONS[entry.suite].parts:
        radii = Radii(wanted.data.radii, wanted.data.name, 1, radius_of(entry.eps or None))
        asked = replaced(radii, part).asked
        found.append(replace(entry, suite=part.suite, eps="" if asked is None else eps_text(asked)))
    return found


def _difference(first: SuiteEntry, second: SuiteEntry) -> str:
    return "; ".join(differences(encode(first), encode(second)))
