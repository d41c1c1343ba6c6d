"""What to do with the time that is left: engine, batch, epochs and arms. Pure functions of what was measured."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from advdpnp.runs import Json
from gpu.scale import Arm, Scale, Variant

# A larger batch takes another rate, and fewer steps learn less: it has to pay.
WORTH = 1.25
# What an epoch takes beside the steps that were timed, and how far measured time may be off.
MARGIN = 1.05
# The arm that every measured time is of.
MEASURED_FORWARDS = 26
# A variant of the ladder until its first step is over, where no batch was begun yet, and then its timing: measured on
# the first GPU as 28 to 32 s and up to 3 s. Another engine or choice at a batch that was timed took up to 0.6 s.
VARIANT_START, VARIANT_REST = 35.0, 5.0


@dataclass(frozen=True)
class Measured:
    """What is known so far.

    Args:
        steps: seconds of one training step of the ladder's arm, by the name of the variant.
        starts: seconds of a variant until its first step was over, compilation included.
        epochs: wall seconds of an epoch and forwards of the arm it was of, by (engine, batch): from a training itself.
        measure, search: seconds that the suite and AutoAttack took.
    """

    steps: Mapping[str, float] = field(default_factory=dict)
    starts: Mapping[str, float] = field(default_factory=dict)
    epochs: Mapping[tuple[str, int], tuple[float, int]] = field(default_factory=dict)
    measure: float | None = None
    search: float | None = None


@dataclass(frozen=True)
class Plan:
    """What is trained.

    Args:
        engine, batch, benchmark: how.
        epochs: of every arm.
        arms: labels of the arms that are trained, in their order.
        dropped: labels of those that are not.
        epoch_seconds: forecast, by label.
        seconds: forecast of everything.
    """

    engine: str
    batch: int
    benchmark: bool
    epochs: int
    arms: tuple[str, ...]
    dropped: tuple[str, ...]
    epoch_seconds: Mapping[str, float]
    seconds: float


def engines_by_speed(scale: Scale, refused: Sequence[str], measured: Measured) -> list[str]:
    """The engines that can be trusted: those that were timed, fastest first, then the others in their order."""

    def seconds(engine: str) -> float:
        return measured.steps.get(Variant(engine, scale.batches[0]).name, math.inf)

    trusted = [engine for engine in scale.engines if engine not in refused]
    return sorted(trusted, key=lambda engine: (seconds(engine), scale.engines.index(engine)))


def choose_batch(scale: Scale, engine: str, measured: Measured) -> int:
    """Twice the usual batch if it was measured to be worth it, else the usual one."""
    usual, larger = scale.batches[0], scale.batches[min(1, len(scale.batches) - 1)]
    times = [measured.steps.get(Variant(engine, batch).name) for batch in (usual, larger)]
    if times[0] is None or times[1] is None:
        return usual
    return larger if larger / times[1] >= WORTH * usual / times[0] else usual


def choose_benchmark(scale: Scale, engine: str, measured: Measured) -> bool:
    """Whether cuDNN tries its algorithms out: unless its first choice was measured to be faster."""
    tried, plain = (measured.steps.get(Variant(engine, scale.batches[0], on).name, math.inf) for on in (True, False))
    return tried <= plain


def variant_seconds(variant: Variant, timed: Mapping[str, Json]) -> float:
    """What a variant takes, by those that the process has timed before it: a new batch is compiled and captured."""
    starts = {entry["batch"]: entry["start_seconds"] for entry in timed.values() if "start_seconds" in entry}
    start = 0.0 if variant.batch in starts else max(starts.values(), default=VARIANT_START)
    return MARGIN * start + VARIANT_REST


def epoch_seconds(scale: Scale, arm: Arm, engine: str, batch: int, benchmark: bool, measured: Measured) -> float:
    """Wall seconds of an epoch of an arm: from a training with the same engine, else from the ladder, else assumed."""
    if (engine, batch) in measured.epochs:
        seconds, forwards = measured.epochs[engine, batch]
        return MARGIN * seconds * arm.forwards / forwards
    names = (Variant(engine, batch, benchmark).name, Variant(engine, batch).name)
    step = next((measured.steps[name] for name in names if name in measured.steps), None)
    whole = scale.epoch_seconds[engine] if step is None else MARGIN * step * math.ceil(scale.train_images / batch)
    return whole * arm.forwards / MEASURED_FORWARDS


def make_plan(
    scale: Scale,
    left: float,
    engine: str,
    measured: Measured,
    waiting: Sequence[Arm],
    to_search: int = 0,
    like: tuple[int, int] | None = None,
) -> Plan:
    """How many epochs of which arms end in the time that is left, and their evaluation with them.

    Args:
        scale: how large everything is.
        left: seconds until the call must be over.
        engine: of the arms.
        measured: what is known so far.
        waiting: arms that are not trained yet, in their order.
        to_search: arms that are trained, and wait for AutoAttack only.
        like: epochs and batch of an arm that is trained already: the others get no more epochs, and the same batch.
    Returns:
        The plan; with no arms where not even one epoch of one arm would end. Under `scale.least_epochs` optional arms
        go first; AutoAttack goes before the last arm does.
    """
    batch = like[1] if like else choose_batch(scale, engine, measured)
    benchmark = choose_benchmark(scale, engine, measured)
    most = min(scale.most_epochs, like[0]) if like else scale.most_epochs
    start = max(scale.start_seconds, MARGIN * measured.starts.get(Variant(engine, batch).name, 0.0))
    measure = measured.measure or scale.measure_seconds
    search = measured.search or scale.search_seconds
    needed = [arm for arm in waiting if not arm.optional]
    tries = [(list(waiting), search, min(scale.least_epochs, most)), (needed, search, 1)]
    tries += [(needed[:count], 0.0, 1) for count in range(len(needed), 0, -1)]
    for arms, search_each, enough in tries:
        each = {arm.label: epoch_seconds(scale, arm, engine, batch, benchmark, measured) for arm in arms}
        fixed = len(arms) * (start + measure) + (len(arms) + to_search) * search_each
        epochs = min(most, int((left - fixed) // sum(each.values()))) if arms else 0
        if epochs >= enough:
            labels = tuple(arm.label for arm in arms)
            dropped = tuple(arm.label for arm in waiting if arm not in arms)
            seconds = round(fixed + epochs * sum(each.values()), 1)
            return Plan(engine, batch, benchmark, epochs, labels, dropped, each, seconds)
    return Plan(engine, batch, benchmark, 0, (), tuple(arm.label for arm in waiting), {}, 0.0)
