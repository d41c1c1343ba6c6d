"""Every engine does what plain PyTorch does; graphs are tested with a capture that runs the work again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from advdpnp import cuda_graphs
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.defenses import DEFENSES
from advdpnp.defenses.base import Batch
from advdpnp.experiments import experiment
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel
from advdpnp.training import Task, fit
from advdpnp.training import step as training_step
from advdpnp.training.step import Training, check_engine, make_batch
from training.small import RATE_ERROR, StopAt, created, double_task, in_double, small_task, train_in_double, trained

BUDGET = Budget(ThreatModel("linf", 0.1), 4, 0.03, "uniform")
CRAFTING = [name for name, defense in DEFENSES.items() if defense.crafts]


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """A compiler that changes nothing."""
    return function


def warmed_up(work: Callable[[], Any]) -> Callable[[], Any]:
    """Like `cuda_graph`, which runs the work a few times before it captures it."""
    for _ in range(3):
        work()
    return work


def weights_after(steps: int, training: Training) -> dict[str, torch.Tensor]:
    task = training.task
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    order = torch.arange(len(task.train))
    for _ in range(steps):
        training.advance(order)
    return {name: value.clone() for name, value in task.model.state_dict().items()}


class Flops(TorchDispatchMode):
    """Counts by torch's own formulas; its FlopCounterMode does not work with autograd.grad on a leaf."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        self.count += formula(*args, **(kwargs or {}), out_val=result) if formula else 0
        return result


def crafted(task: Task, x: Callable[[Batch], Batch] = in_double) -> torch.Tensor:
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    return training.craft(x(make_batch(task, torch.arange(96), 0, 0)))


# A step of steepest ascent is continuous in the gradient in l2, so that any error of the folding is seen; in linf only
# signs are.
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("defense", CRAFTING)
def test_a_folded_attack_makes_the_eager_iterates(defense: str, norm: str) -> None:
    settings = (f"recipe.attack.norm={norm}", "recipe.batch_size=96")
    eager, folded = (
        crafted(double_task(defense, f"recipe.engine={engine}", *settings)) for engine in ("eager", "folded")
    )
    # TRADES climbs from a point where the gradient is what is left of probabilities equal to 3 digits of 16.
    torch.testing.assert_close(folded, eager, rtol=0, atol=1e-10)


@pytest.mark.parametrize("defense", CRAFTING)
def test_a_folded_attack_in_float32_is_as_near_to_float64_as_the_eager_one(defense: str) -> None:
    settings = ("recipe.attack.norm=l2", "recipe.batch_size=96")
    true = crafted(double_task(defense, "recipe.engine=eager", *settings))
    errors = {}
    for engine in ("eager", "folded"):
        task = double_task(defense, f"recipe.engine={engine}", *settings)
        task.model.float()
        found = crafted(task, x=lambda batch: batch)
        assert found.dtype == torch.float32
        # Of the median image: a ReLU at rounding distance from zero may switch in a few.
        errors[engine] = (found - true).flatten(1).norm(dim=1).median()
    # Folding rounds each weight once more and each activation once less.
    assert 0 < errors["folded"] < 10 * errors["eager"]


@pytest.mark.parametrize("engine", ["eager", "folded"])
def test_an_attack_iteration_costs_two_forwards(engine: str) -> None:
    training = Training(small_task("at", f"recipe.engine={engine}", "recipe.attack.steps=3"))
    batch = make_batch(training.task, torch.arange(32), 0, 0)
    with Flops() as forward, torch.no_grad():
        training.task.model(batch.x)
    with Flops() as attack:
        training.craft(batch)
    assert attack.count == 3 * 2 * forward.count


def test_captured_iterations_equal_the_eager_loop_and_read_new_inputs() -> None:
    frozen = fold_batchnorm(experiment("digits/tiny/at").build())
    fast = CompiledAscent((8, 1, 8, 8), capture=warmed_up, compiler=eager)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        x, y = torch.rand(8, 1, 8, 8, generator=generator), torch.arange(8)
        noise = IndexNoise(seed, torch.arange(8))
        found = fast(frozen, cross_entropy, x, (y,), budget=BUDGET, noise=noise)
        assert torch.equal(found, ascend(frozen, cross_entropy, x, (y,), budget=BUDGET, noise=noise))
    assert fast.made == 1


