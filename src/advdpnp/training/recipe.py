"""A recipe: everything about a training run that is not the defense, the data or the network."""

from dataclasses import dataclass
from typing import Literal, get_args

from advdpnp.attacks.ascent import Budget, Start
from advdpnp.data import Augmentation
from advdpnp.threat import Norm, ThreatModel

Engine = Literal["eager", "folded", "compiled", "graph", "step"]


@dataclass(frozen=True)
class InnerAttack:
    """The inner maximization of adversarial training.

    Args:
        eps: radius of the ball.
        step_size: length of a step.
        steps: iterations.
        start: "none", "uniform" or "normal", as in `Budget`.
        norm: "linf" or "l2".
        mode: the network's BatchNorm mode while crafting, "eval" or "train".
    """

    eps: float
    step_size: float
    steps: int = 10
    start: Start = "uniform"
    norm: Norm = "linf"
    mode: Literal["eval", "train"] = "eval"

    def __post_init__(self) -> None:
        self.budget()
        if self.mode not in ("eval", "train"):
            raise ValueError(f"recipe.attack.mode must be eval or train; got {self.mode!r}")

    def budget(self) -> Budget:
        return Budget(ThreatModel(self.norm, self.eps), self.steps, self.step_size, self.start)


@dataclass(frozen=True)
class Recipe:
    """Optimization and protocol (Adv-DPNP, section 4; Bag of Tricks for AT, Pang et al. 2021).

    Args:
        name: "paper" (all images, no holdout, the last weights count) or "default" (a stratified part of the training
            images held out, which chooses the best weights; the test set never selects).
        attack: the inner maximization.
        augmentation: crop and flip.
        epochs: passes over the training images.
        batch_size: images per step; the last batch of an epoch may be smaller.
        lr: learning rate of SGD before the first milestone.
        milestones: fractions of the epochs at which the rate is divided by 10.
        momentum: of SGD.
        weight_decay: on all parameters, BatchNorm and biases included.
        holdout: training images held out for validation.
        train_images: how many of the rest are used, stratified; 0 stands for all.
        precision: of convolutions and linear maps, in attack and update: "fp32", "tf32" (on GPUs that have it) or
            "bf16". Losses, prototypes, the attack's iterate and the weights are fp32 always.
        engine: how a step is run; each does what the one before it does, and more. "eager": plain PyTorch, the
            reference. "folded": the attack on a copy with BatchNorm folded into the convolutions. "compiled": attack
            iteration and loss compiled. "graph": the whole attack one CUDA graph. "step": the
            whole step one CUDA graph.
    """

    name: Literal["paper", "default"]
    attack: InnerAttack
    augmentation: Augmentation
    epochs: int = 110
    batch_size: int = 128
    lr: float = 0.1
    milestones: tuple[float, ...] = (100 / 110, 105 / 110)
    momentum: float = 0.9
    weight_decay: float = 5e-4
    holdout: int = 0
    train_images: int = 0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    engine: Engine = "folded"

    def __post_init__(self) -> None:
        for field in ("epochs", "batch_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"recipe.{field} must be at least 1; got {getattr(self, field)}")
        for field in ("holdout", "train_images", "lr", "momentum", "weight_decay"):
            if getattr(self, field) < 0:
                raise ValueError(f"recipe.{field} must be at least 0; got {getattr(self, field)}")
        if not all(0 < milestone <= 1 for milestone in self.milestones):
            raise ValueError(f"recipe.milestones are fractions of the epochs, in (0, 1]; got {list(self.milestones)}")


RECIPE_NAMES: tuple[str, ...] = get_args(Literal["paper", "default"])
