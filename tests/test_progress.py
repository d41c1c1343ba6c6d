"""What a person sees while something runs, and of what it found."""

import itertools
from typing import Any

import pytest

from advdpnp import progress
from advdpnp.progress import Bars, Lines, SearchClock, comparison_text, duration, result_text


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_a_search_says_after_five_seconds_and_then_each_half_minute_how_long_it_takes(clock: Clock) -> None:
    search, due = SearchClock(steps=1000), {}
    for second in range(100):
        clock.now = 100.0 + second
        due[second] = search.due(left=1000 - 10 * second)
    assert {second for second, seconds in due.items() if seconds is not None} == {5, 35, 65, 95}
    # At 10 iterations a second, what is left takes 100 s less the time that has passed.
    assert all(seconds == pytest.approx(100 - second) for second, seconds in due.items() if seconds is not None)
    assert search.share(left=250) == 0.75


def test_a_search_that_has_done_nothing_or_all_has_no_time_left_to_tell(clock: Clock) -> None:
    search = SearchClock(steps=10)
    clock.now += 60
    assert search.due(left=10) is None and search.due(left=0) is None
    assert search.due(left=5) == pytest.approx(60)


def test_lines_tell_of_a_search_its_share_the_time_left_and_the_bound(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = Lines()
    lines.on_search("1. autoattack: 4. square", images=57, steps=5000)
    clock.now += 60
    lines.on_steps(left=3750, bound=0.4567)
    lines.on_search("2. square", images=57, steps=0)
    lines.on_steps(left=0, bound=0.1)
    lines.on_attack("clean", images=0)
    assert capsys.readouterr().err.splitlines() == [
        "1. autoattack: 4. square: 57 images",
        "  25%, about 3 min left; robust accuracy is at most 45.7%",
        "2. square: nothing left to do",
        "clean: done before",
    ]


def test_bars_take_every_call_of_an_evaluation() -> None:
    with Bars() as bars:
        bars.on_forecast(3.0)
        bars.on_attack("clean", 10)
        bars.on_images(10)
        for steps in (100, 0):
            bars.on_search("square", 10, steps)
            bars.on_steps(steps // 2, 0.5)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.01, "1 s"), (45, "45 s"), (89, "89 s"), (720, "12 min"), (12600, "3.5 h")]
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def row(name: str, accuracy: float, **more: Any) -> dict[str, Any]:
    budget = {"name": name, "norm": "linf", "eps": "0.1", "steps": None, "step_size": None, "restarts": 1}
    budget |= {"random_start": True}
    return budget | {"robust_accuracy": accuracy, "interval95": [accuracy, accuracy]} | more


def result(*attacks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "data": "digits",
        "n": 50,
        "indices": "0-49",
        "checkpoint": "last",
        "suite": "mine",
        "clean_accuracy": 0.9,
        "clean_interval95": [0.8, 1.0],
        "attacks": list(attacks),
        "worst_case_accuracy": 0.5,
        "worst_case_interval95": [0.4, 0.6],
    } | more


def test_an_attack_without_steps_of_its_own_names_its_searches_and_no_steps() -> None:
    searches = [row("apgd-ce", 0.6, steps=100), row("square", 0.5, steps=5000)]
    text = result_text(result(row("autoattack", 0.5, searches=searches)))
    assert "after apgd-ce" in text and "after square" in text and "None" not in text and "first 50 test images" in text


def test_searches_of_the_same_name_are_told_apart_by_restarts_and_steps() -> None:
    searches = [row("apgd-t", 0.6, steps=100), row("square", 0.6, steps=9), row("apgd-t", 0.5, steps=100, restarts=2)]
    text = result_text(result(row("autoattack-plus", 0.5, searches=searches)))
    assert [line.split("  ")[1].strip() for line in text.splitlines() if "after" in line] == [
        "after apgd-t, 1 x 100 steps",
        "after square",
        "after apgd-t, 2 x 100 steps",
    ]


def test_an_attack_with_a_part_that_has_a_name_of_its_own_shows_both_numbers() -> None:
    tier = {"name": "autoattack", "robust_accuracy": 0.56, "interval95": [0.4, 0.7]}
    for accuracy, said in (
        (0.54, "1 image that autoattack leaves standing falls"),
        (0.56, "no images that autoattack"),
    ):
        lines = result_text(result(row("autoattack-plus", accuracy, tiers=[tier]))).splitlines()
        assert [line.split() for line in lines if "alone" in line] == [
            ["autoattack", "alone", "56.00%", "[40.00%,", "70.00%]"]
        ]
        assert any(line.startswith("autoattack-plus") and f"{accuracy:.2%}" in line for line in lines)
        assert any(said in line for line in lines)


def test_attacks_that_differ_in_a_setting_alone_are_told_apart() -> None:
    text = result_text(result(row("mi-fgsm", 0.6, decay=0.5), row("mi-fgsm", 0.5, decay=1.0)))
    assert "mi-fgsm linf 0.1, decay = 0.5 " in text and "mi-fgsm linf 0.1, decay = 1 " in text


def test_a_shard_says_which_images_it_has() -> None:
    text = result_text(result(shard=[2, 3], n=17, indices="1-49 step 3"))
    assert "shard 2 of 3: 17 test images (1-49 step 3)" in text and "first" not in text


def test_what_a_reader_must_know_of_an_attack_stands_below_it() -> None:
    rows = row("autoattack-quick", 0.5), row("apgd-t", 0.5, notes=["apgd-t: 3 classes"], unconfirmed=2)
    text = result_text(result(*rows, search_precision="bf16"))
    assert "at most this" in text and "apgd-t: 3 classes" in text and "2 of the images" in text
    assert "searches were made in bf16, verdicts in fp32" in text


def test_columns_of_a_comparison_stand_below_their_heads_whatever_the_names() -> None:
    counts = {"first": 0.5, "second": 0.25, "only_first": 3, "only_second": 0, "p": 0.25}
    lines = comparison_text([{"name": name, **counts} for name in ("clean", "autoattack-quick linf 12.75/255")])
    assert len({len(line) for line in lines.splitlines()}) == 1


def test_lines_tell_the_time_left_after_the_first_step_and_never_stay_silent_for_long(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, seconds = Lines(), {}
    clock.now += 30
    lines.on_note("the first step begins")
    clock.now += 20
    lines.on_step(0, 1, 400, 10)
    for step in range(2, 401):
        clock.now += 10
        lines.on_step(0, step, 400, 10)
        if told := capsys.readouterr().err.splitlines():
            seconds[round(clock.now)] = told
    first, second, third, *_ = [line for told in seconds.values() for line in told if "begins" not in line]
    # One step of 20 s, and 3,999 to go; then steps of 10 s.
    assert first == "the first step took 20 s; 3999 left: about 22.2 h"
    assert second == "3998 steps of 10 s: about 11.1 h"
    assert third == "step 9 of 4000: about 11.1 h left"
    times = list(seconds)
    # A minute, and later a tenth of the time that has passed; both rounded up to whole steps.
    assert max(b - a for a, b in itertools.pairwise(times)) <= max(70, 0.1 * 4000 + 20)
    assert len(times) < 50


def test_a_last_step_leaves_no_time_to_tell(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for step in (1, 2):
        clock.now += 30
        lines.on_step(0, step, 2, 1)
    assert capsys.readouterr().err == "the first step took 30 s; 1 left: about 30 s\n"


def test_bars_move_before_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    with Bars() as bars:
        (starting,) = bars._progress.tasks
        assert starting.description == "starting" and starting.total is None
        bars.on_step(0, 1, 2, 1)
        assert [task.description for task in bars._progress.tasks] == ["epoch 1/1"]


def test_the_worst_case_of_the_four_attacks_of_table_2_is_the_ensemble() -> None:
    four = [row(name, 0.6, steps=steps) for name, steps in (("fgsm", 1), ("pgd", 20), ("pgd", 100), ("cw", 30))]
    assert "worst case (Ensemble) " in result_text(result(*four))
    # Under fewer, other or more attacks it is another number than the paper's.
    for others in (four[:3], [*four[:3], row("cw", 0.6, steps=20)], [*four, row("square", 0.6, steps=5000)]):
        assert "Ensemble" not in result_text(result(*others)) and "worst case " in result_text(result(*others))
