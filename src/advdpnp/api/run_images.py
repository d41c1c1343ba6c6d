"""The images of a run: of a folder of images those that the run knows, whatever else has been put there since."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from advdpnp import data, runs
from advdpnp.data import DataSpec, FolderSpec, Images, KnownImages
from advdpnp.data.specs import Split
from advdpnp.runs import EXPORT_MANIFEST, Run

# Beside config.json.
_FILE = "images.json"


@dataclass(frozen=True, eq=False)
class RunImages:
    """One split of a run's data.

    Args:
        images: all images of the split.
        missing: positions of those that are no longer there, in a folder that has changed; their pixels are 0.
        remark: in a line, what has changed; "" for nothing.
    """

    images: Images
    missing: tuple[int, ...] = ()
    remark: str = ""

    def present(self) -> Images:
        """The images that are there."""
        rest = torch.arange(len(self.images))
        return self.images.select(rest[~torch.isin(rest, torch.tensor(self.missing))]) if self.missing else self.images


def remember_images(run: Run, facts: DataSpec, data_root: Path | None) -> KnownImages | None:
    """The images that a run knows by name and checksum, of a folder; they are stored with the run where they are not.

    Returns:
        None for data that are no folder, and for a run of an earlier version whose folder has changed since.
    Raises:
        ValueError: the stored file is damaged.
    """
    path = run.folder / _FILE
    if not isinstance(facts, FolderSpec):
        return None
    if path.is_file():
        cure = "remove it, if the folder of images has not changed since the training"
        known = runs.checked(path, cure, lambda: KnownImages.read(runs.read_json(path)))
        if known.checksum == facts.checksum:
            runs.checked(path, cure, lambda: known.check_counts(facts))
            return known
    found = data.known_images(facts, data.data_root(data_root))
    # An export holds what is published, and names of images are not.
    if found is not None and not (run.folder / EXPORT_MANIFEST).is_file():
        runs.write_json(path, found.as_json())
    return found


def check_unchanged(run: Run, facts: DataSpec) -> None:
    """Raise ValueError where a run was begun on a folder whose images have changed since."""
    stored = run.config().get("data") if run.exists else None
    if not isinstance(facts, FolderSpec) or not isinstance(stored, dict) or stored.get("path") != facts.path:
        return
    alike = all(stored.get(name) == getattr(facts, name) for name in ("split_seed", "divided"))
    if alike and stored.get("image_shape") == list(facts.image_shape) and stored.get("checksum") != facts.checksum:
        raise ValueError(
            f"the images in {facts.path} have changed since {run.folder} was begun ({_sizes(stored)} then, "
            f"{_sizes(asdict(facts))} now): train on them under another --name, or put the former images back; a "
            "finished run can be evaluated as it is"
        )


def _sizes(facts: Mapping[str, Any]) -> str:
    return f"{facts.get('train_size')} to train and {facts.get('test_size')} to test"


def images_of(run: Run, facts: DataSpec, split: Split, data_root: Path | None) -> RunImages:
    """One split of the data of a run.

    Args:
        run: the run's folder.
        facts: about its data; of a folder that was moved, with its new path.
        split: "train" or "test".
        data_root: folder of the data files.
    Raises:
        ValueError: none of the images is there any more, or, of a run of an earlier version, the folder has changed.
        FileNotFoundError: the folder, or a file, is gone.
    """
    known = remember_images(run, facts, data_root)
    if known is None or not isinstance(facts, FolderSpec):
        return RunImages(data.load(facts, split, data_root))
    found = data.find_known(facts, known, split, data.data_root(data_root))
    pixels, labels = (torch.from_numpy(array) for array in found.arrays)
    remark = ""
    if found.changes:
        left = len(labels) - len(found.missing)
        which = f"all {left} are" if not found.missing else f"{left} of {len(labels)} are"
        remark = (
            f"{facts.path} has changed since this run was trained: {found.changes}; of the run's {split} images "
            f"{which} as they were"
        )
    return RunImages(Images(pixels, labels, facts.levels), found.missing, remark)
