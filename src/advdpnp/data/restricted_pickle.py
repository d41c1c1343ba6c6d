"""Reads the pickles that CIFAR comes in without running what a pickle could run."""

import io
import pickle
from pathlib import Path
from typing import Any, ClassVar


class _ArraysOnly(pickle.Unpickler):
    """Finds what rebuilds numpy arrays, and nothing else."""

    _ALLOWED: ClassVar[set[tuple[str, str]]] = {
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy._core.numeric", "_frombuffer"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise ValueError(f"its pickle asks for {module}.{name}, which no data file needs")
        # The file names numpy's old module, which today's numpy answers with a warning.
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_pickle(path: Path) -> dict[bytes, Any]:
    """The dictionary in a CIFAR batch, its keys as bytes.

    Raises:
        ValueError: the file is damaged, holds no dictionary, or asks for more than arrays.
    """
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path} is damaged or no data file ({reason}): restore it from its archive") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a dictionary; got {type(content).__name__}: restore it from its archive")
    return content
