"""What is exported: a classifier, where it comes from, what was measured of it, and what its owner says of it."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from advdpnp.experiments import Experiment
from advdpnp.interchange.claim import Claim
from advdpnp.models.classifier import Classifier
from advdpnp.report.read import Run as StoredRun
from advdpnp.report.read import Suite
from advdpnp.runs import read_json


@dataclass(frozen=True)
class Result:
    """One stored evaluation.

    Args:
        path: its file.
        data: name of the data set whose test images were attacked.
        suite: the numbers.
    """

    path: Path
    data: str
    suite: Suite


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier and its story.

    Args:
        model: in eval mode, on the CPU.
        experiment: what it was trained as.
        stored: what its run folder holds.
        weights: content of the checkpoint's file.
        checkpoint: "last" or "best".
        epoch: epochs that these weights were trained for.
        license: of the weights, a name such as MIT.
        claim: what a leaderboard asks of the authors.
    """

    model: Classifier
    experiment: Experiment
    stored: StoredRun
    weights: bytes
    checkpoint: str
    epoch: int
    license: str = "MIT"
    claim: Claim = field(default_factory=Claim)

    def __post_init__(self) -> None:
        if not self.license.strip() or not self.license.isprintable():
            raise ValueError(f"--license must be one line, such as MIT or CC-BY-4.0; got {self.license!r}")

    def results(self) -> list[Result]:
        """Evaluations of these very weights; those of another checkpoint or epoch say nothing about them."""
        return [result for result in self._all_results() if self._measured(result)]

    def foreign_results(self) -> list[Result]:
        """Evaluations of other weights of the same run."""
        return [result for result in self._all_results() if not self._measured(result)]

    def _measured(self, result: Result) -> bool:
        # Older results do not say of which weights they are.
        same = result.suite.weights in ("", hashlib.sha256(self.weights).hexdigest())
        return same and (result.suite.checkpoint, result.suite.epoch) == (self.checkpoint, self.epoch)

    def _all_results(self) -> Iterator[Result]:
        # The files again, in the order of `stored.suites`: only they say which data was attacked.
        paths = sorted((self.stored.folder / "eval").glob("*.json"))
        files = [(path, read_json(path)) for path in paths if not path.name.endswith(".partial.json")]
        usual = [(path, file) for path, file in files if file["suite"] != "curve"]
        for (path, file), suite in zip(usual, self.stored.suites, strict=True):
            yield Result(path, str(file["data"]), suite)
        if self.stored.curve is not None:
            path, file = next((path, file) for path, file in files if file["suite"] == "curve")
            yield Result(path, str(file["data"]), self.stored.curve)