def test_rows_reach_their_iterations_in_a_captured_ascent() -> None:
    def scaled(output: torch.Tensor, reference: Any, row: Any) -> torch.Tensor:
        return row[0] * cross_entropy(output, reference, row)

    frozen = fold_batchnorm(experiment("digits/tiny/at").build())
    x, y = torch.rand(4, 1, 8, 8), torch.arange(4)
    rows = (torch.tensor([1.0, -1.0, 1.0, -1.0]),)
    noise = IndexNoise(0, torch.arange(4))
    fast = CompiledAscent(x.shape, capture=cuda_graphs.again, compiler=eager)
    found = fast(frozen, scaled, x, (y,), rows, budget=BUDGET, noise=noise)
    assert torch.equal(found, ascend(frozen, scaled, x, (y,), rows, budget=BUDGET, noise=noise))


def test_other_shapes_take_the_eager_loop() -> None:
    frozen = fold_batchnorm(experiment("digits/tiny/at").build())
    fast = CompiledAscent((8, 1, 8, 8), compiler=eager)
    x = torch.rand(5, 1, 8, 8)
    fast(frozen, cross_entropy, x, (torch.arange(5),), budget=BUDGET, noise=IndexNoise(0, torch.arange(5)))
    assert fast.made == 0


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("captured", [cuda_graphs.again, warmed_up])
def test_a_captured_step_trains_like_the_folded_engine(
    defense: str, captured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_step, "cuda_graph", captured)
    monkeypatch.setattr(training_step, "check_engine", lambda recipe, device: None)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: eager if not _ else _[0])
    train_in_double(monkeypatch)
    # 80 images in batches of 32: two static batches and a smaller last one.
    folded = weights_after(3, Training(double_task(defense, "recipe.train_images=80")))
    step = weights_after(3, Training(double_task(defense, "recipe.train_images=80", "recipe.engine=step")))
    for name, value in folded.items():
        # Learning rates in tensors are float32, whatever the network is.
        torch.testing.assert_close(step[name], value, rtol=RATE_ERROR, atol=RATE_ERROR, msg=name)


def test_graphs_are_refused_without_a_gpu() -> None:
    for engine in ("graph", "step"):
        recipe = experiment("digits/tiny/at", settings=[f"recipe.engine={engine}"]).recipe
        with pytest.raises(ValueError, match="needs a CUDA device; got cpu"):
            check_engine(recipe, torch.device("cpu"))


