"""What every attack keeps, called by itself, whatever the network, the images and PyTorch's modes are."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import (
    APGDCE,
    APGDDLR,
    APGDT,
    ATTACKS,
    BIM,
    FABT,
    FGSM,
    MIFGSM,
    PGD,
    SLIDE,
    AdaptiveAPGD,
    AdaptivePGD,
    Attack,
    AutoAttack,
    CarliniWagner,
    CarliniWagnerL2,
    DeepFool,
    MarginPGD,
    MinEps,
    Objective,
    Square,
)
from advdpnp.attacks.square import _sides
from advdpnp.attacks.square_moves import _bumps
from advdpnp.attacks.stepwise import StepwiseAttack
from advdpnp.losses import cross_entropy
from advdpnp.threat import distance
from reference.batch_generator import BatchGeneratorNoise

SHAPE = (1, 8, 8)


@dataclass(frozen=True, kw_only=True)
class ShortAutoAttack(AutoAttack):
    @property
    def attacks_to_run(self) -> tuple[StepwiseAttack[Any], ...]:
        how: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        return APGDCE(**how, steps=4), FABT(**how, steps=2, targets=1), Square(**how, steps=4)


def squared_lead(model: Any, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """An objective of clean and attacked images."""
    logits = model(x_adv)
    return (logits - model(x)).square().sum(dim=1) + cross_entropy(logits, y)


SQUARED_LEAD = Objective("squared lead", squared_lead)
EVERY: list[Attack] = [
    FGSM(eps=0.1),
    FGSM(eps=0.8, norm="l2"),
    PGD(eps=0.1, steps=4),
    PGD(eps=0.8, norm="l2", steps=4, restarts=2),
    CarliniWagner(eps=0.1, steps=4),
    CarliniWagner(eps=0.8, norm="l2", steps=4),
    APGDCE(eps=0.1, steps=6),
    APGDDLR(eps=0.8, norm="l2", steps=6),
    APGDT(eps=4.0, norm="l1", steps=6, targets=2),
    APGDCE(eps=4.0, norm="l1", steps=9, multi_eps=True),
    FABT(eps=0.1, steps=4, targets=2),
    FABT(eps=0.8, norm="l2", steps=4, targets=2, restarts=2),
    Square(eps=0.1, steps=12),
    Square(eps=0.8, norm="l2", steps=12),
    MinEps(eps=0.1, boundary_steps=3, steps=2, bisections=3),
    MinEps(eps=0.8, norm="l2", boundary_steps=3, steps=2, bisections=3),
    ShortAutoAttack(eps=0.02),
    PGD(eps=4.0, norm="l1", steps=4, ascent="dense"),
    SLIDE(eps=4.0, steps=4),
    FABT(eps=4.0, norm="l1", steps=4, targets=2),
    Square(eps=4.0, norm="l1", steps=12),
    MinEps(eps=4.0, norm="l1", boundary_steps=3, steps=2, bisections=3),
    MarginPGD(eps=0.1, steps=3, targets=1),
    MarginPGD(eps=0.8, norm="l2", steps=3, targets=1, restarts=2, loss="probabilities"),
    AdaptivePGD(eps=0.1, steps=4, objective=SQUARED_LEAD),
    AdaptivePGD(eps=0.8, norm="l2", steps=4, restarts=2, objective=SQUARED_LEAD),
    AdaptiveAPGD(eps=0.1, steps=6, objective=SQUARED_LEAD),
    AdaptiveAPGD(eps=4.0, norm="l1", steps=6, objective=SQUARED_LEAD),
    BIM(eps=0.8, norm="l2", steps=4),
    MIFGSM(eps=0.1, steps=4),
    MIFGSM(eps=0.8, norm="l2", steps=4),
    CarliniWagnerL2(eps=0.8, steps=6, bisections=4, learning_rate=0.05, first_weight=1.0),
    DeepFool(eps=0.1, steps=4),
    DeepFool(eps=0.8, norm="l2", steps=4),
]
TIERS = {"autoattack-quick", "autoattack-plus"}
# A new attack is held to all of this without a line here; the other tiers are AutoAttack with other budgets.
LISTED = {attack.name for attack in EVERY} | TIERS
EVERY += [kind(eps=0.1) for name, kind in ATTACKS.items() if name not in LISTED]
EACH = pytest.mark.parametrize("attack", EVERY, ids=[f"{a.name}-{a.norm}-{i}" for i, a in enumerate(EVERY)])


@pytest.fixture(autouse=True)
def modes_as_they_were() -> Iterator[None]:
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


def network(shape: tuple[int, int, int] = SHAPE) -> nn.Module:
    """Uncertain enough that attacks succeed on some images and not on others."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        pool = nn.AdaptiveAvgPool2d((min(4, shape[1]), min(4, shape[2])))
        width = 4 * min(4, shape[1]) * min(4, shape[2])
        conv = nn.Conv2d(shape[0], 4, 3, padding=1, dtype=torch.float32)
        model = nn.Sequential(conv, nn.BatchNorm2d(4), nn.ReLU(), pool, nn.Flatten(), nn.Linear(width, 4))
    model[1].running_mean = 0.1 * torch.randn(4, generator=generator, dtype=torch.float32)
    return model.float().eval()


