"""Evaluation: accuracy with intervals, robustness with verdicts, geometry."""

from advdpnp.attacks.attack import check_mode
from advdpnp.attacks.monitored_model import logits_alone
from advdpnp.callbacks import EvaluationCallback
from advdpnp.evaluation.combine import merge_shards, over_seeds, paired_test
from advdpnp.evaluation.evaluate import Evaluation, evaluate
from advdpnp.evaluation.model_checks import examine
from advdpnp.evaluation.single_pass import CHUNK
from advdpnp.evaluation.verdicts import UnevaluatedError

__all__ = [
    "CHUNK",
    "Evaluation",
    "EvaluationCallback",
    "UnevaluatedError",
    "check_mode",
    "evaluate",
    "examine",
    "logits_alone",
    "merge_shards",
    "over_seeds",
    "paired_test",
]
