"""Which images are explained: files, images of a run's test set, or tensors; and their true classes, where known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.api.predicting import in_bytes, inputs_of
from advdpnp.api.test_sets import test_set
from advdpnp.experiments import Experiment
from advdpnp.indices import parse_indices
from advdpnp.predicting import Failure, Inputs, find_images, from_files
from advdpnp.ranges import nearest
from advdpnp.runs import Run

# An image of the test set is called so, with its position.
TEST = "test:"
# A page of more images is none that anybody reads.
MOST = 64

Label = str | int


@dataclass(frozen=True, eq=False)
class ChosenImages:
    """The images to explain.

    Args:
        entries: in the order in which they were asked for: the name of an image, or why it could not be read.
        x: (N, channels, H, W) float32 in [0, 1], those that could.
        labels: N true classes; None where they are not known.
    """

    entries: tuple[str | Failure, ...]
    x: Tensor
    labels: tuple[int | None, ...]

    @property
    def names(self) -> list[str]:
        """Names of the images that could be read."""
        return [entry for entry in self.entries if isinstance(entry, str)]


def chosen_images(
    wanted: Sequence[Path | str] | Tensor,
    run: Run,
    done: Experiment,
    label: object,
    invert: bool,
    data_root: Path | None,
    tell: Callable[[str], None],
) -> ChosenImages:
    """The images that a caller names to a run.

    Args:
        wanted: files, folders, and "test:17" or "test:0-3,17" for images of the run's test set; or a tensor of images.
        run: the run.
        done: its experiment.
        label: true class of the images that are not of the test set: one for all, or a sequence with one for each.
        invert: of files, make dark light.
        data_root: folder of the data files.
        tell: called with lines of progress.
    Raises:
        ValueError: no image that can be read, too many, positions beyond the test set, or labels that do not fit.
        FileNotFoundError: no file or no data there.
    """
    names = done.data.class_names
    if isinstance(wanted, Tensor):
        return given_images(inputs_of(wanted, in_bytes(done.data), invert, tell), label, names)
    found = [_positions(str(one)) or find_images([Path(one)]) for one in wanted]
    check_count(sum(map(len, found)))
    parts, tested = list[ChosenImages](), None
    files = sum(len(one) for one in found if isinstance(one, list))
    labels = iter(_labels(label, files, names))
    for one in found:
        if isinstance(one, list):
            inputs = from_files(one, in_bytes(done.data), invert, tell)
            parts.append(_with_labels(inputs, [next(labels) for _ in one]))
            continue
        tested = tested or test_set(run, done, None, data_root)
        _check_positions(one, len(tested.images), tested.missing)
        x, y = tested.images.batch(torch.tensor(one))
        parts.append(ChosenImages(tuple(f"{TEST}{position}" for position in one), x, tuple(y.tolist())))
    broken = [entry for part in parts for entry in part.entries if isinstance(entry, Failure)]
    if len(broken) == sum(len(part.entries) for part in parts):
        others = f", and none of the other {len(broken) - 1} images can be read" if len(broken) > 1 else ""
        raise ValueError(f"{broken[0].file}: {broken[0].error}{others}")
    return ChosenImages(
        tuple(entry for part in parts for entry in part.entries),
        torch.cat([part.x for part in parts]),
        tuple(each for part in parts for each in part.labels),
    )


def given_images(inputs: Inputs, label: object, class_names: Sequence[str]) -> ChosenImages:
    """Images in memory.

    Args:
        inputs: the images.
        label: their true class, or a sequence with one for each; None where they are not known.
        class_names: of all classes.
    Raises:
        ValueError: as `chosen_images`.
    """
    check_count(len(inputs.entries))
    return _with_labels(inputs, _labels(label, len(inputs.entries), class_names))


def class_index(value: object, class_names: Sequence[str], what: str) -> int:
    """The number of a class that is given by name or number.

    Args:
        value: name, or number, or a text that is one.
        class_names: of all classes.
        what: what it is called in a message.
    Raises:
        ValueError: no such class.
    """
    if isinstance(value, str) and value in class_names:
        return class_names.index(value)
    number = int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else value
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < len(class_names):
        return number
    near = nearest(str(value), class_names)
    hint = f": did you mean {near}?" if near else ""
    raise ValueError(f"{what} must be a class, by name or from 0 to {len(class_names) - 1}; got {value!r}{hint}")


def _positions(text: str) -> tuple[int, ...]:
    """The positions in a text such as "test:0-3,17"; none where it is no such text."""
    if not text.startswith(TEST):
        return ()
    return parse_indices(text.removeprefix(TEST))


def _check_positions(positions: tuple[int, ...], size: int, missing: tuple[int, ...]) -> None:
    if positions[-1] >= size:
        raise ValueError(f"{TEST} names images from 0 to {size - 1}, which the test set has; got {positions[-1]}")
    if gone := sorted({*positions} & {*missing}):
        raise ValueError(f"{TEST}{gone[0]} is no longer in the folder of the run's images: choose another one")


def check_count(count: int) -> None:
    """Raise ValueError unless so many images make a page that can be read."""
    if not 0 < count <= MOST:
        raise ValueError(f"expected from 1 to {MOST} images, a page that can be read; got {count}: choose some")


def _labels(label: object, count: int, class_names: Sequence[str]) -> list[int | None]:
    """One label, or None, for each of `count` images."""
    if label is None or (isinstance(label, list | tuple) and not label):
        return [None] * count
    if isinstance(label, Tensor):
        label = label.tolist()
    given = [*label] if isinstance(label, list | tuple) else [label]
    if len(given) == 1:
        given *= count
    expected = "1" if count == 1 else f"1 or {count}"
    if len(given) != count or not count:
        raise ValueError(
            f"labels are for image files, one for all or one for each: expected {expected}; got {len(given)}"
            if count
            else "images of the test set have labels: leave label out, or give image files too"
        )
    return [class_index(each, class_names, "label") for each in given]


def _with_labels(inputs: Inputs, labels: Sequence[int | None]) -> ChosenImages:
    x, _ = inputs.images.first(len(inputs.images))
    known = (label for entry, label in zip(inputs.entries, labels) if isinstance(entry, str))
    return ChosenImages(inputs.entries, x, tuple(known))
