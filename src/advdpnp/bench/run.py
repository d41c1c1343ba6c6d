"""One benchmark: ceilings, then the variants of each network, in one JSON file that is complete after every variant."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.api import use_tf32
from advdpnp.bench.ceilings import convolution_rates, describe_machine, measure_ceilings, stem_seconds
from advdpnp.bench.timing import OUT_OF_TIME, Deadline, Variant, VariantTiming, add_rates, one_line, silent, timed
from advdpnp.bench.variants import (
    BenchModel,
    attack_variants,
    compare_iterates,
    make_bench_model,
    started,
    step_variants,
)
from advdpnp.runs import Json, Run, write_json
from advdpnp.training.step import make_batch


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
    engines: Sequence[str] = (),
    tell: Callable[[str], None] = silent,
    defense: str = "adv-dpnp",
) -> Json:
    """Time the variants of the attack and of the training step; writes and returns the content of `out`.

    On a GPU the whole step comes before the attack alone, and the fastest variants come first: bf16 before fp32, and of
    each the engine that captures most.

    Args:
        models: names of backbones, at CIFAR-10's shapes.
        device: where it runs.
        batch: images of a batch.
        steps: iterations of the attack.
        repeats: timings of each variant.
        out: the JSON file.
        minutes: after them no variant is begun, and those left out are listed; the first network takes what it needs,
            the next one what is left.
        precisions: of the variants after channels_last.
        full: time single convolutions on a CPU too; on a GPU they always are.
        engines: compared with `folded` first, each in a process of its own; see `compare_engines`.
        tell: called with a line for people after every variant.
        defense: the method whose training step is timed, with what the paper's recipe gives it.
    """
    deadline = Deadline(minutes)
    use_tf32(False)
    result: Json = {
        "schema": 1,
        "machine": describe_machine(device),
        "protocol": {"batch": batch, "steps": steps, "repeats": repeats, "minutes": minutes, "images": "synthetic"}
        | {"defense": defense},
        "ceilings": measure_ceilings(device),
        "models": {name: {} for name in models},
    }
    for engine in engines:
        result.setdefault("engines", []).append(checked := _check_engine(engine, device, deadline))
        tell(f"engine {engine}: {'agrees with folded' if checked['agrees'] else 'is not to be trusted'}")
        _write(out, result, deadline)
    # Variants compile the same functions again and again; past the limit torch would go on uncompiled.
    with torch._dynamo.config.patch(recompile_limit=64, fail_on_recompile_limit_hit=True):
        for position, name in enumerate(models):
            _measure_model(
                name, device, result, deadline, precisions, lambda: _write(out, result, deadline), _under(name, tell)
            )
            if position == 0 and (device.type == "cuda" or full) and not deadline.passed():
                result["ceilings"]["convolutions"] = convolution_rates(device, batch)
                result["ceilings"]["stem"] = stem_seconds(device, batch)
    return _write(out, result, deadline)


def _under(name: str, tell: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: tell(f"{name}/{text}")


def _check_engine(engine: str, device: torch.device, deadline: Deadline) -> Json:
    """`compare_engines` in a process of its own: a capture that fails leaves CUDA unusable."""
    command = [sys.executable, "-m", "advdpnp.bench.engines", engine, str(device)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * deadline.left())
        checked: Json = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"engine": engine, "agrees": False, "error": OUT_OF_TIME}
    except ValueError:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        return {"engine": engine, "agrees": False, "error": last[:200]}
    return checked


def _write(out: Path, result: Json, deadline: Deadline) -> Json:
    result["left_out"] = _left_out(result["models"])
    result["seconds"] = round(deadline.elapsed(), 1)
    write_json(out, result)
    return result


def _left_out(models: Json) -> list[str]:
    tables = [
        (f"{name}/{kind}", tables[kind])
        for name, tables in models.items()
        for kind in ("attack", "step")
        if kind in tables
    ]
    variants = [
        f"{path}/{variant}"
        for path, table in tables
        for variant, entry in table.items()
        if "error" in entry or entry.get("skipped", "").startswith(OUT_OF_TIME)
    ]
    return variants + [f"{name}/{kind}" for name in models for kind in ("attack", "step") if kind not in models[name]]


def _measure_model(
    name: str,
    device: torch.device,
    result: Json,
    deadline: Deadline,
    precisions: tuple[str, ...],
    save: Callable[[], Json],
    tell: Callable[[str], None],
) -> None:
    if deadline.passed():
        return
    protocol, ceilings, entry = result["protocol"], result["ceilings"], result["models"][name]
    batch, repeats = protocol["batch"], protocol["repeats"]
    subject = make_bench_model(name, device, batch, protocol["steps"], protocol["defense"])

    def at_least(variant: Variant) -> float:
        return float(variant.gflop * batch / 1000 / ceilings[f"{variant.precision}_tflop_per_second"])

    def keep(table: Json) -> Callable[[], None]:
        def rated() -> None:
            add_rates(table, batch, ceilings)
            save()

        return rated

    def measured(kind: str, variants: Sequence[Variant], until: Deadline) -> dict[str, Tensor]:
        table: Json = {}
        entry[kind] = table
        timing = VariantTiming(device, repeats, until, at_least, table, keep(table), _under(kind, tell))
        return timing.measure(variants)

    def attack(until: Deadline) -> None:
        iterates = measured("attack", attack_variants(subject, precisions), until)
        compare_iterates(subject, iterates, entry["attack"])

    def step(until: Deadline) -> None:
        measured("step", step_variants(subject, precisions), until)

    if device.type == "cuda":
        step(deadline)
        attack(deadline)
    else:
        # The attack is most of a step, so each of the two gets half of the time.
        attack(Deadline(deadline.left() / 2))
        step(deadline)
    folded = entry["step"].get("folded", {})
    if "seconds" in folded:
        entry["bookkeeping"] = _bookkeeping(subject, device, folded["seconds"])
    save()
    if device.type == "cuda":
        torch.compiler.reset()
        torch.cuda.empty_cache()


def _bookkeeping(subject: BenchModel, device: torch.device, step_seconds: float) -> Json:
    """Time of a step outside attack, losses and optimizer, and the cost of a checkpoint every minute."""
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
        run.create_or_verify(subject.experiment.config())
        try:
            checkpoint = timed(device, lambda: training.save(run, final=False))[1]
        except ValueError as error:
            return entry | {"checkpoint_error": one_line(error)}
    return entry | {
        "checkpoint_seconds": round(checkpoint, 4),
        "checkpoint_share_per_minute": round(checkpoint / 60, 5),
    }
