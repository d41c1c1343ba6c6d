"""The three calls: smoke and ladder; training and evaluation; weights. Most valuable first, nothing that cannot end."""

from collections.abc import Sequence

from advdpnp.runs import Json, Run, list_runs
from gpu.plan import Measured, Plan, engines_by_speed, make_plan
from gpu.processes import Stage, log_line
from gpu.scale import Arm, Scale, Variant
from gpu.slot import Slot

# Of a stage, in seconds: on the first GPU 9, 35, 61 and 32 of the first four, and 47 without news in a training, with
# warm files. Those of trainings and evaluations come from the plan.
UNPACK, SMOKE, COMPILE, VARIANT, STALL, LEAST = 60.0, 90.0, 105.0, 75.0, 110.0, 8.0
# An evaluation may take so many times its forecast.
PATIENCE = 2.5
WEIGHTS_OF = 2
TEST_IMAGES = 10_000
# What the suite `text` takes for each image, in input gradients: FGSM, PGD-20, and the passes that give the verdicts.
GRADIENTS = 23
EVALUATION_START = 8.0
# Ends of a training that say nothing against its engine.
IN_TIME = ("done", "out of time", "killed: over its time", "not begun: no time")


def first_call(slot: Slot) -> None:
    """Does it work, and how fast is it."""
    _check(slot, compile_too=True)
    if slot.scale.ladder:
        _try(slot, rungs(slot.scale, trusted(slot)))


def second_call(slot: Slot) -> None:
    """Train the arms, measure each, then search them all."""
    if not _engine_outcomes(slot):
        _check(slot, compile_too=False)
    else:
        slot.run([_unpack(slot)])
    if slot.scale.ladder and not measured(slot).steps:
        _try(slot, rungs(slot.scale, trusted(slot))[:1])
    if lacking := slot.result("unpack").get("lacking"):
        log_line(f"no data: {', '.join(lacking)} did not come; make this call again with the pieces of the other call")
        return
    trained = [arm for arm in slot.scale.arms if is_trained(slot, arm)]
    waiting = [arm for arm in slot.scale.arms if arm not in trained]
    for arm in trained:
        _measure(slot, arm)
    while waiting and (begun := _train_next(slot, waiting, trained)) is not None:
        if is_trained(slot, begun):
            trained.append(begun)
            _measure(slot, begun)
    for arm in trained:
        _search(slot, arm, last=arm is trained[-1])


def third_call(slot: Slot) -> None:
    """Bring the weights of the first arms; then AutoAttack where it did not end before, and the extras."""
    trained = [arm for arm in slot.scale.arms if is_trained(slot, arm)]
    arms = [arm.label for arm in trained]
    extras = [extra for extra in slot.scale.extras if extra.arm in arms]
    slot.run([slot.stage("weights", "weights", slot.left, options={"arms": arms[:WEIGHTS_OF]})], last=not extras)
    for arm in trained:
        _search(slot, arm, last=False)
    for extra in extras:
        options = {"arm": extra.arm, "suite": extra.suite, "limit": extra.limit, "precision": "fp32"}
        stage = slot.stage(f"extra-{extra.arm}-{extra.suite}", "measure", slot.left, options=options)
        slot.run([stage], last=extra is extras[-1])


CALLS = (first_call, second_call, third_call)


def rungs(scale: Scale, engines: Sequence[str]) -> list[Variant]:
    """What the ladder times, in the order of what the plan needs: of these engines, the one to be used first."""
    usual, *larger = scale.batches
    first, *others = engines
    return [
        Variant(first, usual),
        Variant(first, larger[0]),
        Variant(first, usual, benchmark=False),
        *(Variant(other, usual) for other in others),
        *(Variant(first, batch) for batch in larger[1:]),
    ]


def _unpack(slot: Slot) -> Stage:
    return slot.stage("unpack", "unpack", UNPACK)


