"""Is a stored result of the weights that lie beside it? One that was copied from another run is whole all the same."""

import hashlib
from functools import lru_cache
from pathlib import Path

from advdpnp.runs import EXPORTED_WEIGHTS, Run

_CHECKPOINTS = "last", "best"
_SHOWN = 12


def check_weights(run: Run, path: Path, checkpoint: str, weights: str) -> None:
    """Refuse a result of other weights than those that the run has now; where it has none, nothing can be told.

    Args:
        run: in whose folder the result lies.
        path: of the result, for the message.
        checkpoint: "last" or "best", as the result names it.
        weights: SHA-256 of their file, as the result names it; "" where it does not.
    Raises:
        ValueError: they are others.
    """
    exported = (run.folder / EXPORTED_WEIGHTS).is_file()
    held = run.stored_checkpoint("last") if exported else checkpoint
    file = run.stored_weights_path(checkpoint)
    if not weights or checkpoint not in _CHECKPOINTS or checkpoint != held or not file.is_file():
        return
    facts = file.stat()
    found = _sha256(file, facts.st_size, facts.st_mtime_ns)
    if found != weights:
        raise ValueError(
            f"{path} is a result of other weights ({weights[:_SHOWN]}...) than {file} ({found[:_SHOWN]}...): "
            "remove it, and evaluate the run again"
        )


@lru_cache(maxsize=512)
def _sha256(file: Path, size: int, changed: int) -> str:
    """Of a file as it was at some time, since a report has many results of the same weights."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
