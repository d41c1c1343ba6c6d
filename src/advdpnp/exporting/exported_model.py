"""What is exported: a classifier, where it comes from, what was measured of it, and what its owner says of it."""

import hashlib
from dataclasses import dataclass, field

from advdpnp.experiments import Experiment
from advdpnp.exporting.paper_reference import PaperReference
from advdpnp.models.classifier import Classifier
from advdpnp.report.read import RunResults
from advdpnp.results import EvaluationResult


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """A classifier and its story.

    Args:
        model: in eval mode, on the CPU.
        experiment: what it was trained as.
        stored: what its run folder holds.
        weights: content of the checkpoint's file.
        checkpoint: "last" or "best".
        epoch: epochs that these weights were trained for.
        license: of the weights, a name such as MIT.
        reference: what a leaderboard asks of the authors.
    """

    model: Classifier
    experiment: Experiment
    stored: RunResults
    weights: bytes
    checkpoint: str
    epoch: int
    license: str = "MIT"
    reference: PaperReference = field(default_factory=PaperReference)

    def __post_init__(self) -> None:
        if not self.license.strip() or not self.license.isprintable():
            raise ValueError(f"--license must be one line, such as MIT or CC-BY-4.0; got {self.license!r}")

    def results(self) -> list[EvaluationResult]:
        """Evaluations of these very weights; those of another checkpoint or epoch say nothing about them."""
        return [result for result in self._all_results() if self._measured(result)]

    def other_results(self) -> list[EvaluationResult]:
        """Evaluations of other weights of the same run."""
        return [result for result in self._all_results() if not self._measured(result)]

    def _measured(self, result: EvaluationResult) -> bool:
        # Older results do not say of which weights they are.
        same = result.weights in ("", hashlib.sha256(self.weights).hexdigest())
        return same and (result.checkpoint, result.epoch) == (self.checkpoint, self.epoch)

    def _all_results(self) -> list[EvaluationResult]:
        return [*self.stored.suites, *self.stored.curves]
