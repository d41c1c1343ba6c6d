"""What an attack does where the network answers no numbers."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import APGDCE, APGDT, FABT, FGSM, PGD, Attack, AutoAttack, CarliniWagner, Square
from advdpnp.attacks.apgd import dlr, targeted_dlr
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.attacks.stepwise import ChunkedModel
from advdpnp.losses import has_answer, is_right, lead
from attacks.broken import Holes, NoGradient, off_grid
from attacks.linear import LinearClassifier
from attacks.robust import digits

GRADIENT: list[Attack] = [
    FGSM(eps=0.05),
    PGD(eps=0.05, steps=3),
    PGD(eps=0.5, norm="l2", steps=3, restarts=2),
    CarliniWagner(eps=0.05, steps=3),
    APGDCE(eps=0.05, steps=4),
    APGDCE(eps=0.5, norm="l2", steps=4),
    APGDCE(eps=1.0, norm="l1", steps=4),
    APGDT(eps=0.05, steps=4, targets=2),
    FABT(eps=0.05, steps=3, targets=2),
    FABT(eps=0.5, norm="l2", steps=3, targets=2),
]
QUERIES: list[Attack] = [Square(eps=0.05, steps=5), Square(eps=0.5, norm="l2", steps=5)]
N = 4


def name(attack: Attack) -> str:
    return f"{attack.name}-{attack.norm}"


def strong() -> tuple[nn.Module, Tensor, Tensor]:
    """A linear network that withstands every attack here, and the images at which it is right."""
    x = torch.full((N, 1, 4, 4), 0.5)
    weight = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    return LinearClassifier(0.01 * weight, torch.tensor([9.0, 0.0, 0.0])).eval(), x, torch.zeros(N, dtype=torch.int64)


class Second:
    """True for the second of the images, wherever it stands in a batch: it is marked in the last pixel."""

    def __init__(self, x: Tensor) -> None:
        x[1, 0, -1, -1] = 0.9

    def __call__(self, x: Tensor) -> Tensor:
        return x[:, 0, -1, -1] > 0.75


def test_an_answer_is_a_highest_logit_that_is_a_number() -> None:
    nan, inf = torch.nan, torch.inf
    logits = torch.tensor(
        [[1.0, 0, 0], [1, -inf, -inf], [1, nan, 0], [nan, 0, 0], [inf, 0, 0], [1, inf, 0], [-inf] * 3]
    )
    assert has_answer(logits).tolist() == [True, True] + [False] * 5
    assert is_right(logits, torch.zeros(7, dtype=torch.int64)).tolist() == [True, True] + [False] * 5
    assert is_right(logits, torch.ones(7, dtype=torch.int64)).tolist() == [False] * 7


def test_a_gradient_that_is_not_finite_becomes_0_and_its_image_is_noted_wherever_it_stands() -> None:
    model, x, _ = strong()
    watched = MonitoredModel(NoGradient(model, Second(x)), N, x.device)
    asked = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(watched(asked)[:, 0].sum(), asked)
    assert gradient.flatten(1).any(dim=1).tolist() == [True, False, True, True] and gradient.isfinite().all()
    assert watched.nonfinite.tolist() == [False, True, False, False]

    moved = MonitoredModel(NoGradient(model, Second(x)), N, x.device)
    rows = torch.tensor([3, 1, 1, 0])
    with moved.about(rows), moved.about(torch.tensor([0, 2])):
        asked = x[rows[[0, 2]]].requires_grad_()
        torch.autograd.grad(moved(asked)[:, 0].sum(), asked)
    assert moved.nonfinite.tolist() == [False, True, False, False]


def test_a_network_that_is_asked_in_parts_notes_the_same_images() -> None:
    model, x, y = strong()
    watched = MonitoredModel(NoGradient(model, Second(x)), N, x.device)
    answer = ChunkedModel(watched, chunk=1).gradient(x, lead, y, y + 1)
    assert watched.nonfinite.tolist() == [False, True, False, False]
    assert answer.gradient.flatten(1).any(dim=1).tolist() == [True, False, True, True]


def test_an_attack_that_repacks_its_rows_in_secret_leaves_no_image_out() -> None:
    model, x, _ = strong()
    watched = MonitoredModel(NoGradient(model, Second(x)), N, x.device)
    asked = x[:2].clone().requires_grad_()
    torch.autograd.grad(watched(asked)[:, 0].sum(), asked)
    assert watched.nonfinite.all()


@pytest.mark.parametrize("attack", GRADIENT, ids=name)
def test_an_attack_called_directly_says_of_how_many_images_a_gradient_was_not_finite(attack: Attack) -> None:
    model, x, y = strong()
    with pytest.raises(ValueError, match="about 1 of 4 images are not finite"):
        attack(NoGradient(model, Second(x)), x, y)


# FAB walks to corners of the box, which are on the grid.
@pytest.mark.parametrize("attack", [*GRADIENT[:-2], *QUERIES], ids=name)
def test_an_attack_called_directly_says_of_how_many_images_logits_were_not_finite(attack: Attack) -> None:
    model, x, y = strong()
    with pytest.raises(ValueError, match="about 4 of 4 images are not finite"):
        attack(Holes(model, off_grid), x, y)


def test_autoattack_called_directly_counts_the_images_of_all_searches() -> None:
    class Short(AutoAttack):
        @property
        def attacks_to_run(self) -> tuple[Any, ...]:
            return APGDCE(eps=0.05, steps=2), FABT(eps=0.05, steps=2, targets=1)

    model, x, y = strong()
    with pytest.raises(ValueError, match="about 1 of 4 images are not finite"):
        Short(eps=0.05)(NoGradient(model, Second(x)), x, y)


@pytest.mark.parametrize("attack", GRADIENT, ids=name)
def test_without_a_gradient_an_iterate_stays_a_picture_in_the_ball_and_other_rows_are_not_touched(
    attack: Attack,
) -> None:
    model, x, y = strong()
    watched = MonitoredModel(NoGradient(model, Second(x)), N, x.device)
    found, expected = attack(watched, x, y), attack(MonitoredModel(model, N, x.device), x, y)
    assert watched.nonfinite.tolist() == [False, True, False, False]
    others = [0, 2, 3]
    assert torch.equal(found[others], expected[others])
    assert found.isfinite().all() and found.amin() >= 0 and found.amax() <= 1
    order = {"linf": torch.inf, "l2": 2.0, "l1": 1.0}[attack.norm]
    assert torch.linalg.vector_norm((found - x).flatten(1), ord=order, dim=1).max() <= attack.eps * (1 + 1e-4)


def started_high(x: Tensor) -> Tensor:
    return x[:, 0, 0, 0] > 0.5


def vulnerable() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A linear network blind to the first pixel, which is 0.5 in all images; and which images fall at linf 0.1.

    A random start moves the first pixel up or down, and no step moves it again. An image falls if its margin is less
    than eps times the length of the weights in l1.
    """
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(40, 1, 4, 4, generator=generator) * 0.6 + 0.2
    x[:, 0, 0, 0] = 0.5
    w = torch.randn(16, generator=generator)
    w[0] = 0
    model = LinearClassifier(torch.stack([torch.zeros(16), w]), torch.tensor([0.0, -0.5 * w.sum().item()])).eval()
    scores = (x.flatten(1) - 0.5) @ w
    return model, x, (scores > 0).long(), scores.abs() < 0.1 * w.abs().sum()


