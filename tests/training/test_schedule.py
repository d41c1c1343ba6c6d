from dataclasses import replace

import pytest
import torch

from advdpnp.experiments import experiment
from advdpnp.training.optimizer import ScheduledSGD, first_epoch, rate_factor
from advdpnp.training.recipe import RateScaling, Recipe
from reference import schedule as reference

PAPER = experiment("cifar10/resnet18/at", "paper").recipe
RUNS = [(110, 391), (30, 391), (8, 40), (11, 7)]


def optimizer(recipe: Recipe, total_steps: int, *groups: dict[str, object]) -> ScheduledSGD:
    return ScheduledSGD([{"params": [torch.zeros(1, requires_grad=True)], **g} for g in groups], recipe, total_steps)


@pytest.mark.parametrize("epochs, steps", RUNS)
def test_the_rate_of_every_step_is_the_papers_scaled_to_the_run(epochs: int, steps: int) -> None:
    for step in range(epochs * steps):
        found = 0.1 * rate_factor(PAPER, step, epochs * steps)
        t = step / steps
        boundary = min(abs(t - epochs * m) for m in PAPER.milestones)
        if boundary * steps > 0.51:  # a milestone may fall inside a step
            assert found == pytest.approx(float(reference.learning_rate(t, epochs)))


def test_the_paper_decays_exactly_at_epochs_100_and_105() -> None:
    rates = [
        0.1 * rate_factor(PAPER, epoch * 391 + offset, 110 * 391)
        for epoch, offset in ((99, 390), (100, 0), (104, 390), (105, 0))
    ]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])


@pytest.mark.parametrize("epochs, steps", RUNS[1:])
def test_cosine_is_torchs_step_by_step_and_ends_near_0(epochs: int, steps: int) -> None:
    recipe, total = replace(PAPER, schedule="cosine", lr=0.2), epochs * steps
    ours, theirs = optimizer(recipe, total, {}), torch.optim.SGD([torch.zeros(1)], lr=0.2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=total)
    for step in range(total):
        ours.schedule(step)
        assert ours.rate == pytest.approx(scheduler.get_last_lr()[0], rel=1e-6, abs=1e-10)
        assert ours.rate == pytest.approx(0.2 * reference.cosine(step / steps, epochs), rel=1e-9, abs=1e-12)
        theirs.step()
        scheduler.step()
    assert ours.rate < 0.2 * 10 / total**2 + 1e-6


@pytest.mark.parametrize("warmup", [0.25, 0.025, 0.6])
@pytest.mark.parametrize("cycle", [True, False])
@pytest.mark.parametrize("epochs, steps", [(5, 391), (4, 12), (1, 41)])
def test_one_cycle_is_torchs_step_by_step_and_so_is_its_momentum(
    warmup: float, cycle: bool, epochs: int, steps: int
) -> None:
    total = epochs * steps
    recipe = replace(PAPER, schedule="onecycle", lr=0.21, warmup=warmup, cycle_momentum=cycle)
    # With no more than one step of warm-up PyTorch divides by zero; the test of a few steps has those.
    assert warmup * total > 1
    ours = optimizer(recipe, total, {})
    theirs = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        theirs, max_lr=0.21, total_steps=total, pct_start=warmup, cycle_momentum=cycle
    )
    for step in range(total):
        ours.schedule(step)
        group = theirs.param_groups[0]
        assert ours.rate == pytest.approx(group["lr"], rel=1e-9)
        assert ours.sgd.param_groups[0]["momentum"] == pytest.approx(group["momentum"], rel=1e-12)
        theirs.step()
        if step + 1 < total:
            scheduler.step()


@pytest.mark.parametrize("schedule", ["steps", "cosine", "onecycle"])
@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 8])
def test_runs_of_a_few_steps_have_rates_between_0_and_the_highest(schedule: str, total: int) -> None:
    recipe = replace(PAPER, schedule=schedule)
    factors = [rate_factor(recipe, step, total) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors), factors


@pytest.mark.parametrize("schedule", ["steps", "cosine", "onecycle"])
def test_groups_that_are_not_scheduled_keep_their_rate_and_momentum(schedule: str) -> None:
    recipe = replace(PAPER, schedule=schedule, cycle_momentum=schedule == "onecycle")
    ours = optimizer(recipe, 100, {"lr": 0.5, "scheduled": False}, {"lr": 0.3, "momentum": 0.0}, {})
    rates = []
    for step in range(100):
        ours.schedule(step)
        fixed, own, plain = ours.sgd.param_groups
        assert (fixed["lr"], fixed["momentum"], own["momentum"]) == (0.5, 0.9, 0.0)
        assert own["lr"] == pytest.approx(3 * plain["lr"])
        rates.append(plain["lr"])
    assert len(set(rates)) > 1


