"""Files of torch.export: a .pt2 file, such as `advdpnp export` writes, is a whole network."""

import contextlib
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from advdpnp.mode import settle

SUFFIX = ".pt2"
_CURE = "export it again with torch.export.save, with the torch version that is installed here"


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """torch logs the traceback of what it then raises."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def read_program(path: Path) -> nn.Module:
    """The network in a .pt2 file.

    Args:
        path: written by torch.export.save. Like a callable, it is code: run only what you trust.
    Returns:
        A module for good in the mode in which it was exported; `train` and `eval` leave it as it is.
    Raises:
        FileNotFoundError: no such file. ValueError: damaged, or no program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: --model takes a {SUFFIX} file of torch.export")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged, or no program of torch.export: {_CURE}")
    try:
        with _quietly():
            module: nn.Module = torch.export.load(path).module()
    except Exception as error:  # a damaged file, or one of another version, can fail in any way
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is damaged, or a program of another torch version ({said}): {_CURE}") from None
    return settle(module)
