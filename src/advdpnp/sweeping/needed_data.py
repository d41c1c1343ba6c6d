"""Whether this machine has the images that the tasks of a sweep read."""

from collections.abc import Sequence
from pathlib import Path

from advdpnp import data
from advdpnp.data import DataSpec
from advdpnp.data.specs import Split
from advdpnp.sweeping.tasks import SweepTask, TrainTask


def check_data(tasks: Sequence[SweepTask], data_root: Path | None = None) -> None:
    """Read each split that an unfinished task would read, once, as the task does.

    Args:
        tasks: of a sweep.
        data_root: folder of the data files.
    Raises:
        FileNotFoundError, ValueError: files are missing or damaged, in the words of a training or an evaluation.
    """
    checked: set[tuple[DataSpec, Split]] = set()
    for task in tasks:
        needed = _needed(task)
        if needed not in checked and task.status().state != "finished":
            data.load(*needed, data_root)
            checked.add(needed)


def _needed(task: SweepTask) -> tuple[DataSpec, Split]:
    if isinstance(task, TrainTask):
        return task.experiment.data, "train"
    return task.training.experiment.data, "test"