def test_rates_in_tensors_are_written_in_place_and_survive_a_restore() -> None:
    ours = optimizer(replace(PAPER, schedule="cosine"), 10, {})
    ours.rates_in_tensors(torch.device("cpu"))
    rate = ours.sgd.param_groups[0]["lr"]
    ours.schedule(5)
    assert rate is ours.sgd.param_groups[0]["lr"] and rate.item() == pytest.approx(0.05)
    plain = optimizer(replace(PAPER, schedule="cosine"), 10, {})
    ours.restore(plain.state())
    assert isinstance(ours.sgd.param_groups[0]["lr"], torch.Tensor)


@pytest.mark.parametrize(
    "start, epochs, first", [(0.0, 110, 0), (0.05, 200, 10), (0.75, 200, 150), (0.5, 2, 1), (0.75, 1, 0), (0.99, 3, 2)]
)
def test_what_starts_at_a_fraction_of_the_run_starts_in_every_run(start: float, epochs: int, first: int) -> None:
    assert first_epoch(start, epochs) == first


@pytest.mark.parametrize(
    "setting, message",
    [
        ("recipe.schedule=linear", "recipe.schedule must be one of steps, cosine, onecycle"),
        ("recipe.warmup=1", r"recipe.warmup must be in \(0, 1\), a fraction of the run; got 1.0"),
        ("recipe.cycle_momentum=true", "belongs to recipe.schedule=onecycle; got schedule=steps"),
        ("recipe.label_smoothing=1", r"recipe.label_smoothing must be in \[0, 1\); got 1.0"),
        ("recipe.averaging.kind=lawa", "recipe.averaging.kind must be one of none, ema, swa"),
        ("recipe.averaging.decay=1", r"recipe.averaging.decay must be in \[0, 1\); got 1.0"),
        ("recipe.averaging.start=1", r"recipe.averaging.start must be in \[0, 1\); got 1.0"),
        ("recipe.weight_perturbation.gamma=-1", "recipe.weight_perturbation.gamma must be at least 0"),
        ("recipe.weight_perturbation.start=1", r"recipe.weight_perturbation.start must be in \[0, 1\)"),
        ("recipe.attack.ramp=2", r"recipe.attack.ramp must be in \[0, 1\], a fraction of the epochs; got 2.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(setting: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        experiment("digits/tiny/at", settings=[setting])
    assert "\n" not in str(refused.value)


def test_nesterov_without_momentum_is_refused_and_with_it_reaches_sgd() -> None:
    with pytest.raises(ValueError, match=r"recipe\.nesterov needs a momentum"):
        experiment("digits/tiny/at", settings=["recipe.nesterov=true", "recipe.momentum=0"])
    recipe = experiment("digits/tiny/at", settings=["recipe.nesterov=true"]).recipe
    assert optimizer(recipe, 10, {}).sgd.param_groups[0]["nesterov"]


def test_a_configuration_of_an_older_version_is_read_with_what_it_meant_then() -> None:
    from advdpnp.experiments import from_config

    now = experiment("digits/tiny/at")
    old = now.config()
    for field in (
        "schedule",
        "warmup",
        "cycle_momentum",
        "nesterov",
        "label_smoothing",
        "averaging",
        "weight_perturbation",
    ):
        del old["recipe"][field]
    del old["recipe"]["attack"]["ramp"]
    assert from_config(old) == now


def test_a_larger_batch_has_its_rate_in_proportion_after_a_linear_warm_up() -> None:
    # 1,024 images for 128: 8 times the rate; 2 epochs of 10 steps to get there.
    scaled = replace(PAPER, epochs=10, batch_size=1024, rate_scaling=RateScaling(128, warmup_epochs=2))
    total = 100
    assert rate_factor(scaled, 0, total) == 1.0
    assert rate_factor(scaled, 5, total) == pytest.approx(1 + 7 / 4)
    assert rate_factor(scaled, 10, total) == pytest.approx(4.5)
    assert rate_factor(scaled, 20, total) == rate_factor(scaled, 89, total) == 8.0
    assert rate_factor(scaled, 99, total) == pytest.approx(0.08)
    once = replace(scaled, schedule="onecycle")
    plain = replace(once, rate_scaling=RateScaling())
    for step in range(total):
        assert rate_factor(once, step, total) == 8 * rate_factor(plain, step, total)
    at_once = replace(scaled, rate_scaling=RateScaling(128, warmup_epochs=0))
    assert rate_factor(at_once, 0, total) == 8.0


def test_without_scaling_the_size_of_the_batch_changes_no_rate() -> None:
    for step in range(100):
        assert rate_factor(replace(PAPER, batch_size=1024), step, 100) == rate_factor(PAPER, step, 100)


def test_groups_without_a_schedule_are_not_scaled() -> None:
    scaled = replace(PAPER, batch_size=1024, rate_scaling=RateScaling(128, warmup_epochs=0))
    ours = optimizer(scaled, 100, {}, {"params": [torch.zeros(1)], "lr": 0.5, "scheduled": False})
    ours.schedule(0)
    assert [group["lr"] for group in ours.sgd.param_groups] == [pytest.approx(0.8), 0.5]
