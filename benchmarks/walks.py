"""How many files a reader crosses: one training batch, one image through AutoAttack, a stored result into the page.

    python benchmarks/walks.py [-v]

Counted are the files of the package in which a function was called, and how often the next call was in another file;
imports are not counted. With -v the files are listed.
"""

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import torch

import advdpnp
from advdpnp.report import write_report
from advdpnp.training.step import Training

PACKAGE = str(Path(advdpnp.__file__).parent)
# The third step: whatever is made once has been made.
STEP = 3


class Walk:
    """The files of the package that calls go through while it is followed."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.changes, self._last = 0, ""

    def _follow(self, frame: FrameType, event: str, argument: object) -> None:
        path = frame.f_code.co_filename
        if event != "call" or not path.startswith(PACKAGE) or frame.f_code.co_name == "<module>":
            return
        if path != self._last:
            self.changes, self._last = self.changes + 1, path
        self.files.add(str(Path(path).relative_to(PACKAGE)))

    @contextlib.contextmanager
    def followed(self) -> Iterator[None]:
        sys.setprofile(self._follow)
        try:
            yield
        finally:
            sys.setprofile(None)


def trained(folder: Path, walk: Walk) -> Path:
    """A run on digits, of which one step is followed."""
    advance, steps = Training.advance, iter(range(1, 1000))

    def step(training: Training, order: torch.Tensor) -> None:
        with walk.followed() if next(steps) == STEP else contextlib.nullcontext():
            advance(training, order)

    Training.advance = step  # type: ignore[method-assign]
    try:
        settings = ("recipe.epochs=1", "recipe.train_images=512", "recipe.attack.steps=10")
        return advdpnp.train(advdpnp.experiment("digits/tiny/adv-dpnp", settings=settings), folder).folder
    finally:
        Training.advance = advance  # type: ignore[method-assign]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="list the files")
    verbose = parser.parse_args().verbose
    torch.set_num_threads(1)
    batch, autoattack, page = Walk(), Walk(), Walk()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        run = trained(Path(folder), batch)
        with autoattack.followed():
            advdpnp.evaluate(run, suite="autoattack", limit=1)
        advdpnp.evaluate(run, suite="text", limit=64)
        with page.followed():
            write_report([run], Path(folder) / "page")
    for name, walk in (("training batch", batch), ("image through AutoAttack", autoattack), ("result into page", page)):
        print(f"{name}: {len(walk.files)} files, {walk.changes} changes of file")
        if verbose:
            print("  " + "\n  ".join(sorted(walk.files)))


if __name__ == "__main__":
    main()