def _check(slot: Slot, compile_too: bool) -> None:
    """Data, engines, resume, suites, and compiled code on disk: all beside each other, since none of it is timed."""
    scale, stages = slot.scale, [_unpack(slot)]
    stages += [slot.stage(f"smoke-{engine}", "engine", SMOKE, options={"engine": engine}) for engine in scale.engines]
    stages += [slot.stage("smoke-suites", "suites", SMOKE)]
    if compile_too and scale.precision == "bf16":
        first, usual = scale.engines[0], scale.batches[0]
        arms = [arm.label for arm in reversed(scale.arms) if not arm.optional]
        # The larger batches are the ladder's.
        wanted = [*((arm, usual) for arm in arms), *((arms[0], batch) for batch in scale.batches[1:2])]
        stages += [
            slot.stage(f"compile-{arm}-{batch}", "compile", COMPILE, options=vars(Variant(first, batch)) | {"arm": arm})
            for arm, batch in wanted
        ]
    slot.run(stages, at_once=scale.parallel)


def _try(slot: Slot, wanted: Sequence[Variant]) -> None:
    """The ladder; where a variant takes the process with it, another one goes on after it."""
    for attempt in range(len(wanted)):
        options = {"rungs": [vars(variant) for variant in wanted]}
        name = "ladder" if attempt == 0 else f"ladder.{attempt + 1}"
        stage = slot.stage(name, "ladder", slot.left, stall=VARIANT, options=options)
        (outcome,) = slot.run([stage], last=slot.number == 1)
        if outcome["ended"] in ("done", "out of time") or slot.left < LEAST:
            return


def _engine_outcomes(slot: Slot) -> dict[str, Json]:
    found = (outcome for outcome in slot.outcomes() if outcome["stage"].startswith("smoke-") and "engine" in outcome)
    return {outcome["engine"]: outcome for outcome in found}


def refused_engines(slot: Slot) -> list[str]:
    """Engines that did not agree with the reference, failed, or failed in a training."""
    smoke = {engine: outcome["ended"] for engine, outcome in _engine_outcomes(slot).items()}
    failed = {outcome["engine"] for outcome in _training_failures(slot)}
    return [engine for engine in slot.scale.engines if smoke.get(engine, "done") != "done" or engine in failed]


def _training_failures(slot: Slot) -> list[Json]:
    trainings = [outcome for outcome in slot.outcomes() if outcome["stage"].startswith("train-")]
    return [outcome for outcome in trainings if outcome["ended"] not in IN_TIME]


def trusted(slot: Slot) -> list[str]:
    """Engines in the order in which they are used; the last one of all where none is trusted."""
    return engines_by_speed(slot.scale, refused_engines(slot), measured(slot)) or [slot.scale.engines[-1]]


def measured(slot: Slot) -> Measured:
    """Everything that was timed so far."""
    steps, starts, measure, search, epochs = {}, {}, None, None, {}
    for path in sorted(slot.places.stage("ladder").parent.glob("ladder*.json")):
        ladder = slot.result(path.stem)
        for name, variant in ladder.get("rungs", {}).items():
            if variant.get("finite") and "seconds" in variant:
                steps[name], starts[name] = variant["seconds"], variant["start_seconds"]
        if "gradient" in ladder:
            images = slot.scale.limit or TEST_IMAGES
            measure = EVALUATION_START + GRADIENTS * images * ladder["gradient"]["channels_last"]
    for outcome in slot.outcomes():
        kind = outcome["stage"].partition("-")[0]
        if kind == "train" and (found := slot.result(outcome["stage"])).get("epoch_seconds"):
            epochs[found["engine"], found["batch"]] = (_median(found["epoch_seconds"]), found["forwards"])
        if outcome["ended"] == "done":
            measure = outcome["seconds"] if kind == "measure" else measure
            search = outcome["seconds"] if kind == "search" else search
    return Measured(steps, starts, epochs, measure, search)


