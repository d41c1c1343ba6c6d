"""AutoAttack: four attacks, one after the other, each on the images that are still classified correctly."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from advdpnp.attacks.apgd import APGDCE, APGDDLR, APGDT
from advdpnp.attacks.attack import check_attack
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.margin_pgd import MarginPGD
from advdpnp.attacks.square import Square
from advdpnp.attacks.stepwise import SequentialAttack, StepwiseAttack
from advdpnp.ranges import NonNegative
from advdpnp.threat import Norm


@dataclass(frozen=True, kw_only=True)
class AutoAttack(SequentialAttack):
    """Standard AutoAttack (Croce and Hein 2020): APGD-CE, APGD-T, FAB-T, Square, with the authors' budgets.

    Targets are the min(9, C - 1) likeliest other classes; where the targeted DLR loss is undefined (C < 4) APGD-T
    maximizes a margin. In l1 (Croce and Hein 2021) both APGD begin at larger radii, APGD-CE has five restarts, and
    APGD-T five targets.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
    """

    name: ClassVar[str] = "autoattack"
    steps: ClassVar[None] = None
    step_size: ClassVar[None] = None
    restarts: ClassVar[int] = 1
    random_start: ClassVar[bool] = True
    # All of its parts but APGD-CE.
    scale_free: ClassVar[bool] = True

    eps: NonNegative = 8 / 255
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        check_attack(self)

    @property
    def attacks_to_run(self) -> tuple[StepwiseAttack[Any], ...]:
        fields: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        ce, targeted = APGDCE(**fields), APGDT(**fields)
        if self.norm == "l1":
            ce, targeted = replace(ce, restarts=5, multi_eps=True), replace(targeted, targets=5, multi_eps=True)
        return ce, targeted, FABT(**fields), Square(**fields)


@dataclass(frozen=True, kw_only=True)
class QuickAutoAttack(AutoAttack):
    """A first look at less than a tenth of the cost: APGD-CE, APGD-T (50 steps, 3 targets) and Square (250 queries).

    It is no AutoAttack number, and its name says so in every result: accuracies under it are upper bounds of those
    under standard AutoAttack.
    """

    name: ClassVar[str] = "autoattack-quick"

    @property
    def attacks_to_run(self) -> tuple[StepwiseAttack[Any], ...]:
        fields: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        ascent = fields | {"steps": 50, "multi_eps": self.norm == "l1"}
        return APGDCE(**ascent), APGDT(**ascent, targets=3), Square(**fields, steps=250)


@dataclass(frozen=True, kw_only=True)
class AutoAttackPlus(AutoAttack):
    """One tier above AutoAttack: AutoAttack first, then attacks with restarts on the images that it leaves standing.

    They climb the margin of the logits and that of the probabilities (`MarginPGD`), in short ascents and in long ones,
    then AutoAttack's own losses from other starts, and search with squares again, for networks whose gradients lead
    nowhere. Results have the accuracy under AutoAttack alone beside that under all. It is not the version "plus" of
    the AutoAttack package, which has more restarts of AutoAttack's parts alone.
    """

    name: ClassVar[str] = "autoattack-plus"
    tiers: ClassVar[tuple[tuple[str, int], ...]] = (("autoattack", 4),)

    @property
    def attacks_to_run(self) -> tuple[StepwiseAttack[Any], ...]:
        fields: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        ascent = fields | {"multi_eps": self.norm == "l1"}
        return (
            *super().attacks_to_run,
            APGDDLR(**ascent, restarts=20),
            MarginPGD(**fields, targets=0, restarts=20),
            MarginPGD(**fields, targets=0, restarts=20, loss="probabilities"),
            MarginPGD(**fields, restarts=4),
            MarginPGD(**fields, restarts=4, loss="probabilities"),
            APGDT(**ascent, restarts=2),
            MarginPGD(**fields, targets=0, restarts=4, steps=500),
            # Not from 0.8, so that the first search is not AutoAttack's again.
            Square(**fields, restarts=4, p_init=0.3),
        )
