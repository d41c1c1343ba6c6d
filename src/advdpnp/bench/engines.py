"""Whether an engine trains as the engine `folded` does, up to fp32's rounding."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import get_args

import torch
from torch import Tensor

from advdpnp.api import use_tf32
from advdpnp.bench.timing import one_line, synchronize
from advdpnp.bench.variants import started, synthetic_images
from advdpnp.experiments import experiment
from advdpnp.training import Task
from advdpnp.training.recipe import Engine
from advdpnp.training.step import Training

# Small images and few iterations: the fewer pixels, the rarer is one whose gradient is of rounding size.
_NETWORK, _BATCH, _ATTACK_STEPS = "digits/tiny/adv-dpnp", 16, 3

# A weight's gradient is a sum over 16 images of 8x8 positions: n = 2^10 products, whose rounding errors are at most
# n u of the sum of their sizes, u = 2^-24; and a sum is rarely less than 2^-4 of that. Two libraries of convolutions
# differ by 2^-15 here, TF32 by 2^-5.
BOUND = 2.0 ** (10 - 24 + 4)


@dataclass(frozen=True)
class EngineCheck:
    """What a comparison of an engine with `folded` found.

    Args:
        engine: name.
        steps: training steps that were compared.
        largest_difference: of losses, and of what a step changed in each tensor of the network, relative to `folded`'s;
            None if they could not be compared.
        bound: what fp32's rounding can explain.
        agrees: whether the engine can be trusted.
        error: why they could not be compared, one line; "" if they were.
        seconds: all in all, compilation and capture included.
    """

    engine: str
    steps: int
    largest_difference: float | None
    bound: float
    agrees: bool
    error: str
    seconds: float


def check_name(engine: str) -> None:
    """Raise ValueError if there is no such engine."""
    if engine not in get_args(Engine):
        raise ValueError(f"an engine is one of {', '.join(get_args(Engine))}; got {engine!r}")


def compare_engines(engine: str, device: torch.device, steps: int = 8) -> EngineCheck:
    """Train a tiny Adv-DPNP network for some fp32 steps on `engine` and on `folded`, and compare each step.

    A capture that fails leaves CUDA unusable: `python -m advdpnp.bench.engines ENGINE DEVICE` does the same in a
    process of its own, and prints the result as JSON.

    From the third step on both begin a step from the state of `folded`, so that differences do not grow from step to
    step; in the second, an error in the state that the first one left shows. One step is left out of account, the one
    that differs most: where a pixel's gradient is of rounding size, its sign is an accident, and the pixel goes the
    other way. TF32 is switched off, and torch's compiler forgets what it has compiled.

    Args:
        engine: a value of `recipe.engine`.
        device: where.
        steps: at least 3.
    Returns:
        The verdict; whatever goes wrong, a NaN included, is a verdict too, with its reason.
    Raises:
        ValueError: no such engine, or too few steps.
    """
    check_name(engine)
    if steps < 3:
        raise ValueError(f"engines are compared over at least 3 steps; got {steps}")
    began, error = time.perf_counter(), ""
    difference = None
    try:
        difference = sorted(_differences(engine, device, steps))[-2]
    # Compilers and captures fail in many ways, and each is an answer.
    except Exception as failure:
        error = one_line(failure)
    return EngineCheck(
        engine=engine,
        steps=steps,
        largest_difference=difference,
        bound=BOUND,
        agrees=difference is not None and difference <= BOUND,
        error=error,
        seconds=round(time.perf_counter() - began, 3),
    )


def _differences(engine: str, device: torch.device, steps: int) -> Iterator[float]:
    use_tf32(False)
    torch.compiler.reset()
    tried, trusted = (_training(name, device, steps) for name in (engine, "folded"))
    order = torch.arange(_BATCH * steps, device=device)
    for step in range(steps):
        if step >= 2:
            _copy_state(trusted, tried)
        changes = [_changes(training, order) for training in (tried, trusted)]
        for name, found in zip((engine, "folded"), changes, strict=True):
            if not all(bool(change.isfinite().all()) for change in found):
                raise ArithmeticError(f"{name} gave NaN or infinity in step {step + 1}")
        yield max(_relative(found, wanted) for found, wanted in zip(*changes, strict=True))
    synchronize(device)


def _training(engine: str, device: torch.device, steps: int) -> Training:
    # One-cycle: a rate that is frozen into a graph differs from the schedule's in every step.
    settings = ["recipe.precision=fp32", f"recipe.engine={engine}", f"recipe.batch_size={_BATCH}", "recipe.epochs=1"]
    settings += [f"recipe.attack.steps={_ATTACK_STEPS}", "recipe.schedule=onecycle", "recipe.lr=0.1"]
    wanted = experiment(_NETWORK, "paper", settings=settings)
    images = synthetic_images(_BATCH * steps, wanted.data.image_shape, wanted.data.num_classes, device)
    return started(Task(wanted.build().to(device), wanted.defense, wanted.recipe, images, None, 0))


def _state(training: Training) -> Iterator[Tensor]:
    yield from training.task.model.state_dict().values()
    for state in training.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


@torch.no_grad()
def _copy_state(source: Training, target: Training) -> None:
    # In place: a captured graph keeps its addresses.
    for value, slot in zip(_state(source), _state(target), strict=True):
        slot.copy_(value)


def _changes(training: Training, order: Tensor) -> list[Tensor]:
    """Loss terms of one more step, (T,), and what it added to each tensor of the network, in float64."""
    before = [value.double().clone() for value in training.task.model.state_dict().values()]
    training.sums = None
    training.advance(order)
    assert training.sums is not None
    after = training.task.model.state_dict().values()
    return [training.sums / _BATCH, *(value.double() - old for value, old in zip(after, before, strict=True))]


def _relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp_min(torch.finfo(torch.float32).tiny))


if __name__ == "__main__":
    print(json.dumps(asdict(compare_engines(sys.argv[1], torch.device(sys.argv[2]))), allow_nan=False), flush=True)