def _median(values: Sequence[float]) -> float:
    # The first epoch compiles and captures.
    steady = sorted(values[1:] or values)
    return steady[len(steady) // 2]


def run_of(slot: Slot, arm: Arm) -> Run | None:
    """The arm's run, if it was begun."""
    found = list_runs(slot.places.runs / arm.label)
    return Run(found[0]) if found else None


def is_trained(slot: Slot, arm: Arm) -> bool:
    """Whether its last epoch is over."""
    run = run_of(slot, arm)
    return run is not None and run.weights_path("last").exists()


def _like(slot: Slot, trained: Sequence[Arm]) -> tuple[int, int] | None:
    """Epochs and batch of the first arm that is trained."""
    run = run_of(slot, trained[0]) if trained else None
    if run is None:
        return None
    recipe = run.config()["recipe"]
    return recipe["epochs"], recipe["batch_size"]


def _train_next(slot: Slot, waiting: list[Arm], trained: Sequence[Arm]) -> Arm | None:
    """Train the first of the waiting arms that the plan has, on one engine after the other; None if there is none."""
    tried: list[str] = []
    why = "next arm"
    while engines := [engine for engine in trusted(slot) if engine not in tried]:
        plan = make_plan(slot.scale, slot.left, engines[0], measured(slot), waiting, len(trained), _like(slot, trained))
        slot.note_plan(plan, why)
        waiting[:] = [arm for arm in waiting if arm.label in plan.arms]
        if not waiting:
            return None
        outcome = _train(slot, waiting[0], plan, len(tried), trained)
        if outcome["ended"] in IN_TIME:
            break
        tried.append(engines[0])
        why = f"{engines[0]} failed on {waiting[0].label}"
    return waiting.pop(0)


def _train(slot: Slot, arm: Arm, plan: Plan, attempt: int, trained: Sequence[Arm]) -> Json:
    name = f"train-{arm.label}" + (f".{attempt + 1}" if attempt else "")
    # Its own evaluation must still end, and for those before it, AutoAttack.
    known = measured(slot)
    after = (known.measure or slot.scale.measure_seconds) + len(trained) * (known.search or slot.scale.search_seconds)
    seconds = max(slot.left - after, min(slot.left, plan.epochs * plan.epoch_seconds[arm.label]))
    options = {
        "arm": arm.label,
        "engine": plan.engine,
        "batch": plan.batch,
        "epochs": plan.epochs,
        "benchmark": plan.benchmark,
    }
    (outcome,) = slot.run([slot.stage(name, "train", seconds, stall=STALL, options=options)])
    return outcome


def _evaluate(slot: Slot, kind: str, arm: Arm, expected: float, options: dict[str, object], last: bool = False) -> None:
    """One evaluation, if it can end."""
    name = f"{kind}-{arm.label}"
    seconds = 0.0 if slot.left < expected else min(slot.left, PATIENCE * expected + LEAST)
    slot.run([slot.stage(name, "measure", seconds, options={"arm": arm.label, **options})], last=last)


def _measure(slot: Slot, arm: Arm) -> None:
    scale, run = slot.scale, run_of(slot, arm)
    if run is not None and run.eval_path(f"{scale.suite}.json").exists():
        return
    expected = measured(slot).measure or scale.measure_seconds
    _evaluate(slot, "measure", arm, expected, {"suite": scale.suite, "limit": scale.limit, "precision": "fp32"})


def _search(slot: Slot, arm: Arm, last: bool) -> None:
    scale = slot.scale
    if any((outcome["stage"], outcome["ended"]) == (f"search-{arm.label}", "done") for outcome in slot.outcomes()):
        return
    expected = measured(slot).search or scale.search_seconds
    options = {"suite": scale.search_suite, "limit": scale.search_images, "precision": scale.search_precision}
    _evaluate(slot, "search", arm, expected, options, last)