class NoHostReads(TorchDispatchMode):
    """Refuses what makes the host wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a tensor is read by the host"
        assert "nonzero" not in str(func), "a shape depends on data"
        return func(*args, **(kwargs or {}))


EXTRAS = (
    "recipe.attack.ramp=1",
    "recipe.weight_perturbation.gamma=0.01",
    "recipe.averaging.kind=ema",
    "recipe.label_smoothing=0.1",
)


@pytest.mark.parametrize("extras", [(), EXTRAS])
@pytest.mark.parametrize("defense", DEFENSES)
def test_a_step_reads_nothing_from_the_device(defense: str, extras: tuple[str, ...]) -> None:
    training = Training(small_task(defense, "recipe.batch_size=32", *extras))
    training.task.model.train()
    order = torch.arange(96)
    training.advance(order)
    with NoHostReads():
        training.advance(order)


def test_an_attack_in_train_mode_falls_back_and_the_log_says_so() -> None:
    note = Training(small_task("at", "recipe.attack.mode=train")).craft.note()
    assert note == "attack on the network itself, in train mode: nothing is folded"
    assert Training(small_task("at")).craft.note() == "attack on a folded copy"
    assert Training(small_task("st")).craft.note() == "no attack in training"


@pytest.mark.parametrize("backbone", ["preact-resnet18"])
def test_layers_that_cannot_be_folded_are_named_in_the_log(backbone: str) -> None:
    from advdpnp.training.crafting import Crafter

    wanted = experiment(f"cifar10/{backbone}/at")
    note = Crafter(wanted.build(), wanted.defense, wanted.recipe, (2, 3, 32, 32)).note()
    assert "9 BatchNorm layers cannot be folded: backbone." in note


@pytest.mark.parametrize("settings", [["recipe.precision=bf16"], ["recipe.engine=eager"]])
def test_resume_is_bit_identical_in_bf16_and_with_every_engine(settings: list[str], tmp_path: Path) -> None:
    whole = trained(tmp_path, small_task("adv-dpnp", *settings), created(tmp_path / "whole", "adv-dpnp", *settings))
    broken = created(tmp_path / "broken", "adv-dpnp", *settings)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task("adv-dpnp", *settings), broken, StopAt(4), resume=False, checkpoint_seconds=0)
    resumed = trained(tmp_path, small_task("adv-dpnp", *settings), broken, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.parametrize("settings", [[], ["recipe.engine=eager"], ["recipe.attack.mode=train"]])
def test_bf16_keeps_weights_logits_and_iterates_in_fp32(settings: list[str]) -> None:
    training = Training(small_task("adv-dpnp", "recipe.precision=bf16", *settings))
    task = training.task
    batch = make_batch(task, torch.arange(32), 0, 0)
    x_adv = training.craft(batch)
    assert x_adv.dtype == torch.float32 and (x_adv - batch.x).abs().max() <= task.recipe.attack.eps + 1e-6
    assert {p.dtype for p in task.model.parameters()} == {torch.float32}
    with torch.autocast("cpu", torch.bfloat16):
        embedding = task.model.embed(batch.x)
        assert task.model.head(embedding).dtype == torch.float32
    assert all(term.dtype == torch.float32 for term in training.losses(batch, x_adv).values())


@pytest.mark.slow
def test_compiled_training_compiles_once_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    import torch._dynamo

    settings = ["recipe.engine=compiled", "recipe.train_images=96"]
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    whole_run = created(tmp_path / "whole", "adv-dpnp", *settings)
    task = small_task("adv-dpnp", *settings)
    whole = trained(tmp_path, task, whole_run)
    counters = dict(torch._dynamo.utils.counters["stats"])
    # One graph for the attack's iteration and one for the losses; a graph break would make more.
    assert counters["unique_graphs"] == 2, counters
    broken = created(tmp_path / "broken", "adv-dpnp", *settings)
    with pytest.raises(KeyboardInterrupt):
        fit(small_task("adv-dpnp", *settings), broken, StopAt(4), resume=False, checkpoint_seconds=0)
    torch._dynamo.reset()
    resumed = trained(tmp_path, small_task("adv-dpnp", *settings), broken, resume=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_compiled_training_learns_what_the_folded_engine_does(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo

    torch._dynamo.reset()
    train_in_double(monkeypatch)
    folded, compiled = (
        weights_after(3, Training(double_task("adv-dpnp", f"recipe.engine={engine}")))
        for engine in ("folded", "compiled")
    )
    for name, value in folded.items():
        torch.testing.assert_close(compiled[name], value, rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.slow
# The compiler looks for one where it continues after the draws; without pytest it keeps that to itself.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("defense", ["fsr", "dio"])
def test_draws_make_nothing_be_compiled_again_in_another_epoch(defense: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FSR draws in its loss, by epoch and image; DIO a head for every iteration of its attack."""
    compiled = torch.compile
    # What graphs are traced, and when again, is no matter of the code generator, which takes a minute.
    monkeypatch.setattr(torch, "compile", lambda *given, **named: compiled(*given, **{**named, "backend": "eager"}))
    torch.compiler.reset()
    folded, traced = (small_task(defense, f"recipe.engine={engine}") for engine in ("folded", "compiled"))
    trainings = [Training(task) for task in (folded, traced)]
    terms: list[torch.Tensor] = []
    for training in trainings:
        training.task.model.train()
        for epoch in range(3):
            training.epoch, training.step = epoch, 0
            with torch.compiler.set_stance("fail_on_recompile" if epoch else "default"):
                training.advance(torch.arange(96))
                training.advance(torch.arange(96))
        assert training.sums is not None
        terms.append(training.sums)
    torch.compiler.reset()
    torch.testing.assert_close(*terms, rtol=1e-3, atol=1e-3)


def test_unknown_engines_are_refused() -> None:
    with pytest.raises(ValueError, match=r"recipe\.engine must be one of eager, folded, compiled, graph, step"):
        experiment("digits/tiny/at", settings=["recipe.engine=warp"])
