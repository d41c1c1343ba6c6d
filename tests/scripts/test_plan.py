"""The plan against sums made by hand: 391 steps make an epoch of 50,000 images in batches of 128, 196 in 256."""

from dataclasses import replace

import pytest

from gpu.plan import Measured, choose_batch, choose_benchmark, engines_by_speed, epoch_seconds, make_plan
from gpu.scale import ARMS, REAL, Variant

AT, MEAN, SUM = ARMS


def timed(**steps: float) -> Measured:
    """Seconds of a step, as step_128=0.0175."""
    return Measured(steps={name.replace("_", "/"): seconds for name, seconds in steps.items()})


def test_epochs_are_what_is_left_after_evaluation_over_the_seconds_of_an_epoch() -> None:
    # Epochs: 1.05 * 391 * 0.0175 = 7.185 s, and 23/26 of it for AT: 20.73 s for the three. Start, suite and AutoAttack
    # of each: 25 + 15 + 50 s. (560 - 270) / 20.73 = 13.99.
    plan = make_plan(REAL, 560.0, "step", timed(step_128=0.0175), ARMS)
    assert (plan.epochs, plan.arms, plan.dropped, plan.batch) == (13, ("at", "mean", "sum"), (), 128)
    assert plan.epoch_seconds["mean"] == pytest.approx(7.1846, abs=1e-4)
    assert plan.epoch_seconds["at"] == pytest.approx(7.1846 * 23 / 26, abs=1e-4)
    assert plan.seconds == pytest.approx(270 + 13 * 20.725, abs=0.1)


def test_under_ten_epochs_sum_is_dropped_and_the_others_get_its_time() -> None:
    # Nothing measured: 11.1 s an epoch. Three: (560 - 270) / 32.02 = 9.06. Two: (560 - 180) / 20.92 = 18.2.
    plan = make_plan(REAL, 560.0, "folded", Measured(), ARMS)
    assert (plan.epochs, plan.arms, plan.dropped) == (18, ("at", "mean"), ("sum",))


def test_ten_epochs_of_three_are_enough() -> None:
    # 10 * 32.02 + 270 = 590.2.
    assert make_plan(REAL, 590.3, "folded", Measured(), ARMS).arms == ("at", "mean", "sum")
    assert make_plan(REAL, 590.1, "folded", Measured(), ARMS).arms == ("at", "mean")


def test_what_waits_for_autoattack_has_its_time_and_no_arm_gets_more_epochs_than_the_first() -> None:
    # (400 - 2 * 40 - 3 * 50) / 22.2 = 7.7: under the ten, so sum goes: (400 - 40 - 2 * 50) / 11.1 = 23.4, and 12 of AT.
    plan = make_plan(REAL, 400.0, "folded", Measured(), (MEAN, SUM), to_search=1, like=(12, 256))
    assert (plan.epochs, plan.arms, plan.dropped, plan.batch) == (12, ("mean",), ("sum",), 256)


def test_autoattack_goes_before_the_last_arm_does() -> None:
    # One epoch: AT 9.82 s, Adv-DPNP 11.1 s. With AutoAttack of both, 200.9; of none, 100.9; AT alone, 49.8.
    def arms(left: float) -> tuple[str, ...]:
        return make_plan(REAL, left, "folded", Measured(), (AT, MEAN)).arms

    assert arms(201.0) == arms(101.0) == ("at", "mean")
    assert arms(100.0) == arms(50.0) == ("at",)
    assert arms(49.0) == ()


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
    assert epoch_seconds(REAL, MEAN, "graph", 128, True, measured) == pytest.approx(11.1)


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
