"""PGD and APGD: ours, the loop that is often written, and those of libraries."""

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks import Suite
from advdpnp.attacks.apgd import APGDCE
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.variants import BenchModel, naive_attack
from advdpnp.callbacks import Silent
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.metrics import unpack
from advdpnp.models.folding import fold_batchnorm
from advdpnp.models.packed_convolution import pack_convolutions
from advdpnp.noise import IndexNoise
from peers.side import Side, Work
from peers.subject import DTYPES

APGD_STEPS = 20


def pgd_sides(subject: BenchModel, precisions: tuple[str, ...], compiled: bool) -> tuple[Side, ...]:
    """The inner attack of training on one batch: the same radius, step size, iterations and kind of start."""

    def torchattacks(subject: BenchModel) -> Callable[[Tensor, Tensor], Tensor]:
        return torchattacks_pgd(deepcopy(subject.model), subject.budget)

    theirs = (
        Side("backward() loop", "fp32", lambda: _loop(subject)),
        Side("torchattacks", "fp32", lambda: _library(subject, torchattacks)),
        Side("foolbox", "fp32", lambda: _library(subject, _foolbox)),
    )
    return theirs + tuple(
        Side(named("ours", precision, engine), precision, lambda p=precision, e=engine: _ours(subject, p, e))
        for precision in precisions
        for engine in ("folded", "compiled")[: 1 + compiled]
    )


def apgd_sides(subject: BenchModel, precisions: tuple[str, ...]) -> tuple[Side, ...]:
    """APGD on cross-entropy with one start; an image that has fallen is left alone."""
    ours = [Side(named("ours", p), p, lambda p=p: _our_apgd(subject, p)) for p in precisions]
    return Side("adv-lib", "fp32", lambda: _library(subject, _adv_lib)), *ours


def named(side: str, precision: str, engine: str = "folded") -> str:
    """The name of one of our rows."""
    return side + ("" if precision == "fp32" else f", {precision}") + ("" if engine == "folded" else f", {engine}")


def arrays(subject: BenchModel) -> tuple[Tensor, Tensor]:
    """Images, NCHW as libraries are given them, and labels."""
    return subject.x.contiguous(), subject.images.labels


def _ours(subject: BenchModel, precision: str, engine: str) -> Callable[[int], Work]:
    folded = fold_batchnorm(subject.model, DTYPES[precision])
    x, y, budget = subject.x, subject.images.labels, subject.budget
    attack: Callable[..., Tensor] = CompiledAscent(tuple(x.shape))
    if engine == "folded":
        pack_convolutions(folded)
        attack = ascend

    def ready(number: int) -> Work:
        draws = IndexNoise(number, subject.index)
        return lambda: (attack(folded, cross_entropy, x, (y,), budget=budget, noise=draws, stream="attack"), y)

    return ready


def _loop(subject: BenchModel) -> Callable[[int], Work]:
    (x, y), model = arrays(subject), deepcopy(subject.model)
    return lambda number: lambda: (naive_attack(model, x, y, subject.budget, IndexNoise(number, subject.index)), y)


def _library(subject: BenchModel, make: Callable[[BenchModel], Callable[[Tensor, Tensor], Tensor]]) -> Any:
    (x, y), attack = arrays(subject), make(subject)

    def ready(number: int) -> Work:
        torch.manual_seed(number)
        return lambda: (attack(x, y), y)

    return ready


def torchattacks_pgd(model: nn.Module, budget: Budget) -> Callable[[Tensor, Tensor], Tensor]:
    """Its PGD with our budget."""
    import torchattacks

    return torchattacks.PGD(model, eps=budget.threat.eps, alpha=budget.step_size, steps=budget.steps, random_start=True)


def _foolbox(subject: BenchModel) -> Callable[[Tensor, Tensor], Tensor]:
    import foolbox

    budget = subject.budget
    model = foolbox.PyTorchModel(deepcopy(subject.model), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfPGD(abs_stepsize=budget.step_size, steps=budget.steps, random_start=True)
    return lambda x, y: attack(model, x, y, epsilons=budget.threat.eps)[1]


def _adv_lib(subject: BenchModel) -> Callable[[Tensor, Tensor], Tensor]:
    with _stand_ins("visdom", "torchvision", "torchvision.models"):
        from adv_lib.attacks import apgd

    model, eps = deepcopy(subject.model), subject.budget.threat.eps
    return lambda x, y: apgd(model, x, y, eps, float("inf"), n_iter=APGD_STEPS, loss_function="ce")


@contextmanager
def _stand_ins(*names: str) -> Iterator[None]:
    """Empty modules for what adv-lib imports and APGD does not use: visdom has no wheel, torchvision wants CUDA."""
    missing = {name: types.ModuleType(name) for name in names if name not in sys.modules}
    for name, module in missing.items():
        parent, _, child = name.rpartition(".")
        if parent in missing:
            setattr(missing[parent], child, module)
    sys.modules.update(missing)
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def _our_apgd(subject: BenchModel, precision: Any) -> Callable[[int], Work]:
    attack = APGDCE(eps=subject.budget.threat.eps, steps=APGD_STEPS)
    suite = Suite("apgd", "APGD alone", (attack,), None)

    def ready(number: int) -> Work:
        count = len(subject.images)
        wanted = Evaluation(suite=suite, n=count, facts={}, search_precision=precision, seed=number)

        def work() -> Tensor:
            return unpack(evaluate(subject.model, subject.images, wanted, Silent())["attacks"][0]["verdicts"], count)

        return work

    return ready