def images(n: int = 5, shape: tuple[int, int, int] = SHAPE) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, *shape, generator=generator, dtype=torch.float32)
    with torch.no_grad():
        return x, network(shape)(x).argmax(dim=1)


def assert_attacked(attack: Attack, x: Tensor, x_adv: Tensor) -> None:
    """Of the documented dtype, without history, in ball and box."""
    assert x_adv.dtype == torch.promote_types(x.dtype, torch.float32) and x_adv.shape == x.shape
    assert not x_adv.requires_grad and x_adv.grad_fn is None and not x_adv.is_inference()
    # NaN is not in the box.
    assert ((x_adv >= 0) & (x_adv <= 1)).all()
    assert (distance(x_adv, x.to(x_adv.dtype), attack.norm) <= attack.eps * (1 + 1e-5) + 1e-6).all()


def test_every_attack_is_here_under_its_own_name() -> None:
    assert {attack.name for attack in EVERY} >= set(ATTACKS) - TIERS
    assert all(kind.name == name for name, kind in ATTACKS.items())


@EACH
def test_images_that_want_a_gradient_are_attacked_as_those_that_do_not(attack: Attack) -> None:
    x, y = images()
    plain, wanting = attack(network(), x, y), x.clone().requires_grad_()
    found = attack(network(), wanting * 1, y)
    assert_attacked(attack, x, found)
    assert torch.equal(found, plain) and torch.equal(attack(network(), wanting, y), plain)
    assert wanting.grad is None


@EACH
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_gradient_modes_around_the_call_change_nothing(attack: Attack, mode: Any) -> None:
    x, y = images()
    plain = attack(network(), x, y)
    model = network()
    with mode():
        # Images and labels of an inference mode have no place in a graph.
        found = attack(model, x.clone(), y.clone())
    assert_attacked(attack, x, found)
    assert torch.equal(found, plain)


