"""Budgets that make no sense end before anything is measured, whichever way they come."""

from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from advdpnp.api.protocol import attack_by_hand
from advdpnp.attacks import APGDCE, AutoAttack, Square, Suite, suite
from advdpnp.callbacks import Silent
from advdpnp.cli import app
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.evaluation.single_pass import model_to_attack

IMAGES = Images(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))


class Unasked(nn.Module):
    """Nobody attacks it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert len(x) == 1, "an attack has begun"
        return torch.zeros(len(x), 3)


@pytest.mark.parametrize(
    "attack, diameter",
    [
        (AutoAttack(eps=128, norm="l2"), 8.0),
        (Square(eps=128, norm="l2"), 8.0),
        (APGDCE(eps=128, norm="l1"), 64.0),
    ],
)
def test_a_radius_in_bytes_is_refused_before_the_first_attack(attack: Any, diameter: float) -> None:
    wanted = Evaluation(Suite("wide", "", (attack,), features=None), 4, {})
    with pytest.raises(ValueError, match=f"{attack.norm} eps must be at most {diameter}, .*Did you mean 128 / 255"):
        evaluate(Unasked().eval(), IMAGES, wanted, Silent())


@pytest.mark.parametrize(
    "text, says",
    [
        ("pgd:eps=0.3,step_size=-0.01", "step_size must be at least 0; got -0.01"),
        ("pgd:eps=-0.3", "eps must be at least 0; got -0.3"),
        ("pgd:steps=0", "steps must be at least 1; got 0"),
        ("cw:kappa=-1", "kappa must be at least 0; got -1.0"),
        ("cw:kappa=nan", "cw.kappa must be a number or a fraction"),
        ("square:steps=0", "steps must be at least 1; got 0"),
        ("fab-t:beta=0", "beta must be in (0, 1]; got 0.0"),
        ("pgd:norm=l0", "pgd.norm must be one of linf, l2, l1; got 'l0'"),
        ("slide:norm=l2", "slide.norm must be one of l1; got 'l2'"),
        ("pgd:ascent=sparse", "pgd.ascent must be one of coordinate, dense, rescaled; got 'sparse'"),
    ],
)
def test_attacks_by_hand_are_refused_by_field(text: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        attack_by_hand(text, 0.1)
    assert says in str(refused.value)


@pytest.mark.parametrize("eps, says", [(float("nan"), "finite"), (-0.1, "at least 0"), (8.0, "Did you mean 8 / 255")])
def test_suites_are_refused_whatever_they_are_made_of(eps: float, says: str) -> None:
    for name in ("clean", "quick", "curve", "autoattack"):
        with pytest.raises(ValueError, match=says):
            suite(name, eps)
    with pytest.raises(ValueError, match="pixels must be at least 1; got 0"):
        suite("quick", 0.1, 0)


def test_an_unknown_precision_is_no_fp32() -> None:
    with pytest.raises(ValueError, match="attacks can search in fp32, tf32, bf16; got 'FP16'"):
        model_to_attack(Unasked(), "FP16")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (
            ["train", "digits/tiny/at", "--set", "recipe.attack.step_size=-0.01"],
            "attack.step_size must be above 0",
        ),
        (["train", "digits/tiny/trades", "--set", "defense.beta=-6"], "defense.beta must be at least 0; got -6.0"),
        (["train", "digits/tiny/at", "--set", "recipe.momentum=2"], "recipe.momentum must be in [0, 1); got 2.0"),
    ],
)
def test_the_command_line_says_it_in_one_line_and_exits_2(arguments: list[str], says: str) -> None:
    ended = CliRunner().invoke(app, arguments)
    assert ended.exit_code == 2
    assert says in ended.stderr and ended.stderr.count("\n") == 1
