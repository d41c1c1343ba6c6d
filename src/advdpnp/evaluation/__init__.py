"""Evaluation: accuracy with intervals, robustness with verdicts, geometry."""

from advdpnp.evaluation.checks import check_mode, examine
from advdpnp.evaluation.evaluate import CHUNK, Evaluation, Listener, evaluate
from advdpnp.evaluation.paired import paired_test
from advdpnp.evaluation.samples import attacked_samples, embedding_arrays

__all__ = [
    "CHUNK",
    "Evaluation",
    "Listener",
    "attacked_samples",
    "check_mode",
    "embedding_arrays",
    "evaluate",
    "examine",
    "paired_test",
]
