"""The data set that a user names: one that is known, or a folder of images of one's own."""

from collections.abc import Callable
from pathlib import Path

from advdpnp.data import DataSpec, folder_spec, spec
from advdpnp.models.libraries import is_library_name, network_by_name

# How a folder of images is named as data.
FOLDER = "folder:"


def facts_of(
    data: str,
    image_size: int | None,
    split_seed: int,
    skip_broken: bool,
    root: Path | None,
    tell: Callable[[str], None],
) -> DataSpec:
    """The data set of a name; the images of a folder are decoded, unless they are cached.

    Args:
        data: "cifar10", "folder:PATH" and the like.
        image_size: side of a folder's images; None for 32.
        split_seed: of a folder, as `advdpnp.data.folder_spec` takes it.
        skip_broken: of a folder, likewise.
        root: folder of the data files; None for the usual one.
        tell: called with lines on the folder.
    Raises:
        ValueError: unknown data set, options of a folder with a name, or a folder that cannot be used.
    """
    if data.startswith(FOLDER):
        path = data.removeprefix(FOLDER)
        if not path:
            raise ValueError(f"{FOLDER} must be followed by the path of a folder, as in {FOLDER}photos; got none")
        size = 32 if image_size is None else image_size
        return folder_spec(path, size, split_seed, root, skip_broken=skip_broken, tell=tell)
    if image_size is not None or split_seed or skip_broken:
        wanted = f"--image-size, --split-seed and --skip-broken are for {FOLDER}PATH"
        raise ValueError(f"{wanted}; got {data}: leave them out")
    return spec(data)


def usual_size(data: str, image_size: int | None, model: str, tell: Callable[[str], None]) -> int | None:
    """The side of a folder's images: what is asked for, else that of the training of another library's network."""
    if image_size is not None or not data.startswith(FOLDER) or not is_library_name(model):
        return image_size
    usual = network_by_name(model, data).preprocessing().image_size
    if usual is not None:
        tell(f"images of {usual}x{usual} pixels, as {model} was trained with: --image-size changes it")
    return usual
