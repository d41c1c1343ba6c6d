"""The runs of a sweep, method by method, and what is still to be made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from advdpnp.experiments.ablations import ABLATIONS
from advdpnp.report.methods import METHODS
from advdpnp.report.published import accuracies
from advdpnp.report.read import RunResults, read_all
from advdpnp.report.run_folders import run_folders
from advdpnp.sweeping.plan import make_plan
from advdpnp.sweeping.sweep_file import read_sweep
from advdpnp.sweeping.tasks import TrainTask
from ordering.metrics import BACKBONE

# Whose ablations there are.
FULL = "adv-dpnp"
Seeds = tuple[RunResults, ...]


@dataclass(frozen=True)
class Runs:
    """What is stored.

    Args:
        data: name of the data set.
        backbone: of all networks.
        methods: seeds of each defense, in the order of reports.
        ablations: seeds of each ablation of Adv-DPNP, by its name, in the order in which they are listed.
    """

    data: str
    backbone: str
    methods: dict[str, Seeds]
    ablations: dict[str, Seeds]

    @property
    def all(self) -> tuple[RunResults, ...]:
        return tuple(run for seeds in (*self.methods.values(), *self.ablations.values()) for run in seeds)


def read(folder: Path) -> Runs:
    """All runs below a folder but those of other variants, such as the helper of HAT.

    Raises:
        ValueError: there is none, one cannot be read, or they cannot be compared.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of runs; got {folder}, which is not there")
    found = read_all(run_folders([folder]))
    if found.unread:
        raise ValueError(found.unread[0].reason)
    methods = {name: _seeds(found.runs, name, "") for name in METHODS}
    names = [name for name, ablation in ABLATIONS.items() if ablation.defense == FULL]
    ablations = {name: _seeds(found.runs, FULL, name.removeprefix(f"{FULL}-")) for name in names}
    runs = [run for seeds in (*methods.values(), *ablations.values()) for run in seeds]
    kinds = sorted({(run.data, run.backbone, run.recipe) for run in runs})
    if len(kinds) != 1:
        got = ", ".join(map("/".join, kinds)) or "no run of a known method"
        raise ValueError(f"{folder} must hold runs of one data set, network and recipe; got {got}")
    data, backbone, _ = kinds[0]
    if accuracies(data, BACKBONE, FULL) is None:
        raise ValueError(f"expected runs on data that the paper has with {BACKBONE}; got {data} in {folder}")
    return Runs(data, backbone, _there(methods), _there(ablations))


def _seeds(runs: Sequence[RunResults], defense: str, tag: str) -> Seeds:
    found = tuple(run for run in runs if (run.defense, run.tag) == (defense, tag))
    twice = next((run for run in found if run.collection), None)
    if twice is not None:
        raise ValueError(f"{twice.folder} is of a method and seed that another folder has too: remove one of them")
    return found


def _there(seeds: dict[str, Seeds]) -> dict[str, Seeds]:
    return {name: found for name, found in seeds.items() if found}


def lacking(sweep: Path, folder: Path) -> dict[str, list[str]]:
    """By the run that lacks them, in the order of a sweep's file: suites without a result, "train" for no run at all.

    Args:
        sweep: its file.
        folder: of its runs.
    """
    found: dict[str, list[str]] = {}
    for task in make_plan(read_sweep(sweep), folder):
        run, what = task.key.rsplit(" ", 1)
        if isinstance(task, TrainTask):
            if not task.run.exists:
                found[run] = [what]
        elif task.run.exists and not task.files.result.is_file():
            found.setdefault(run, []).append(what)
    return found