@pytest.mark.parametrize("loss", [PGD, CarliniWagner])
def test_a_first_restart_without_a_gradient_does_not_block_the_later_ones(loss: Callable[..., Attack]) -> None:
    model, x, y, falls = vulnerable()
    broken_half = NoGradient(model, started_high)

    def found(restarts: int) -> tuple[Tensor, Tensor]:
        attack = loss(eps=0.1, steps=10, step_size=0.05, random_start=True, restarts=restarts)
        watched = MonitoredModel(broken_half, len(x), x.device)
        x_adv = attack(watched, x, y)
        return ~is_right(model(x_adv), y), watched.nonfinite

    fell, nonfinite = found(1)
    assert 0 < nonfinite.sum() < len(x)
    assert torch.equal(fell[~nonfinite], falls[~nonfinite])
    # That all ten starts of one of the images that can fall are blind has a probability of 40 / 1024.
    fell, nonfinite = found(10)
    assert nonfinite.float().mean() > 0.9 and torch.equal(fell, falls) and 0 < falls.sum() < len(x)


def test_a_number_is_better_evidence_than_none() -> None:
    model, x, y, falls = vulnerable()
    holes = Holes(model, started_high)
    watched = MonitoredModel(holes, len(x), x.device)
    x_adv = PGD(eps=0.1, steps=10, step_size=0.05, restarts=10)(watched, x, y)
    answered = has_answer(holes(x_adv))
    # Where a misclassification was found it is given, else a point without an answer.
    assert torch.equal(answered, falls)


