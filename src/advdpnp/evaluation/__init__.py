"""Evaluation: accuracy with intervals, robustness with verdicts, geometry."""

from advdpnp.evaluation.evaluate import CHUNK, Evaluation, Listener, evaluate
from advdpnp.evaluation.paired import paired_test
from advdpnp.evaluation.samples import attacked_samples, embedding_arrays

__all__ = ["CHUNK", "Evaluation", "Listener", "attacked_samples", "embedding_arrays", "evaluate", "paired_test"]
