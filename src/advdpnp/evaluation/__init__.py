"""Evaluation: accuracy with intervals, robustness with verdicts, geometry."""

from advdpnp.attacks.attack import check_mode
from advdpnp.evaluation.checks import examine
from advdpnp.evaluation.chunks import CHUNK
from advdpnp.evaluation.evaluate import Evaluation, evaluate
from advdpnp.evaluation.listener import Listener
from advdpnp.evaluation.paired import paired_test
from advdpnp.evaluation.samples import attacked_samples, embedding_arrays
from advdpnp.evaluation.seeds import over_seeds
from advdpnp.evaluation.shards import merge_shards
from advdpnp.evaluation.verdicts import UnevaluatedError

__all__ = [
    "CHUNK",
    "Evaluation",
    "Listener",
    "UnevaluatedError",
    "attacked_samples",
    "check_mode",
    "embedding_arrays",
    "evaluate",
    "examine",
    "merge_shards",
    "over_seeds",
    "paired_test",
]