def masked(model: Callable[[Tensor], Tensor], value: float) -> Callable[[Tensor], Tensor]:
    """A network with four more classes, of a constant logit."""
    return lambda x: torch.nn.functional.pad(model(x), (0, 4), value=value)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_classes_of_probability_0_are_legal_and_lead_nowhere(classes: int) -> None:
    model, x, y = digits(12, classes)
    attacks = (FGSM(eps=0.1), PGD(eps=0.1, steps=4), CarliniWagner(eps=0.1, steps=4), APGDCE(eps=0.1, steps=5),
               APGDT(eps=0.1, steps=5), FABT(eps=0.1, steps=4, targets=5), Square(eps=0.1, steps=20))  # fmt: skip
    for attack in attacks:
        x_adv = attack(masked(model, -torch.inf), x, y)
        expected = attack(masked(model, -1e4), x, y)
        if attack.name != "apgd-t":
            assert torch.equal(model(x_adv).argmax(1), model(expected).argmax(1)), attack.name
        assert x_adv.isfinite().all()


def test_ratios_of_logits_have_finite_values_and_gradients_beside_classes_of_probability_0() -> None:
    real = torch.tensor([[1.0, 3.0, 2.0, 0.5], [2.0, 1.0, -1.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([1, 0])
    for keep in (2, 3, 4):
        logits = torch.nn.functional.pad(real[:, :keep], (0, 4), value=-torch.inf).requires_grad_()
        few = real[:, :keep].clone().requires_grad_()
        pairs = ((dlr(logits, y), dlr(few, y)), (targeted_dlr(logits, y, 1 - y), targeted_dlr(few, y, 1 - y)))
        for found, expected in pairs:
            assert torch.equal(found, expected)
            one, other = (torch.autograd.grad(v.sum(), of)[0] for v, of in ((found, logits), (expected, few)))
            assert torch.equal(one[:, :keep], other) and not one[:, keep:].any()
    unreachable = torch.full((2,), 5)
    (gradient,) = torch.autograd.grad(targeted_dlr(logits, y, unreachable).sum(), logits)
    assert not gradient.any()


ANY = [PGD(eps=0.1, steps=2), APGDCE(eps=0.1, steps=2), FABT(eps=0.1, steps=2, targets=1), Square(eps=0.1, steps=3)]
MODES = {
    "no_grad": torch.no_grad,
    "inference": torch.inference_mode,
    "gradients of the images": torch.enable_grad,
}


@pytest.mark.parametrize("attack", ANY, ids=name)
@pytest.mark.parametrize("mode", MODES)
def test_an_attack_gives_the_same_images_in_any_mode_and_no_graph(mode: str, attack: Attack) -> None:
    model, x, y = digits(6)
    expected = attack(model, x, y)
    with MODES[mode]():
        given = x.clone().requires_grad_(mode != "inference")
        # In inference mode these are tensors that can be in no graph.
        found = attack(model, given, y.clone())
        assert torch.equal(attack(digits(6)[0], given, y.clone()), found)
    assert torch.equal(found, expected) and not found.requires_grad and found.grad_fn is None


DEFAULTS: list[Attack] = [
    *GRADIENT,
    *QUERIES,
    APGDT(eps=1.0, norm="l1", steps=6, targets=1, multi_eps=True),
    FABT(eps=0.5, norm="l2", steps=2, targets=1, restarts=2),
]


@pytest.mark.parametrize("attack", DEFAULTS, ids=name)
def test_what_torch_takes_floats_for_changes_no_image_and_no_later_call(attack: Attack) -> None:
    sys.modules["advdpnp.attacks.square_moves"]._bumps.cache_clear()
    model, x, y = digits(4)
    try:
        torch.set_default_dtype(torch.float64)
        first = attack(model, x, y)
    finally:
        torch.set_default_dtype(torch.float32)
    assert first.dtype == torch.float32 and torch.equal(first, attack(model, x, y))
