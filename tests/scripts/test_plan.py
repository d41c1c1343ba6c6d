"""The plan against sums made by hand: 391 steps make an epoch of 50,000 images in batches of 128, 196 in 256."""

from dataclasses import replace

import pytest

from gpu.plan import (
    Measured,
    choose_batch,
    choose_benchmark,
    engines_by_speed,
    epoch_seconds,
    make_plan,
    variant_seconds,
)
from gpu.scale import ARMS, REAL, Variant

AT, MEAN, SUM = ARMS


def timed(**steps: float) -> Measured:
    """Seconds of a step, as step_128=0.0175."""
    return Measured(steps={name.replace("_", "/"): seconds for name, seconds in steps.items()})


def test_epochs_are_what_is_left_after_evaluation_over_the_seconds_of_an_epoch() -> None:
    # Epochs: 1.05 * 391 * 0.0175 = 7.185 s, and 23/26 of it for AT: 20.73 s for the three. Start, suite and AutoAttack
    # of each: 33 + 27 + 57 s. (560 - 351) / 20.73 = 10.08.
    plan = make_plan(REAL, 560.0, "step", timed(step_128=0.0175), ARMS)
    assert (plan.epochs, plan.arms, plan.dropped, plan.batch) == (10, ("at", "mean", "sum"), (), 128)
    assert plan.epoch_seconds["mean"] == pytest.approx(7.1846, abs=1e-4)
    assert plan.epoch_seconds["at"] == pytest.approx(7.1846 * 23 / 26, abs=1e-4)
    assert plan.seconds == pytest.approx(351 + 10 * 20.725, abs=0.1)


def test_under_ten_epochs_sum_is_dropped_and_the_others_get_its_time() -> None:
    # Nothing measured: 8.4 s an epoch. Three: (590 - 351) / 24.23 = 9.86. Two: (590 - 234) / 15.83 = 22.5.
    plan = make_plan(REAL, 590.0, "graph", Measured(), ARMS)
    assert (plan.epochs, plan.arms, plan.dropped) == (22, ("at", "mean"), ("sum",))


def test_ten_epochs_of_three_are_enough() -> None:
    # 10 * 24.231 + 351 = 593.31.
    assert make_plan(REAL, 593.4, "graph", Measured(), ARMS).arms == ("at", "mean", "sum")
    assert make_plan(REAL, 593.2, "graph", Measured(), ARMS).arms == ("at", "mean")


def test_what_waits_for_autoattack_has_its_time_and_no_arm_gets_more_epochs_than_the_first() -> None:
    # (400 - 2 * 60 - 3 * 57) / 16.8 = 6.5: under the ten, so sum goes: (400 - 60 - 2 * 57) / 8.4 = 26.9, and 12 of AT.
    plan = make_plan(REAL, 400.0, "graph", Measured(), (MEAN, SUM), to_search=1, like=(12, 256))
    assert (plan.epochs, plan.arms, plan.dropped, plan.batch) == (12, ("mean",), ("sum",), 256)


def test_autoattack_goes_before_the_last_arm_does() -> None:
    # One epoch: AT 7.43 s, Adv-DPNP 8.4 s. With AutoAttack of both, 249.8; of none, 135.8; AT alone, 67.4.
    def arms(left: float) -> tuple[str, ...]:
        return make_plan(REAL, left, "graph", Measured(), (AT, MEAN)).arms

    assert arms(250.0) == arms(136.0) == ("at", "mean")
    assert arms(135.0) == arms(68.0) == ("at",)
    assert arms(67.0) == ()


def test_nothing_is_planned_where_nothing_can_end() -> None:
    plan = make_plan(REAL, 30.0, "folded", Measured(), ARMS)
    assert (plan.epochs, plan.arms, plan.dropped) == (0, (), ("at", "mean", "sum"))
    assert make_plan(REAL, -5.0, "folded", Measured(), (SUM,)).arms == ()


def test_twice_the_batch_is_taken_only_if_it_is_a_quarter_faster() -> None:
    # 128 in 0.020 s are 6,400 images a second; a quarter more are 8,000: 256 in 0.032 s.
    assert choose_batch(REAL, "step", timed(step_128=0.020, step_256=0.0319)) == 256
    assert choose_batch(REAL, "step", timed(step_128=0.020, step_256=0.0321)) == 128
    assert choose_batch(REAL, "step", timed(step_128=0.020)) == 128
    # Another engine's times say nothing.
    assert choose_batch(REAL, "graph", timed(step_128=0.020, step_256=0.02)) == 128


def test_an_epoch_of_the_larger_batch_has_196_steps() -> None:
    seconds = epoch_seconds(REAL, MEAN, "step", 256, True, timed(step_256=0.03))
    assert seconds == pytest.approx(1.05 * 196 * 0.03)


def test_a_training_s_own_epochs_count_more_than_the_ladder() -> None:
    measured = replace(timed(step_128=0.0175), epochs={("step", 128): (6.0, 23)})
    assert epoch_seconds(REAL, MEAN, "step", 128, True, measured) == pytest.approx(1.05 * 6.0 * 26 / 23)
    assert epoch_seconds(REAL, MEAN, "graph", 128, True, measured) == pytest.approx(8.4)


def test_where_nothing_was_measured_an_engine_is_as_fast_as_on_the_first_gpu() -> None:
    # results/gpu/a-2026-11-26/slot.json: seconds of a step at batch 128; an epoch has 391.
    first = {"step": 0.016279, "graph": 0.020549, "compiled": 0.038282, "folded": 0.059083, "eager": 0.078349}
    for engine, step in first.items():
        assert epoch_seconds(REAL, MEAN, engine, 128, True, Measured()) == pytest.approx(1.05 * 391 * step, abs=0.06)


def test_a_rung_of_a_new_batch_takes_as_long_as_the_slowest_start_and_another_engine_hardly_any_time() -> None:
    # As on the first GPU, where step/512 was begun in the last seconds and killed.
    begun = {"step/128": {"batch": 128, "start_seconds": 32.325}, "step/256": {"batch": 256, "start_seconds": 28.213}}
    assert variant_seconds(Variant("step", 128), {}) == pytest.approx(1.05 * 35 + 5)
    assert variant_seconds(Variant("step", 512), begun) == pytest.approx(1.05 * 32.325 + 5)
    assert variant_seconds(Variant("graph", 128), begun) == pytest.approx(5)
    # One that failed before its first step says nothing.
    assert variant_seconds(Variant("graph", 128), {"step/128": {"batch": 128, "error": "no"}}) == pytest.approx(
        1.05 * 35 + 5
    )


def test_engines_go_by_measured_time_then_by_their_order_and_refused_ones_never() -> None:
    assert engines_by_speed(REAL, [], Measured()) == ["step", "graph", "compiled", "folded", "eager"]
    assert engines_by_speed(REAL, ["step"], Measured()) == ["graph", "compiled", "folded", "eager"]
    measured = timed(step_128=0.03, folded_128=0.02)
    assert engines_by_speed(REAL, [], measured) == ["folded", "step", "graph", "compiled", "eager"]


def test_cudnn_tries_its_algorithms_unless_its_first_choice_was_faster() -> None:
    assert choose_benchmark(REAL, "step", Measured())
    slower = Measured(steps={Variant("step", 128).name: 0.02, Variant("step", 128, False).name: 0.019})
    assert not choose_benchmark(REAL, "step", slower)
    assert epoch_seconds(REAL, MEAN, "step", 128, False, slower) == pytest.approx(1.05 * 391 * 0.019)
