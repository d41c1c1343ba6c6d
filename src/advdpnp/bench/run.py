"""One benchmark: ceilings, then the ladders of each network, into one JSON file that is whole after every rung."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.api import use_tf32
from advdpnp.bench.ceilings import convolution_rates, describe_machine, measure_ceilings
from advdpnp.bench.ladder import Subject, attack_rungs, judge, make_subject, started, step_rungs
from advdpnp.bench.timing import OUT_OF_TIME, Deadline, Rung, add_rates, measure, one_line, timed
from advdpnp.runs import Json, Run, write_json
from advdpnp.training.loop import make_batch


def run_bench(
    models: Sequence[str],
    device: torch.device,
    batch: int,
    steps: int,
    repeats: int,
    out: Path,
    minutes: float,
    precisions: tuple[str, ...] = ("fp32", "bf16"),
    full: bool = False,
) -> Json:
    """Measure the speed ladders; writes and returns the content of `out`.

    Args:
        models: names of backbones, at CIFAR-10's shapes.
        device: where.
        batch: images of a batch.
        steps: iterations of the attack.
        repeats: timings of each rung, taken in turn.
        out: the JSON file.
        minutes: after them no rung is begun, and what is missing is listed; shared out evenly among the ladders.
        precisions: of the rungs above channels_last.
        full: also the table of convolution rates on a CPU; on a GPU it is always made.
    """
    deadline = Deadline(minutes)
    use_tf32(False)
    result: Json = {
        "schema": 1,
        "machine": describe_machine(device),
        "protocol": {"batch": batch, "steps": steps, "repeats": repeats, "minutes": minutes, "images": "synthetic"},
        "ceilings": measure_ceilings(device),
        "models": {name: {} for name in models},
    }
    if device.type == "cuda" or full:
        result["ceilings"]["convolutions"] = convolution_rates(device, batch)
    # Every rung compiles the same functions for its own network.
    with torch._dynamo.config.patch(recompile_limit=64):
        for position, name in enumerate(models):
            share = Deadline(deadline.left() / (len(models) - position))
            _measure_model(name, device, result, share, precisions, lambda: _write(out, result, deadline))
    return _write(out, result, deadline)


def _write(out: Path, result: Json, deadline: Deadline) -> Json:
    result["left_out"] = _left_out(result["models"])
    result["seconds"] = round(deadline.elapsed(), 1)
    write_json(out, result)
    return result


def _left_out(models: Json) -> list[str]:
    ladders = [
        (f"{name}/{ladder}", ladders[ladder])
        for name, ladders in models.items()
        for ladder in ("attack", "step")
        if ladder in ladders
    ]
    rungs = [
        f"{path}/{rung}"
        for path, table in ladders
        for rung, entry in table.items()
        if "error" in entry or entry.get("skipped", "").startswith(OUT_OF_TIME)
    ]
    return rungs + [
        f"{name}/{ladder}" for name in models for ladder in ("attack", "step") if ladder not in models[name]
    ]


def _measure_model(
    name: str,
    device: torch.device,
    result: Json,
    deadline: Deadline,
    precisions: tuple[str, ...],
    save: Callable[[], Json],
) -> None:
    if deadline.passed():
        return
    protocol, ceilings, entry = result["protocol"], result["ceilings"], result["models"][name]
    batch, repeats = protocol["batch"], protocol["repeats"]
    subject = make_subject(name, device, batch, protocol["steps"])

    def at_least(rung: Rung) -> float:
        return float(rung.gflop * batch / 1000 / ceilings[f"{rung.precision}_tflop_per_second"])

    def keep(table: Json) -> Callable[[], None]:
        def rated() -> None:
            add_rates(table, batch, ceilings)
            save()

        return rated

    attack: Json = {}
    entry["attack"] = attack
    # The attack is most of a step, so each ladder gets half of the time.
    half = Deadline(deadline.left() / 2)
    iterates = measure(attack_rungs(subject, precisions), device, repeats, half, at_least, attack, keep(attack))
    judge(subject, iterates, attack)
    step: Json = {}
    entry["step"] = step
    measure(step_rungs(subject, precisions), device, repeats, deadline, at_least, step, keep(step))
    if "seconds" in step.get("folded", {}):
        entry["bookkeeping"] = _bookkeeping(subject, device, step["folded"]["seconds"])
    save()
    if device.type == "cuda":
        torch.compiler.reset()
        torch.cuda.empty_cache()


def _bookkeeping(subject: Subject, device: torch.device, step_seconds: float) -> Json:
    """What a step spends outside attack, losses and optimizer, and what a checkpoint every minute costs."""
    training = started(subject.task(engine="folded"))
    training.advance(subject.index)
    assert training.sums is not None
    values = training.sums / len(subject.images)

    def without_learning(index: Tensor, epoch: int | Tensor, step: int | Tensor) -> Tensor:
        make_batch(training.task, index, epoch, step)
        return values

    training._update = without_learning  # type: ignore[method-assign]

    def around() -> None:
        training.step = 0
        training.advance(subject.index)

    around()
    seconds = statistics.median(timed(device, around)[0] for _ in range(5))
    entry: Json = {"seconds": round(seconds, 6), "share_of_step": round(seconds / step_seconds, 5)}
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder))
        run.claim(subject.experiment.config())
        try:
            checkpoint = timed(device, lambda: training.save(run, final=False))[1]
        except ValueError as error:
            return entry | {"checkpoint_error": one_line(error)}
    return entry | {
        "checkpoint_seconds": round(checkpoint, 4),
        "checkpoint_share_per_minute": round(checkpoint / 60, 5),
    }
