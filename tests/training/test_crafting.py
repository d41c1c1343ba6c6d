"""The inner attack whose radius grows, and the recipe's parts together: resume, engines, captures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from advdpnp import cuda_graphs, noise
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.defenses import DEFENSES, Batch
from advdpnp.models.classifier import Backbone
from advdpnp.training import InnerAttack, fit, step
from advdpnp.training.crafting import Crafter, MovingBudget
from advdpnp.training.step import Training, make_batch
from advdpnp.training.validation import validate
from reference import schedule as reference
from training.small import RATE_ERROR, StopAt, created, double_task, in_double, small_task, train_in_double, trained

RAMP = "recipe.attack.ramp=1"
PARTS = {
    "ramp": (RAMP,),
    "spread": ("recipe.attack.spread=0.6",),
    "awp": ("recipe.weight_perturbation.gamma=0.01", "recipe.weight_perturbation.start=0.5"),
    "ema": ("recipe.averaging.kind=ema", "recipe.averaging.decay=0.9"),
    "swa": ("recipe.averaging.kind=swa",),
    "cosine": ("recipe.schedule=cosine", "recipe.nesterov=true"),
    "onecycle": ("recipe.schedule=onecycle", "recipe.cycle_momentum=true"),
    "smoothing": ("recipe.label_smoothing=0.1",),
}
EVERYTHING = (*PARTS["ramp"], *PARTS["spread"], *PARTS["awp"], *PARTS["ema"], *PARTS["cosine"], *PARTS["smoothing"])


def crafted(training: Training, epoch: int) -> torch.Tensor:
    training.task.model.train()
    batch = make_batch(training.task, torch.arange(32), epoch, 0)
    double = next(training.task.model.parameters()).dtype == torch.float64
    return training.craft(in_double(batch) if double else batch)


def some_batch(epoch: int | torch.Tensor, step: int) -> Batch:
    return Batch(torch.rand(2, 1, 8, 8), torch.arange(2), torch.arange(2), seed=3, epoch=epoch, step=step)


def test_a_drawn_radius_is_uniform_and_leaves_the_step_size() -> None:
    budget_of = MovingBudget(InnerAttack(0.05, 2 / 255, spread=0.6), 10, torch.device("cpu"))
    radii = []
    for step_number in range(500):
        budget = budget_of(some_batch(2, step_number))
        radii.append(float(budget.threat.eps))
        drawn = noise.uniform(3, "attack/radius/batch", 2, torch.tensor([step_number]), ()).item()
        assert radii[-1] == pytest.approx(0.02 + 0.03 * (1 - drawn), rel=1e-5)
        assert float(budget.step_size) == pytest.approx(2 / 255, rel=1e-6)
    # U(0.02, 0.05): mean 0.035, deviation 0.03 / sqrt(12), here of a mean of 500 by three deviations.
    assert min(radii) >= 0.02 * (1 - 1e-6) and max(radii) <= 0.05 * (1 + 1e-6)
    assert abs(sum(radii) / 500 - 0.035) < 3 * 0.03 / 12**0.5 / 500**0.5


def test_adversarial_images_stay_in_the_ball_that_their_batch_drew() -> None:
    moved = []
    for engine in ("eager", "folded"):
        training = Training(
            small_task("at", f"recipe.engine={engine}", "recipe.attack.spread=1", "recipe.attack.steps=8")
        )
        x = make_batch(training.task, torch.arange(32), 0, 0).x
        moved.append((crafted(training, 0) - x).abs().max().item())
    radius = 0.1 * (1 - noise.uniform(0, "attack/radius/batch", 0, torch.tensor([0]), ()).item())
    assert moved == pytest.approx([radius, radius], rel=1e-5)


@pytest.mark.parametrize("fraction, epochs", [(1.0, 200), (0.5, 10), (0.25, 4), (0.1, 5)])
def test_the_budget_of_every_epoch_is_the_definitions(fraction: float, epochs: int) -> None:
    attack = InnerAttack(8 / 255, 4 / 255, ramp=fraction)
    budget_of = MovingBudget(attack, epochs, torch.device("cpu"))
    for epoch in range(epochs):
        part = reference.ramp(epoch + 1, epochs, fraction)
        for counter in (epoch, torch.tensor(epoch)):
            budget = budget_of(some_batch(counter, 0))
            assert float(budget.threat.eps) == pytest.approx(part * 8 / 255, rel=1e-6)
            assert float(budget.step_size) == pytest.approx(part * 4 / 255, rel=1e-6)
    assert budget_of(some_batch(0, 0)) is budget_of(some_batch(1, 0))


@pytest.mark.parametrize("engine", ["eager", "folded"])
@pytest.mark.parametrize("defense", ["at", "trades"])
def test_the_full_radius_is_bit_for_bit_the_constant_attack_and_the_first_epoch_smaller(
    engine: str, defense: str
) -> None:
    engine = f"recipe.engine={engine}"
    constant = crafted(Training(small_task(defense, engine)), 1)
    ramped = Training(small_task(defense, engine, RAMP))
    x, eps = make_batch(ramped.task, torch.arange(32), 0, 0).x, ramped.task.recipe.attack.eps
    half = (crafted(ramped, 0) - x).abs().max()
    assert eps / 4 < half <= eps / 2 + 1e-6
    assert torch.equal(crafted(ramped, 1), constant)


class Sums(Backbone):
    """A linear map whose rows add up to 0: of a gray image it is 0, and of one near it what bf16 can hold."""

    features = 2

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 2, bias=False)
        with torch.no_grad():
            self.linear.weight.copy_(torch.tensor([1.0, -1.0]).repeat(2, 32) * torch.tensor([[0.5], [-0.5]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.linear(x.flatten(1))
        return features


@pytest.mark.parametrize("settings", [("recipe.engine=eager",), ("recipe.attack.mode=train",), ()])
def test_an_attack_in_bf16_climbs_on_a_small_start_as_the_formula_does(settings: tuple[str, ...]) -> None:
    recipe = small_task("trades", "recipe.precision=bf16", "recipe.attack.steps=1", *settings).recipe
    defense, x, index = DEFENSES["trades"](), torch.full((8, 1, 8, 8), 0.75), torch.arange(8)
    model = defense.build(Sums(), 2)
    with torch.no_grad():
        model.head.linear.weight.copy_(torch.eye(2))
        model.head.linear.bias.zero_()
    crafted = Crafter(model, defense, recipe, tuple(x.shape))(Batch(x, index % 2, index, 0, 0, 0))
    # TRADES begins a thousandth of a standard normal away.
    start = x + 0.001 * noise.normal(0, "attack", 0, index, (1, 8, 8))
    # Of two classes, KL(p(x) || p(x')) grows along w (w . (x' - x)), w the difference of the classes' rows.
    w = torch.tensor([1.0, -1.0]).repeat(32).view(8, 8).double()
    along = (w * (start - x).double()).sum(dim=(1, 2, 3)).sign()
    expected = start.double() + recipe.attack.step_size * along.view(-1, 1, 1, 1) * w
    torch.testing.assert_close(crafted.double(), expected.clamp(0.75 - 0.1, 0.75 + 0.1), rtol=0, atol=1e-6)


def test_validation_attacks_with_the_whole_radius(tmp_path: Path) -> None:
    task = small_task("at", RAMP, "recipe.epochs=1")
    run = created(tmp_path, "at", RAMP, "recipe.epochs=1")
    trained(tmp_path, task, run)
    constant = small_task("at").recipe.attack
    assert task.holdout is not None
    assert run.epochs()[0]["holdout"] == validate(task.model, task.holdout, constant, 32).accuracy


def uncompiled(*functions: Callable[..., Any], **_: Any) -> Callable[..., Any]:
    """torch.compile, with or without a function, that changes nothing."""
    return functions[0] if functions else lambda function: function


def warmed_up(work: Callable[[], Any]) -> Callable[[], Any]:
    for _ in range(3):
        work()
    return work


def test_a_growing_radius_makes_one_ascent_and_one_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    captures: list[int] = []

    def counted(work: Callable[[], Any]) -> Callable[[], Any]:
        captures.append(1)
        return cuda_graphs.again(work)

    monkeypatch.setattr(torch, "compile", uncompiled)
    plain, fast = Training(double_task("at", RAMP)), Training(double_task("at", RAMP))
    fast.craft._ascend = CompiledAscent((32, 1, 8, 8), counted)
    for epoch in (0, 1, 0):
        torch.testing.assert_close(crafted(fast, epoch), crafted(plain, epoch), rtol=0, atol=1e-10)
    assert fast.craft._ascend.made == 1 and len(captures) == 1


@pytest.mark.parametrize("captured", [cuda_graphs.again, warmed_up])
@pytest.mark.parametrize("defense", DEFENSES)
def test_captured_steps_with_every_part_train_like_the_folded_engine(
    defense: str, captured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    captures: list[int] = []

    def counted(work: Callable[[], Any]) -> Callable[[], Any]:
        captures.append(1)
        return captured(work)

    monkeypatch.setattr(step, "cuda_graph", counted)
    monkeypatch.setattr(step, "check_engine", lambda recipe, device: None)
    monkeypatch.setattr(torch, "compile", uncompiled)
    train_in_double(monkeypatch)
    ends = []
    for engine in ("folded", "step"):
        training = Training(double_task(defense, *EVERYTHING, f"recipe.engine={engine}", "recipe.train_images=80"))
        task = training.task
        task.defense.between_epochs(task.model, 0)
        task.model.train()
        for epoch in range(2):
            training.epoch, training.step = epoch, 0
            for _ in range(3):
                training.advance(torch.arange(80))
        ends.append({**task.model.state_dict(), **{"ema " + k: v for k, v in training._average._values.items()}})
    # One graph without weight perturbation, and one with it from the second epoch on.
    assert len(captures) == 2
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=RATE_ERROR, atol=RATE_ERROR, msg=name)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(
    "defense, parts", [*(("adv-dpnp", part) for part in PARTS), ("trades", "everything"), ("dpnp", "swa everything")]
)
def test_every_part_resumes_bit_for_bit(defense: str, parts: str, steps: int, tmp_path: Path) -> None:
    settings = PARTS.get(parts, EVERYTHING + (PARTS["swa"] if parts.startswith("swa") else ()))
    whole_run, broken_run = (created(tmp_path / name, defense, *settings) for name in ("whole", "broken"))
    trained(tmp_path, small_task(defense, *settings), whole_run)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task(defense, *settings), broken_run, StopAt(steps), resume=False, checkpoint_seconds=0)
    trained(tmp_path, small_task(defense, *settings), broken_run, resume=True)
    for which in ("last", "best"):
        whole, broken = whole_run.read_weights(which), broken_run.read_weights(which)
        assert whole[1] == broken[1] and all(torch.equal(whole[0][name], broken[0][name]) for name in whole[0])
    states = [run.read_state() for run in (whole_run, broken_run)]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name])


def test_a_state_without_an_average_of_an_older_version_is_continued(tmp_path: Path) -> None:
    whole = trained(tmp_path, small_task(), created(tmp_path / "whole"))
    run = created(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        fit(small_task(), run, StopAt(4), resume=False, checkpoint_seconds=0)
    state = run.read_state()
    del state["average"], state["config"]
    run.write_state(state)
    resumed = trained(tmp_path, small_task(), run, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_captured_step_refuses_a_momentum_that_moves() -> None:
    recipe = small_task("at", *PARTS["onecycle"], "recipe.engine=folded").recipe
    object.__setattr__(recipe, "engine", "step")
    with pytest.raises(ValueError, match=r"recipe\.engine=step captures one momentum"):
        step.check_engine(recipe, torch.device("cuda"))


@pytest.mark.slow
def test_compiled_training_with_every_part_compiles_each_graph_once_and_resumes(tmp_path: Path) -> None:
    import torch._dynamo

    settings = (*EVERYTHING, "recipe.engine=compiled", "recipe.train_images=96")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    whole = trained(tmp_path, small_task("at", *settings), created(tmp_path / "whole", "at", *settings))
    counters = dict(torch._dynamo.utils.counters["stats"])
    assert counters["unique_graphs"] == 2, counters
    broken = created(tmp_path / "broken", "at", *settings)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task("at", *settings), broken, StopAt(4), resume=False, checkpoint_seconds=0)
    torch._dynamo.reset()
    resumed = trained(tmp_path, small_task("at", *settings), broken, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
