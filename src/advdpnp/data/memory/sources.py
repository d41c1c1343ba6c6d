"""What people have in memory, arrays and data sets, as one tensor of images and one of labels."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from advdpnp.data.folder.decode import picture_of
from advdpnp.data.memory.tensors import (
    bytes_or_floats,
    channels_first,
    check_layout,
    class_labels,
    is_array,
    squared,
    tensor_of,
)

_IMAGE_NAMES = ("image", "img", "images", "pixel_values", "x")
_LABEL_NAMES = ("label", "labels", "target", "fine_label", "y")
# So many items are read twice, to see whether they are the same each time.
_READ_TWICE = 8


@dataclass(frozen=True, eq=False)
class Gathered:
    """One part of a data set, read.

    Args:
        pixels: (N, channels, H, W) uint8 in [0, 255] or float32 in [0, 1].
        labels: (N,) int64.
        class_names: where the source names them, else ().
        name: what the source calls itself, or "".
        resized: in words, if images were.
    """

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()
    name: str = ""
    resized: str = ""


def gather(source: Any, image_size: int | None = None) -> Gathered:
    """Read a source whole.

    Args:
        source: a pair (images, labels) of arrays, tensors or lists; a map-style `torch.utils.data.Dataset`, or any
            sequence, of (image, label); or a HuggingFace `Dataset` with a column of images and one of labels. An image
            is a PIL image, an array or a tensor.
        image_size: side of the images, S; None leaves them as they are, and they must be of one size.
    Raises:
        ValueError: in one line, what does not fit.
    """
    names: tuple[str, ...] = ()
    name = ""
    if _is_pair(source):
        images, labels = source
        (stacked, resized) = (_one_array if is_array(images) else _stacked)(images, image_size)
    elif hasattr(source, "column_names") and hasattr(source, "features"):
        read, names = _columns(source)
        (stacked, resized), labels = _read_all(read, len(source), image_size)
        name = _own_name(source)
    else:
        _check_map_style(source)
        (stacked, resized), labels = _read_all(
            lambda position: _image_and_label(source[position], position), len(source), image_size
        )
        names, name = _class_names(source), "" if isinstance(source, list | tuple) else type(source).__name__
    pixels = bytes_or_floats(stacked).contiguous()
    return Gathered(pixels, class_labels(labels, len(pixels)), names, name, resized)


def as_tensors(images: Any, labels: Any = None) -> tuple[Tensor, Tensor]:
    """Images and labels of a caller as (N, channels, H, W) and (N,) int64, for a network of any number of channels.

    Args:
        images: an array or a list of images; or, without labels, what `gather` takes.
        labels: one integer for each image.
    Returns:
        Floats as they are, whole numbers as uint8.
    Raises:
        ValueError: as `gather`.
    """
    if labels is None and not is_array(images):
        gathered = gather(images)
        return gathered.pixels, gathered.labels
    if labels is None:
        raise ValueError("images need labels: give both, as in evaluate(model, x, y)")
    x = channels_first(tensor_of(images, "images")) if is_array(images) else _stacked(images, None)[0]
    if x.dim() != 4 or not x.numel():
        raise ValueError(f"x must be (N, channels, H, W) with N at least 1; got {tuple(x.shape)}")
    return x if x.is_floating_point() else bytes_or_floats(x), class_labels(labels, len(x))


def _read_all(
    read: Callable[[int], tuple[Any, Any]], count: int, image_size: int | None
) -> tuple[tuple[Tensor, str], list[Any]]:
    """The images and labels that `read` gives at each position."""
    labels: list[Any] = []

    # One by one, so that no more than the images as tensors is held.
    def images() -> Iterator[Any]:
        for position in range(count):
            image, label = read(position)
            if position < _READ_TWICE and not _alike(image, read(position)[0]):
                raise ValueError(
                    f"image {position} differs from one reading to the next: give the data set without random "
                    "transforms, since training crops and flips by itself"
                )
            labels.append(_number(label, position))
            yield image

    return _stacked(images(), image_size), labels


def _is_pair(source: Any) -> bool:
    """Whether it is (images, labels) of many images, and not a sequence of two items."""
    if not isinstance(source, tuple | list) or len(source) != 2:
        return False
    labels = source[1]
    return is_array(labels) or (isinstance(labels, Sequence) and not (labels and _is_image(labels[0])))


def _is_image(value: Any) -> bool:
    return hasattr(value, "convert") or (is_array(value) and value.ndim >= 2)


def _one_array(images: Any, image_size: int | None) -> tuple[Tensor, str]:
    """(N, channels, H, W) of an array of images, and in words what was resized."""
    x = channels_first(tensor_of(images, "images"))
    check_layout(x)
    if image_size is None or x.shape[2:] == (image_size, image_size):
        return x, ""
    height, width = x.shape[2:]
    small = torch.stack([squared(_narrow(image), image_size) for image in x])
    return small, _resizing([(height, width)], image_size)


def _narrow(image: Tensor) -> Tensor:
    """Wide whole numbers stay exact in float32 as far as pixels go."""
    return image if image.is_floating_point() or image.dtype == torch.uint8 else image.to(torch.float32)


def _stacked(images: Iterable[Any], image_size: int | None) -> tuple[Tensor, str]:
    """(N, channels, H, W) of single images, and in words what was resized."""
    found: list[Tensor] = []
    sizes: set[tuple[int, int]] = set()
    for image in images:
        x = _one_image(image, len(found))
        sizes.add((x.shape[1], x.shape[2]))
        found.append(x if image_size is None else squared(x, image_size))
    if not found:
        raise ValueError("there must be at least one image; got none")
    if image_size is None and len(sizes) > 1:
        raise ValueError(
            f"images have different sizes ({_sizes(sizes)}): give an image_size, such as 32, to which the square in "
            "the middle of each is resized: advdpnp.given(data, image_size=32)"
        )
    kinds = {x.dtype for x in found}
    if len(kinds) > 1:
        raise ValueError(f"images must be of one type; got {' and '.join(sorted(map(str, kinds)))}")
    if len({len(x) for x in found}) > 1:
        found = [x.expand(3, -1, -1) for x in found]
    resized = "" if image_size is None or sizes == {(image_size, image_size)} else _resizing(sizes, image_size)
    return torch.stack(found), resized


def _one_image(image: Any, position: int) -> Tensor:
    """(channels, H, W) of a PIL image, an array or a tensor."""
    if hasattr(image, "convert"):
        image = picture_of(image)
    if not is_array(image):
        raise ValueError(f"image {position} must be a PIL image, an array or a tensor; got {type(image).__name__}")
    x = tensor_of(image, "images")[None]
    if x.dim() not in (3, 4):
        raise ValueError(f"image {position} must have 2 or 3 dimensions; got shape {tuple(x.shape[1:])}")
    x = channels_first(x)
    check_layout(x)
    return x[0]


def _sizes(sizes: Iterable[tuple[int, int]]) -> str:
    shown = sorted(sizes)
    return ", ".join(f"{height}x{width}" for height, width in shown[:3]) + (", ..." if len(shown) > 3 else "")


def _resizing(sizes: Iterable[tuple[int, int]], image_size: int) -> str:
    return f"images of {_sizes(sizes)} become {image_size}x{image_size}: the square in the middle, resized"


def _check_map_style(source: Any) -> None:
    if isinstance(source, DataLoader):
        raise ValueError("expected a data set; got a DataLoader: give loader.dataset")
    if isinstance(source, IterableDataset) or not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        kind = type(source).__name__
        if isinstance(source, IterableDataset) or hasattr(source, "__iter__"):
            raise ValueError(f"expected a data set with a length and positions; got {kind}: give list(it), if it fits")
        raise ValueError(
            f"expected (images, labels), a data set of torch or HuggingFace, or a mapping of train and test; got {kind}"
        )
    if is_array(source):
        raise ValueError("images need labels: give both, as in (images, labels)")
    if isinstance(source, str):
        raise ValueError(
            f"expected images; got the text {source!r}: a folder is read by advdpnp.folder_spec(path, size)"
        )


def _image_and_label(item: Any, position: int) -> tuple[Any, Any]:
    if isinstance(item, Mapping):
        image, label = (_named(item, names) for names in (_IMAGE_NAMES, _LABEL_NAMES))
        if image is not None and label is not None:
            return item[image], item[label]
        raise ValueError(f"item {position} must have an image and a label; got {', '.join(map(str, item))}")
    if isinstance(item, tuple | list) and len(item) == 2:
        return item[0], item[1]
    got = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
    raise ValueError(f"item {position} must be (image, label); got {got}")


def _named(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    present = set(names)
    return next((name for name in wanted if name in present), None)


def _number(label: Any, position: int) -> Any:
    if isinstance(label, str):
        raise ValueError(
            f"labels must be integers; got the text {label!r} at {position}: number the classes from 0, and give their "
            "names as class_names"
        )
    number = np.asarray(label.cpu() if isinstance(label, Tensor) else label)
    if number.size != 1:
        raise ValueError(f"the label at {position} must be one integer; got {number.size} values: give label.argmax()")
    return number.reshape(()).item()


def _alike(first: Any, second: Any) -> bool:
    a, b = (np.asarray(value.cpu() if isinstance(value, Tensor) else value) for value in (first, second))
    return a.shape == b.shape and bool((a == b).all())


def _columns(source: Any) -> tuple[Callable[[int], tuple[Any, Any]], tuple[str, ...]]:
    """What reads an image and its label from a HuggingFace data set, and the names of the classes."""
    if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
        raise ValueError(
            f"expected a data set with a length; got {type(source).__name__}, which is streamed: load it without "
            "streaming=True"
        )
    features = source.features
    image = _column(features, "Image", _IMAGE_NAMES, "images")
    label = _column(features, "ClassLabel", _LABEL_NAMES, "labels")
    if getattr(features[label], "dtype", "") == "string":
        raise ValueError(
            f"labels must be integers; the column {label} holds texts: give data.class_encode_column({label!r})"
        )

    def read(position: int) -> tuple[Any, Any]:
        row = source[position]
        return row[image], row[label]

    return read, tuple(getattr(features[label], "names", None) or ())


def _column(features: Mapping[str, Any], kind: str, names: Sequence[str], what: str) -> str:
    """The one column of a kind, else the one with a usual name."""
    found = [name for name, feature in features.items() if type(feature).__name__ == kind]
    if len(found) > 1:
        rest = [name for name in features if name not in found]
        raise ValueError(
            f"the data set has {len(found)} columns of {what}, {', '.join(found)}: keep one, as in "
            f"data.select_columns({[*rest, found[0]]})"
        )
    name = found[0] if found else _named(features, names)
    if name is None:
        raise ValueError(f"the data set has no column of {what}; got {', '.join(features)}: rename one to {names[0]}")
    return name


def _class_names(source: Any) -> tuple[str, ...]:
    """Those that data sets of torchvision have, or the data set that one is a part of."""
    while source is not None:
        names = getattr(source, "classes", None)
        if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
            return tuple(names)
        source = getattr(source, "dataset", None)
    return ()


def _own_name(source: Any) -> str:
    info = getattr(source, "info", None)
    return str(getattr(info, "dataset_name", None) or getattr(info, "builder_name", None) or "")
