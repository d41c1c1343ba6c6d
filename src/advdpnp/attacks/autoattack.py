"""AutoAttack: searches of different kinds, one after the other, each on the images that withstood those before it."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from advdpnp.attacks.apgd import APGDCE, APGDT
from advdpnp.attacks.attack import Attack, Logits, attack_call, check_attack
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.monitored_model import about
from advdpnp.attacks.square import Square
from advdpnp.attacks.stepwise import ChunkedModel, StepwiseAttack, attack_batch
from advdpnp.losses import is_right
from advdpnp.noise import IndexNoise, Noise
from advdpnp.ranges import NonNegative
from advdpnp.threat import Norm


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """Standard AutoAttack (Croce and Hein 2020): APGD-CE, APGD-T, FAB-T, Square, with the authors' budgets.

    Targets are the min(9, C - 1) likeliest other classes; where the targeted DLR loss is undefined (C < 4) APGD-T
    maximizes a margin.

    Args:
        eps: radius in the units of the norm.
        norm: "linf" or "l2".
    """

    name: ClassVar[str] = "autoattack"
    steps: ClassVar[None] = None
    step_size: ClassVar[None] = None
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = True

    eps: NonNegative = 8 / 255
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        if self.norm == "l1":
            raise ValueError(f"{self.name} is for linf and l2; got l1: there use apgd-t:norm=l1,multi_eps=true")
        check_attack(self)
        self.parts()

    def parts(self) -> tuple[StepwiseAttack[Any], ...]:
        """The searches, in their order."""
        how: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        return APGDCE(**how), APGDT(**how), FABT(**how), Square(**how)

    @attack_call
    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        return cascade(self.parts(), logits_fn, x, y, noise)


@dataclass(frozen=True, kw_only=True)
class QuickAutoAttack(AutoAttack):
    """A first look at less than a tenth of the cost: APGD-CE, APGD-T (50 steps, 3 targets) and Square (250 queries).

    It is no AutoAttack number, and its name says so in every result: accuracies under it are upper bounds of those
    under standard AutoAttack.
    """

    name: ClassVar[str] = "autoattack-quick"

    def parts(self) -> tuple[StepwiseAttack[Any], ...]:
        """The searches, in their order."""
        how: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        return APGDCE(**how, steps=50), APGDT(**how, steps=50, targets=3), Square(**how, steps=250)


def stepwise_attacks(attack: Attack) -> tuple[StepwiseAttack[Any], ...]:
    """The searches that an attack is made of; none where it is no search, as PGD."""
    if isinstance(attack, AutoAttack):
        return attack.parts()
    return (cast(StepwiseAttack[Any], attack),) if hasattr(attack, "step") else ()


def cascade(
    parts: tuple[StepwiseAttack[Any], ...], logits_fn: Logits, x: Tensor, y: Tensor, noise: Noise | None = None
) -> Tensor:
    """Run searches on one batch, each on the images that are still classified correctly; arguments as an attack's."""
    noise = noise or IndexNoise(0, torch.arange(len(x), device=x.device))
    best, robust = x.clone(), is_right(ChunkedModel(logits_fn).logits(x), y)
    for stage in parts:
        rows = robust.nonzero().squeeze(1)
        if len(rows) == 0:
            break
        with about(logits_fn, rows):
            found = attack_batch(stage, logits_fn, x[rows], y[rows], noise.anew().rows(rows))
        fell = (found != x[rows]).flatten(1).any(dim=1)
        best[rows[fell]] = found[fell]
        robust[rows[fell]] = False
    return best
