"""The images from outside of a training distribution that a caller names: data sets, folders, arrays, and noise."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from advdpnp import data
from advdpnp.api.external import in_memory_images
from advdpnp.api.named_data import FOLDER
from advdpnp.data import DataSpec, Images
from advdpnp.data.folder.decode import decode_all
from advdpnp.data.memory.tensors import is_array
from advdpnp.data.outside import NOISES, Outside, OutsideImages, OutsideNoise, Shape
from advdpnp.data.specs import slug
from advdpnp.predicting.inputs import find_images

# Data sets of other classes that a network is compared with, where the caller names none; noise comes with all.
_USUAL: dict[str, tuple[str, ...]] = {"cifar10": ("cifar100", "mnist"), "cifar100": ("cifar10", "mnist")}


@dataclass(frozen=True)
class OutsideSet:
    """Images from outside, and what limits the meaning of a comparison with them."""

    images: Outside
    remarks: list[str]


@dataclass(frozen=True)
class Inside:
    """What the outside is outside of.

    Args:
        name: of the run's data.
        shape: (channels, H, W) of its images.
        class_names: empty where they are not known.
        count: how many of its images are measured: as many of noise are made.
        seed: of the noise.
        device: where images are put.
    """

    name: str
    shape: Shape
    class_names: tuple[str, ...]
    count: int
    seed: int
    device: torch.device


def outside_sets(against: Any, inside: Inside, root: Path | None, tell: Callable[[str], None]) -> list[OutsideSet]:
    """The outside images that a caller asks for.

    Args:
        against: names of data sets, "uniform-noise", "gaussian-noise" or "folder:PATH"; data sets; images in memory, as
            `advdpnp.given` takes them; one or a list of these, or a dict of images in memory by name. None for noise,
            and the usual data sets that are at hand.
        inside: what they are compared with.
        root: folder of the data files.
        tell: called with lines on what is left out.
    Raises:
        ValueError: the run's own data, unknown names, one name twice, or images that cannot be used.
        FileNotFoundError: a data set that is named is not at hand.
    """
    if against is None:
        found = [*_usual(inside, root, tell), *(_noise(name, inside) for name in NOISES)]
    else:
        found = [_set(one, name, inside, root) for one, name in _asked(against)]
    names = [one.images.name for one in found]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"each outside set must have a name of its own; got {repeated[0]} twice: leave one out")
    return found


def _asked(against: Any) -> list[tuple[Any, str]]:
    """Each set with the name that it is given, "" for none."""
    if isinstance(against, Mapping):
        return [(value, str(name)) for name, value in against.items()]
    single = isinstance(against, str | DataSpec) or is_array(against) or not isinstance(against, Sequence)
    # (images, labels) is one set too.
    pair = isinstance(against, tuple) and len(against) == 2 and all(map(is_array, against))
    listed = [against] if single or pair else list(against)
    if not listed:
        raise ValueError("there is nothing to compare with: name a data set, such as mnist, or uniform-noise")
    return [(one, "") for one in listed]


def _usual(inside: Inside, root: Path | None, tell: Callable[[str], None]) -> list[OutsideSet]:
    found = []
    for name in _USUAL.get(inside.name, ()):
        try:
            found.append(_set(name, "", inside, root))
        except FileNotFoundError:
            tell(f"{name} is not at hand, and is left out: advdpnp data download {name} fetches it")
    return found


def _noise(name: Any, inside: Inside) -> OutsideSet:
    return OutsideSet(OutsideNoise(name, inside.shape, inside.count, inside.device, inside.seed), [])


def _set(asked: Any, name: str, inside: Inside, root: Path | None) -> OutsideSet:
    if isinstance(asked, str) and asked in NOISES:
        return _noise(asked, inside)
    if isinstance(asked, str) and asked.startswith(FOLDER):
        called, images, remarks = _folder(asked.removeprefix(FOLDER), inside.shape)
    else:
        called, images, remarks = _data(asked, inside, root)
    return OutsideSet(OutsideImages(name or called, images.to(inside.device), inside.shape), remarks)


def _data(asked: Any, inside: Inside, root: Path | None) -> tuple[str, Images, list[str]]:
    """Name, test images and remarks of a data set, or of images in memory, whose labels are not used."""
    if not isinstance(asked, str | DataSpec):
        x = asked[0] if isinstance(asked, tuple) else asked
        labels = torch.zeros(len(x), dtype=torch.int64) if is_array(x) else None
        return "images in memory", in_memory_images(x, labels), []
    known = data.spec(asked) if isinstance(asked, str) else asked
    if known.name == inside.name:
        raise ValueError(f"{known.name} is what the network was trained on: name another data set")
    shared, remarks = sorted({*known.class_names} & {*inside.class_names}), []
    if shared:
        which = ", ".join(shared[:3]) + ", ..." * (len(shared) > 3)
        remarks.append(
            f"{len(shared)} of its {known.num_classes} classes are classes of {inside.name} too ({which}): another "
            "source, not other things"
        )
    return known.name, data.load(known, "test", root), remarks


def _folder(path: str, shape: Shape) -> tuple[str, Images, list[str]]:
    """Name, images and remarks of a folder of images, with or without folders of classes in it."""
    if not path or not Path(path).expanduser().is_dir():
        raise FileNotFoundError(f"no folder of images at {path or 'nothing'}: give {FOLDER}PATH")
    folder = Path(path).expanduser().resolve()
    files = find_images([folder])
    pixels, broken = decode_all(files, max(shape[1:]), lambda line: None)
    good = [row for row in range(len(files)) if row not in broken]
    if not good:
        raise ValueError(f"none of the {len(files)} images in {folder} can be read: {next(iter(broken.values()))}")
    remarks = [f"{len(broken)} of {len(files)} files cannot be read, and are left out"] if broken else []
    return slug(folder.name), Images(torch.from_numpy(pixels)[good], torch.zeros(len(good), dtype=torch.int64)), remarks
