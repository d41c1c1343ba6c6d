"""Which images a command works on: a data set by name, or a folder of images by class."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from advdpnp.data import DataSpec

FOLDER = "folder:"

ImageSize = Annotated[int | None, typer.Option(help="Side of the images of a folder; 32 by default.")]
SplitSeed = Annotated[int, typer.Option(help="Seed of the choice of a folder's test images.")]
SkipBroken = Annotated[bool, typer.Option("--skip-broken", help="Leave out images that cannot be read.")]


def facts_of(
    data: str,
    image_size: int | None,
    split_seed: int,
    skip_broken: bool,
    root: Path | None,
    tell: Callable[[str], None],
) -> "DataSpec":
    """Facts about the images that a command line names; those of a folder are decoded, if they are not kept yet.

    Raises:
        ValueError: unknown data set, options of a folder with a name, or a folder that cannot be used.
    """
    from advdpnp.data import folder_spec, spec

    if data.startswith(FOLDER):
        path = data.removeprefix(FOLDER)
        size = 32 if image_size is None else image_size
        return folder_spec(path, size, split_seed, root, skip_broken=skip_broken, tell=tell)
    if image_size is not None or split_seed or skip_broken:
        wanted = f"--image-size, --split-seed and --skip-broken are for {FOLDER}PATH"
        raise ValueError(f"{wanted}; got {data}: leave them out")
    return spec(data)
