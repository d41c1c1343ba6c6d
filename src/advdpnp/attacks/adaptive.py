"""Adaptive attacks: projected ascents on what a network was trained with, instead of on the cross-entropy.

The objective is handed in, so an attack knows neither the class of the network nor its defense.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from torch import Tensor

from advdpnp.attacks.apgd import AutoPGD
from advdpnp.attacks.apgd_step import APGDState
from advdpnp.attacks.attack import Attack, Logits, Objective, attack_call, check_attack
from advdpnp.attacks.l1_variants import l1_ball
from advdpnp.attacks.monitored_model import monitored_objective
from advdpnp.attacks.pgd import budget_of, settle_step, strongest_restart
from advdpnp.attacks.projected_ascent import Tensors
from advdpnp.attacks.stepwise import ChunkedModel, LossGradient
from advdpnp.noise import Noise
from advdpnp.ranges import Count, NonNegative
from advdpnp.threat import Norm, ThreatModel


@dataclass(frozen=True, kw_only=True)
class AdaptivePGD:
    """PGD on the objective of the network's own defense (Adv-DPNP's Table 8 with its Eq. 7; Carlini et al. 2019).

    Args:
        objective: what is maximized. The evaluation of a run fills in that of its defense; elsewhere it must be given,
            as `Objective("adv-dpnp", AdvDPNP().objective)`.
        eps: radius in the units of the norm.
        norm: "linf", "l2", or "l1" with steps along the steepest coordinate, as PGD there.
        steps: iterations.
        step_size: length of a step; 0 stands for 2.5 eps / steps.
        restarts: ascents from different starts; the widest misclassification of each image is kept.
        random_start: start at a random point of the ball, else at the image.
    """

    name: ClassVar[str] = "adaptive-pgd"
    # The clean images go through the network too, and where the step has led is asked for once more.
    cost: ClassVar[float] = 1.3

    objective: Objective | None = None
    eps: NonNegative = 8 / 255
    norm: Norm = "linf"
    steps: Count = 20
    step_size: NonNegative = 0.0
    restarts: Count = 1
    random_start: bool = True

    def __post_init__(self) -> None:
        check_attack(self)
        settle_step(self, 2.5 * self.eps / self.steps)
        budget_of(self)

    @property
    def threat(self) -> ThreatModel:
        """The ball, with the steps of this attack."""
        return l1_ball(self.eps, "coordinate") if self.norm == "l1" else ThreatModel(self.norm, self.eps)

    @attack_call
    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        objective = objective_of(self)
        forward = partial(_at, logits_fn, objective, x, y)
        return strongest_restart(self, logits_fn, as_it_is, x, y, noise, forward=forward)


@dataclass(frozen=True, kw_only=True)
class AdaptiveAPGD(AutoPGD):
    """Auto-PGD on the objective of the network's own defense.

    Args:
        objective: as of `AdaptivePGD`.
        eps, norm, steps, restarts, rho, multi_eps: as of `APGDCE`.
        target: None; the objective of a defense aims at no class.
    """

    name: ClassVar[str] = "adaptive-apgd"
    cost: ClassVar[float] = 1.7

    objective: Objective | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target is not None:
            raise ValueError(f"{self.name} aims at no class: leave target out, or choose an attack that has one")

    def _answer(self, network: ChunkedModel, points: Tensor, state: APGDState) -> LossGradient:
        return network.objective_gradient(points, objective_of(self).function, state.x, state.y)


def objective_of(attack: Attack) -> Objective:
    """What an adaptive attack maximizes; ValueError where that is not known."""
    objective: Objective | None = getattr(attack, "objective", None)
    if objective is None:
        raise ValueError(
            f"{attack.name} maximizes the objective that the network was trained with, which a run's folder says and "
            f"a network alone does not: evaluate a run, or give {type(attack).__name__}(objective=Objective(name, "
            "function)) in Python"
        )
    return objective


def check_objective(attack: Attack) -> None:
    """Raise ValueError on an adaptive attack that does not know what to maximize."""
    if isinstance(attack, AdaptivePGD | AdaptiveAPGD):
        objective_of(attack)


def with_objective(attack: Attack, objective: Objective) -> Attack:
    """An adaptive attack that does not say what it maximizes, with this; others as they are."""
    if isinstance(attack, AdaptivePGD | AdaptiveAPGD) and attack.objective is None:
        return replace(attack, objective=objective)
    return attack


def as_it_is(output: Tensor, reference: Tensors, row: Tensors) -> Tensor:
    """Ascent loss of a forward that is the loss itself."""
    return output


def _at(logits_fn: Logits, objective: Objective, x: Tensor, y: Tensor, x_adv: Tensor) -> Tensor:
    return monitored_objective(logits_fn, objective.function, x, x_adv, y)