@EACH
@pytest.mark.parametrize("own", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("alike", [True, False])
def test_networks_and_images_of_any_precision(attack: Attack, own: torch.dtype, alike: bool) -> None:
    x, _ = images()
    x = x.to(own) if alike else x
    model = network().to(own)
    with torch.no_grad():
        y = model(x.to(own)).argmax(dim=1)
    assert_attacked(attack, x, attack(model, x, y))


@EACH
@pytest.mark.parametrize("own", [torch.bfloat16, torch.float64])
def test_a_network_of_another_precision_is_attacked_as_one_that_casts_by_itself(
    attack: Attack, own: torch.dtype
) -> None:
    x, y = images()
    model = network().to(own)
    found = attack(model, x, y)
    assert torch.equal(found, attack(lambda x: model(x.to(own)), x, y))
    # Not in its own precision: a ball around an image of 8 bits of mantissa has few points.
    assert not torch.equal(found.to(torch.bfloat16).float(), found)


@EACH
def test_autocast_reaches_the_network_and_nothing_else(attack: Attack) -> None:
    x, y = images()
    model = network()

    def low(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = model(x)
        assert logits.dtype == torch.bfloat16
        return logits

    with torch.autocast("cpu", torch.bfloat16):
        found = attack(model, x, y)
    assert_attacked(attack, x, found)
    assert torch.equal(found, attack(low, x, y))


@EACH
def test_the_default_dtype_changes_nothing_now_or_later(attack: Attack) -> None:
    x, y = images()
    model = network()
    plain = attack(model, x, y)
    # What is kept between calls is made anew under the other default.
    _bumps.cache_clear()
    _sides.cache_clear()
    torch.set_default_dtype(torch.float64)
    assert torch.equal(attack(model, x, y), plain)
    torch.set_default_dtype(torch.float32)
    assert torch.equal(attack(model, x, y), plain)


@pytest.mark.parametrize("draw", ["uniform", "normal"])
def test_replayed_draws_do_not_depend_on_the_default_dtype(draw: str) -> None:
    plain = getattr(BatchGeneratorNoise(0, 3), draw)("fab-0", (2,))
    torch.set_default_dtype(torch.float64)
    found = getattr(BatchGeneratorNoise(0, 3), draw)("fab-0", (2,))
    assert found.dtype == torch.float32 and torch.equal(found, plain)


@EACH
@pytest.mark.parametrize("shape", [(1, 100, 19), (1, 64, 1), (1, 1, 64), (3, 2, 2), (1, 1, 1)])
def test_images_of_any_shape(attack: Attack, shape: tuple[int, int, int]) -> None:
    x, y = images(3, shape)
    # Of a single pixel the box is no wider than 1.
    small: Attack = replace(attack, eps=min(attack.eps, 1.0))  # type: ignore[type-var]
    assert_attacked(small, x, small(network(shape), x, y))


@EACH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_images_give_no_images(attack: Attack, dtype: torch.dtype) -> None:
    x = torch.empty(0, *SHAPE, dtype=dtype)
    assert_attacked(attack, x, attack(network(), x, torch.empty(0, dtype=torch.int64)))
    with pytest.raises(ValueError, match=r"labels must be \(0,\) int64"):
        attack(network(), x, torch.zeros(1, dtype=torch.int64))


class Impolite(nn.Module):
    """Normalizes its input in place."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x.mul_(2).sub_(1))  # type: ignore[no-any-return]


class Polite(Impolite):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.clone())


@EACH
def test_a_network_that_writes_to_its_input_changes_no_images(attack: Attack) -> None:
    x, _ = images()
    before = x.clone()
    with torch.no_grad():
        y = Polite(network())(x).argmax(dim=1)
    found = attack(Impolite(network()).eval(), x, y)
    assert torch.equal(x, before)
    assert torch.equal(found, attack(Polite(network()).eval(), x, y))


@EACH
@pytest.mark.parametrize("method", [False, True])
def test_a_part_in_training_mode_is_refused_by_name_and_its_statistics_stay(attack: Attack, method: bool) -> None:
    x, y = images()
    model = network()
    model[1].train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"training mode \(1\).*call \.eval\(\)"):
        attack(model.forward if method else model, x, y)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


DIAMETERS = {"linf": 1.0, "l2": 8.0, "l1": 64.0}
BYTES: list[Any] = [
    (attack, norm) for attack in ATTACKS.values() for norm in get_args(get_type_hints(attack)["norm"]) if norm != "linf"
]


@pytest.mark.parametrize("kind, norm", BYTES)
def test_a_radius_wider_than_the_box_of_the_images_is_refused(kind: Any, norm: str) -> None:
    x, y = images()
    with pytest.raises(ValueError, match=rf"{norm} eps must be at most {DIAMETERS[norm]}, .* Did you mean 128 / 255\?"):
        kind(eps=128, norm=norm)(network(), x, y)


@pytest.mark.parametrize("kind", [kind for kind in ATTACKS.values() if kind().norm == "linf"])
def test_a_radius_or_step_in_bytes_is_refused_in_linf(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"eps must be in \[0, 1\].* Did you mean 8 / 255\?"):
        kind(eps=8)
    if kind in (PGD, BIM, MIFGSM, CarliniWagner):
        with pytest.raises(ValueError, match=r"step_size must be in \[0, 1\].* Did you mean 2 / 255\?"):
            kind(step_size=2)
