"""An engine is trusted if it trains as `folded` does; what is wrong with one is found."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from advdpnp import cuda_graphs
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.bench.engines import BOUND, compare_engines
from advdpnp.training import step
from advdpnp.training.crafting import Crafter
from advdpnp.training.optimizer import ScheduledSGD
from advdpnp.training.step_graph import StepGraph

CPU = torch.device("cpu")
Work = Callable[[], Any]


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured engines on a CPU, uncompiled: replaying is running again."""
    monkeypatch.setattr(step, "cuda_graph", warmed_up)
    monkeypatch.setattr("advdpnp.training.crafting.cuda_graph", cuda_graphs.again)
    monkeypatch.setattr(step, "check_engine", lambda recipe, device: None)
    monkeypatch.setattr(torch, "compile", lambda *work, **_: work[0] if work else lambda function: function)


def warmed_up(work: Work) -> Work:
    for _ in range(3):
        work()
    return work


@pytest.mark.parametrize("engine", ["eager", "graph", "step"])
def test_sound_engines_agree(engine: str) -> None:
    found = compare_engines(engine, CPU, steps=4)
    assert found.agrees and found.error == "" and found.steps == 4 and found.seconds > 0
    assert found.largest_difference is not None and found.largest_difference < BOUND / 10


def frozen(work: Work) -> Work:
    """A capture that repeats its first result."""
    result = work()
    return lambda: result


def warm_ups_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StepGraph, "_state", lambda self: iter(()))


def no_attack(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(CompiledAscent, "__call__", lambda self, forward, loss, x, *_, **__: x)


def frozen_graph(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(step, "cuda_graph", frozen)


def rate_that_never_moves(patch: pytest.MonkeyPatch) -> None:
    schedule = ScheduledSGD.schedule

    def first(self: ScheduledSGD, done: int) -> None:
        schedule(self, done if self is trusted[0] else 0)

    trusted: list[ScheduledSGD] = []
    begin = ScheduledSGD.__init__

    def remember(self: ScheduledSGD, groups: Any, recipe: Any, steps: int) -> None:
        begin(self, groups, recipe, steps)
        if recipe.engine == "folded":
            trusted.append(self)

    patch.setattr(ScheduledSGD, "__init__", remember)
    patch.setattr(ScheduledSGD, "schedule", first)


@pytest.mark.parametrize("fault", [warm_ups_stay, no_attack, frozen_graph, rate_that_never_moves])
def test_a_fault_is_found(fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    found = compare_engines("step", CPU, steps=4)
    assert not found.agrees and found.error == ""
    assert found.largest_difference is not None and found.largest_difference > 10 * BOUND


def crafted_with(change: Callable[[int, torch.Tensor], torch.Tensor], patch: pytest.MonkeyPatch) -> None:
    """Adversarial images of the engine `eager`, changed; step counts from 0."""
    craft = Crafter.__call__

    def changed(self: Crafter, batch: Any) -> torch.Tensor:
        x_adv = craft(self, batch)
        return change(batch.step, x_adv) if self._folded is None else x_adv

    patch.setattr(Crafter, "__call__", changed)


def one_image(x_adv: torch.Tensor) -> torch.Tensor:
    return x_adv.index_fill(0, torch.tensor([3]), 0.0)


def test_one_step_may_differ_and_two_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        crafted_with(lambda step, x_adv: one_image(x_adv) if step == 2 else x_adv, patch)
        assert compare_engines("eager", CPU, steps=5).agrees
    crafted_with(lambda step, x_adv: one_image(x_adv) if step in (2, 3) else x_adv, monkeypatch)
    assert not compare_engines("eager", CPU, steps=5).agrees


def test_low_precision_is_not_rounding_of_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    # TF32 keeps 10 bits after the leading one: images that are rounded so are found.
    def tf32(step: int, x_adv: torch.Tensor) -> torch.Tensor:
        return ((x_adv.view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)

    crafted_with(tf32, monkeypatch)
    found = compare_engines("eager", CPU)
    assert not found.agrees and found.error == ""


def test_a_nan_and_an_error_are_verdicts_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        crafted_with(lambda step, x_adv: x_adv * float("nan"), patch)
        found = compare_engines("eager", CPU)
    assert not found.agrees and found.largest_difference is None
    assert found.error == "ArithmeticError: eager gave NaN or infinity in step 1"

    def broken(work: Work) -> Work:
        raise OSError("no compiler\nsecond line")

    monkeypatch.setattr(step, "cuda_graph", broken)
    found = compare_engines("step", CPU)
    assert not found.agrees and found.error == "OSError: no compiler second line"


def test_the_bound_is_that_of_sums_of_1024_products_in_fp32() -> None:
    assert BOUND == 1024 * 2**-24 * 16


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="an engine is one of eager, folded, compiled, graph, step; got 'warp'"):
        compare_engines("warp", CPU)
    with pytest.raises(ValueError, match="at least 3 steps; got 2"):
        compare_engines("step", CPU, steps=2)


@pytest.mark.slow
def test_the_compiled_engine_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = compare_engines("compiled", CPU)
    assert found.agrees, found
