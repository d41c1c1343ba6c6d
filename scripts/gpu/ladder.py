"""How fast a training step is on this machine, whichever way it is run; on disk after every variant."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from advdpnp.api import resolve_device, use_tf32
from advdpnp.attacks.projected_ascent import cross_entropy
from advdpnp.bench.ceilings import describe_machine, measure_ceilings, stem_seconds
from advdpnp.bench.timing import one_line, synchronize, timed
from advdpnp.bench.variants import started, synthetic_images
from advdpnp.evaluation.single_pass import CHUNK
from advdpnp.models.folding import fold_batchnorm
from advdpnp.runs import Json, read_json
from advdpnp.training import Task
from advdpnp.training.step import Training
from gpu.context import Context, OutOfTimeError
from gpu.plan import variant_seconds
from gpu.processes import AGAIN, DONE, FAILED
from gpu.scale import Arm, Variant
from gpu.train import arm_experiment

# A captured step warms up in its first call; the second shows that it can be repeated.
_FIRST_STEPS, _REPEATS = 3, 3
_STEPS = {"cuda": 10, "cpu": 1}


def training_of(context: Context, arm: Arm, variant: Variant, device: torch.device) -> Training:
    """The arm's own training, averages and all, on one batch of synthetic images of the data's shape."""
    wanted = arm_experiment(arm, context.scale, context.scale.most_epochs, variant.batch, variant.engine)
    images = synthetic_images(variant.batch, wanted.data.image_shape, wanted.data.num_classes, device)
    return started(Task(wanted.build().to(device), wanted.defense, wanted.recipe, images, None, 0))


def _step(training: Training) -> Callable[[], object]:
    order = torch.arange(len(training.task.train), device=training.task.train.labels.device)

    def step() -> None:
        training.step = 0
        training.advance(order)

    return step


def compile_stage(context: Context) -> int:
    """A few steps, so that what a compiler makes of them is on disk before anything is timed."""
    options = context.options
    variant = Variant(options["engine"], options["batch"])
    began = time.perf_counter()
    try:
        step = _step(training_of(context, context.arm, variant, resolve_device()))
        for _ in range(_FIRST_STEPS):
            step()
    except Exception as error:
        context.keep(error=one_line(error))
        return FAILED
    context.keep(seconds=round(time.perf_counter() - began, 2))
    return DONE


def _before(context: Context) -> Json:
    """Variants of the processes before this one: measured, failed, or begun when the process ended."""
    rungs: Json = {}
    for path in sorted(context.places.stage("ladder").parent.glob("ladder*.json")):
        if path.stem != context.name:
            rungs |= read_json(path).get("rungs", {})
    return rungs


def ladder_stage(context: Context) -> int:
    """Time the variants in the options that no process before this one has tried, and that can end in time."""
    device, done = resolve_device(), _before(context)
    arm = next(arm for arm in context.scale.arms if arm.label == "mean")
    use_tf32(False)
    context.keep(machine=describe_machine(device), rungs={})
    waiting = [
        variant for variant in (Variant(**values) for values in context.options["rungs"]) if variant.name not in done
    ]
    skipped = False
    try:
        with torch._dynamo.config.patch(recompile_limit=64):
            for position, variant in enumerate(waiting):
                context.check_time()
                if (needed := variant_seconds(variant, context.found["rungs"])) > context.left:
                    skipped = True
                    reason = f"out of time: needs about {needed:.0f} s, {context.left:.0f} left"
                    context.keep(rungs=context.found["rungs"] | {variant.name: {**vars(variant), "skipped": reason}})
                elif not _try(context, arm, variant, device):
                    return FAILED
                if position == 1 and not done:
                    _parts(context, device)
    except OutOfTimeError:
        return AGAIN
    return AGAIN if skipped else DONE


def _try(context: Context, arm: Arm, variant: Variant, device: torch.device) -> bool:
    """One variant; False where the device can do nothing more in this process."""
    entry = context.found["rungs"][variant.name] = {**vars(variant), "begun": True}
    context.keep()
    torch.backends.cudnn.benchmark = variant.benchmark
    try:
        _time(context, training_of(context, arm, variant, device), entry, device)
    except OutOfTimeError:
        raise
    # Whatever it is, it must not take the other variants with it.
    except Exception as error:
        entry["error"] = one_line(error)
    context.keep()
    try:
        synchronize(device)
    except Exception as error:
        context.keep(error=one_line(error))
        return False
    return True


def _time(context: Context, training: Training, entry: Json, device: torch.device) -> None:
    step, began = _step(training), time.perf_counter()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(_FIRST_STEPS if device.type == "cuda" else 1):
        step()
    synchronize(device)
    entry["start_seconds"] = round(time.perf_counter() - began, 3)
    times = []
    for _ in range(_REPEATS):
        context.alive()
        context.check_time()
        times.append(timed(device, step, _STEPS[device.type])[1])
        entry |= {"times": [round(value, 6) for value in times], "seconds": round(statistics.median(times), 6)}
    assert training.sums is not None
    entry["finite"] = bool(training.sums.isfinite().all())
    if device.type == "cuda":
        entry["peak_memory_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)


def _parts(context: Context, device: torch.device) -> None:
    """Ceilings, the first convolution, and the fp32 gradients that evaluations are made of."""
    try:
        context.keep(ceilings=measure_ceilings(device))
        context.keep(stem=stem_seconds(device, context.scale.batches[0]))
        context.keep(gradient=_gradients(context, device))
    except Exception as error:
        context.keep(parts_error=one_line(error))


def _median(device: torch.device, work: Callable[[], object]) -> float:
    work()
    return float(f"{statistics.median(timed(device, work, _STEPS[device.type])[0] for _ in range(3)):.4g}")


def _gradients(context: Context, device: torch.device) -> Json:
    """Seconds of an fp32 input gradient for each image: channels last, as evaluations have it; first; with TF32."""
    arm = context.scale.arms[0]
    wanted = arm_experiment(arm, context.scale, 1, CHUNK, "folded")
    images = synthetic_images(CHUNK, wanted.data.image_shape, wanted.data.num_classes, device)
    x, y = images.batch(torch.arange(CHUNK, device=device))
    model = fold_batchnorm(wanted.build().to(device).eval())
    found: Json = {}
    for name, form, tf32 in (
        ("channels_last", torch.channels_last, False),
        ("channels_first", torch.contiguous_format, False),
        ("channels_last_tf32", torch.channels_last, True),
    ):
        use_tf32(tf32)
        network = model.to(memory_format=form)  # type: ignore[call-overload]
        found[name] = _median(device, _gradient(network, x.contiguous(memory_format=form), y)) / CHUNK
    use_tf32(False)
    return found


def _gradient(network: nn.Module, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
    def gradient() -> object:
        probe = x.clone(memory_format=torch.preserve_format).requires_grad_()
        return torch.autograd.grad(cross_entropy(network(probe), (y,), ()).sum(), probe)

    return gradient
