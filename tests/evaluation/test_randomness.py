"""Evaluations of randomized networks: what is refused, what is averaged, what the result says."""

from typing import Any

import pytest
import torch
from torch import Tensor

import advdpnp
from advdpnp.attacks import PGD
from advdpnp.evaluation import paired_test
from advdpnp.evaluation.randomness import rows_with_draws
from advdpnp.models.expected import ONE_DRAW
from advdpnp.progress import result_text
from advdpnp.results import AttackKey, read_evaluation
from external.networks import Wrapped, digits

ATTACK = PGD(eps=0.05, steps=4)


def noisy(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


def run(model: Any, n: int = 48, **options: Any) -> Any:
    x, y = digits().batch(torch.arange(n))
    return advdpnp.evaluate(model, x, y, suite=ATTACK, **options)


def test_without_draws_it_is_refused_and_the_cure_is_named() -> None:
    with pytest.raises(ValueError, match=r"answers the same images differently .* give --eot 20 \(eot=20\)"):
        run(Wrapped(noisy))


def test_with_draws_the_result_is_that_of_their_mean_and_says_so() -> None:
    model, before = Wrapped(noisy), torch.get_rng_state()
    result = run(model, eot=12)
    # The caller's own random numbers go on as if nothing had been drawn, and a second evaluation draws the same.
    assert torch.equal(torch.get_rng_state(), before)
    again = run(model, eot=12)
    assert again["attacks"][0]["verdicts"] == result["attacks"][0]["verdicts"]
    (row,) = result["attacks"]
    assert result["eot"] == row["eot"] == 12 and not result.get("warnings")
    assert result["clean_other_answers"].keys() == row["other_answers"].keys() == {ONE_DRAW}
    # The mean over draws of a linear network with noise on its input is nearly the network itself.
    plain = run(Wrapped())
    assert abs(result["clean_accuracy"] - plain["clean_accuracy"]) <= 3 / 48
    assert result["clean_other_answers"][ONE_DRAW] < plain["clean_accuracy"]
    text = result_text(result)
    assert "attacks and verdicts follow the mean of 12 draws" in text and "mean of 12 draws " in text
    key = AttackKey.read(row)
    assert key != AttackKey.read(plain["attacks"][0]) and "mean of 12 draws" in key.details
    assert read_evaluation(result).eot == 12
    with pytest.raises(ValueError, match="eot"):
        paired_test(result, plain)


def test_a_network_that_draws_nothing_gives_the_same_and_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"answers the same images alike every time.*leave it out"):
        result = run(Wrapped(), eot=2)
    plain = run(Wrapped())
    assert result["attacks"][0]["verdicts"] == plain["attacks"][0]["verdicts"]
    assert len(result["warnings"]) == 1


def test_searches_ask_the_network_again_before_they_count_a_success() -> None:
    # So much noise that a single answer is wrong now and then: a search that asks often enough would find a wrong one.
    x, y = digits().batch(torch.arange(16))
    model = Wrapped(noisy)
    mean = Wrapped()
    keep = mean(x).argmax(dim=1) == y
    result = advdpnp.evaluate(model, x[keep], y[keep], suite=["square:eps=0,steps=30"], eot=20)
    (row,) = result["attacks"]
    # At a radius of 0 there is nothing to find; what seems to be is luck of the draws, and mostly not confirmed.
    assert row["broken"] <= 2


def test_rows_hold_as_many_draws_as_there_is_memory_for() -> None:
    assert [rows_with_draws(rows, draws) for rows, draws in ((128, 1), (128, 4), (128, 20), (16, 20), (1, 20))] == [
        128, 32, 8, 8, 1,
    ]  # fmt: skip


@pytest.mark.parametrize("eot", [0, 1.5, True])
def test_draws_are_a_count(eot: Any) -> None:
    with pytest.raises(ValueError, match="eot must be"):
        run(Wrapped(noisy), eot=eot)
