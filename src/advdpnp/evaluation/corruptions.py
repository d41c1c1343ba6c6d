"""Accuracy under common corruptions: 19 corruptions at 5 severities, each one pass over the images."""

import time

from torch import Tensor

from advdpnp.callbacks import EvaluationCallback
from advdpnp.data.corruption_sources import CorruptionSource
from advdpnp.data.corruptions import CORRUPTIONS, SEVERITIES
from advdpnp.evaluation.single_pass import AttackTarget, Chunk, single_pass
from advdpnp.evaluation.state import EvaluationState
from advdpnp.result_files import corruption_fields
from advdpnp.runs import Json

# Values of the images by which the time of generation is measured, at most.
_PROBE = 16 * 3 * 32 * 32
_SEVERITIES = range(1, SEVERITIES + 1)


def corrupted_images_left(state: EvaluationState, n: int) -> int:
    """How many corrupted images are still to be classified, of n images in the test set."""
    names = (f"{corruption}/{severity}" for corruption in CORRUPTIONS for severity in _SEVERITIES)
    return sum(n - state.pass_progress(name).n for name in names)


def time_corruption(target: AttackTarget, source: CorruptionSource) -> float:
    """Seconds that one corrupted image takes to be made, as the mean over the corruptions."""
    places = target.places[: max(1, _PROBE // target.images.pixels[0].numel())]
    x, _ = target.images.batch(places)
    began = time.perf_counter()
    for corruption in CORRUPTIONS:
        source.images(x, corruption, SEVERITIES // 2 + 1, places, target.seed)
    return (time.perf_counter() - began) / (len(CORRUPTIONS) * len(places))


def measure_corruptions(
    target: AttackTarget,
    source: CorruptionSource,
    chunk_size: int,
    state: EvaluationState,
    callback: EvaluationCallback,
) -> Json:
    """Classify the images under each corruption and severity; `corruptions` of the result.

    Args:
        target: the network and the images.
        source: of the corrupted images.
        chunk_size: rows of each forward.
        state: where verdicts are kept; what it already has is skipped.
        callback: told of every corruption and chunk.
    """
    n, right = len(target.places), dict[str, list[int]]()
    for corruption in CORRUPTIONS:
        passes = {severity: state.pass_progress(f"{corruption}/{severity}") for severity in _SEVERITIES}
        callback.on_attack(f"{corruption} ({source.name})", sum(n - progress.n for progress in passes.values()))
        for severity, progress in passes.items():

            def corrupted(chunk: Chunk, corruption: str = corruption, severity: int = severity) -> Tensor:
                return source.images(chunk.x, corruption, severity, chunk.index, target.seed)

            single_pass(target, None, chunk_size, progress, callback.on_images, change=corrupted)
        state.save(now=True)
        right[corruption] = [int(progress.verdicts().robust.sum()) for progress in passes.values()]
    return corruption_fields(right, n)
