"""Images that rounding put outside of [0, 1], arrays that are no tensors, and networks that return no tensor."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp.attacks import APGDCE, PGD, AutoAttack, CarliniWagner
from external.networks import Wrapped, digits, trained

Output = namedtuple("Output", "loss logits")


@dataclass
class Answer:
    logits: Tensor


WRAP = "wrap it in a network whose forward returns the logits alone"
ODD: list[tuple[Callable[[Tensor], Any], str]] = [
    (lambda z: (z, z), f"a tuple of 2 (Tensor, Tensor): {WRAP}, as model(x)[0]"),
    (lambda z: (z.sum(), z), "as model(x)[1]"),
    (lambda z: [z], "a list of 1 (Tensor)"),
    (lambda z: {"loss": z.sum(), "logits": z}, f"a dict with loss, logits: {WRAP}, as model(x)['logits']"),
    (lambda z: Output(z.sum(), z), "as model(x).logits"),
    (Answer, f"a Answer: {WRAP}, as model(x).logits"),
    (lambda z: None, "a NoneType"),
]  # fmt: skip


def images(n: int = 20) -> tuple[Tensor, Tensor]:
    return digits().batch(torch.arange(n))


@pytest.mark.parametrize(("after", "said"), ODD)
def test_a_network_that_returns_no_tensor_is_told_how_to(after: Callable[[Tensor], Any], said: str) -> None:
    x, y = images()
    model = Wrapped(after=after)
    uses: list[Callable[[], Any]] = [
        lambda: PGD(eps=0.1)(model, x, y),
        lambda: CarliniWagner(eps=0.1)(model.forward, x, y),
        lambda: AutoAttack(eps=0.1)(model, x, y),
        lambda: advdpnp.evaluate(model, x, y),
        lambda: advdpnp.predict(model, x),
    ]
    for use in uses:
        with pytest.raises(ValueError) as refused:
            use()
        assert "the model must return logits (B, C); got " in str(refused.value)
        assert said in str(refused.value) and "\n" not in str(refused.value)


def test_what_rounding_put_outside_is_cut_and_what_is_further_is_said() -> None:
    x, y = images()
    model = trained()
    over = x + 1e-7 * (x == 1) - 5e-7 * (x == 0)
    assert over.max() > 1 and over.min() < 0
    for attack in (PGD(eps=0.1), APGDCE(eps=0.1, steps=3)):
        found = attack(model, over, y)
        assert torch.equal(found, attack(model, x, y)) and found.max() <= 1 and found.min() >= 0
    one, other = (advdpnp.evaluate(model, values, y, suite="pgd20", eps=0.1) for values in (over, x))
    assert one["attacks"][0]["verdicts"] == other["attacks"][0]["verdicts"]
    for use in (lambda z: PGD(eps=0.1)(model, z, y), lambda z: advdpnp.evaluate(model, z, y)):
        with pytest.raises(ValueError, match=r"got values from 0 to 1\.00001\. That is 1e-05 too far"):
            use(x * 1.00001)
        with pytest.raises(ValueError, match="Divide bytes by 255"):
            use(x * 255)


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (lambda x: x.numpy(), lambda y: y, "images must be a tensor of torch; got a numpy.ndarray"),
        (lambda x: x, lambda y: y.numpy(), "labels must be a tensor of torch; got a numpy.ndarray"),
        (lambda x: x, lambda y: y.tolist(), "got a list: give torch.as_tensor(labels)"),
        (lambda x: x, lambda y: y.int(), "got (20,) torch.int32: give labels.long()"),
        (lambda x: x, lambda y: y.float(), "got (20,) torch.float32"),
    ],
)  # fmt: skip
def test_arrays_that_are_no_tensors_are_named_as_what_they_are(x: Any, y: Any, said: str) -> None:
    images_, labels = images()
    with pytest.raises(ValueError) as refused:
        PGD(eps=0.1)(trained(), x(images_), y(labels))
    assert said in str(refused.value)


class Constant(nn.Module):
    """Always class 0, with a gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([1 + 0 * x.flatten(1)[:, :1], 0.01 * x.flatten(1)[:, 20:29]], dim=1)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("right", [True, False])
def test_few_images_say_nothing_about_chance(n: int, right: bool) -> None:
    x, _ = images(n)
    labels = torch.zeros(n, dtype=torch.int64) if right else torch.ones(n, dtype=torch.int64)
    assert advdpnp.evaluate(Constant().eval(), x, labels, suite="clean")["warnings"] == []


@pytest.mark.parametrize(
    ("right", "n", "chance", "near"),
    [
        # Wilson's interval with z = 3, by hand: of 0 of n it is [0, 9 / (n + 9)], of n of n [n / (n + 9), 1].
        (1, 1, 0.1, False),
        (0, 1, 0.1, False),
        (0, 7, 0.1, False),
        (0, 8, 0.1, True),
        (13, 128, 0.1, True),
        (40, 128, 0.1, False),
        (128, 128, 0.1, False),
        (64, 128, 0.5, True),
        (0, 128, 0.01, True),
    ],
)
def test_near_chance_is_what_the_interval_says(right: int, n: int, chance: float, near: bool) -> None:
    from advdpnp.evaluation.model_checks import is_near_chance

    assert is_near_chance(right, n, chance) == near
    # 9 / (n + 9) is below (1 + 0.1) / 2 from n = 8 on.
    assert (9 / (7 + 9) < 0.55, 9 / (8 + 9) < 0.55) == (False, True)
