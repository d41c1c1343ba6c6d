"""A recipe: everything about a training run that is not the defense, the data or the network."""

from dataclasses import dataclass
from typing import Annotated, Literal

from advdpnp.attacks.projected_ascent import Budget, Start
from advdpnp.data import Augmentation
from advdpnp.ranges import Count, Natural, NonNegative, Positive, Range, Share, check_fields
from advdpnp.threat import Ball, ThreatModel, check_level

Engine = Literal["eager", "folded", "compiled", "graph", "step"]
Mode = Literal["eval", "train"]
Schedule = Literal["steps", "cosine", "onecycle"]
# Of the epochs, when something begins that has to last a while.
Begin = Annotated[float, Range("[0, 1)")]


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
        ramp: fraction of the epochs over which radius and step size grow linearly to their value; 0 for none.
            Validation always has the whole radius.
        spread: the radius of each batch is drawn uniformly from [(1 - spread), 1] of its value; 0 for no draw. The step
            size stays, and validation has the whole radius.
    """

    eps: NonNegative
    step_size: Positive
    steps: Count = 10
    start: Start = "uniform"
    norm: Ball = "linf"
    mode: Mode = "eval"
    ramp: Annotated[float, Range("[0, 1]", "a fraction of the epochs")] = 0.0
    spread: Share = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "recipe.attack")
        for field in ("eps", "step_size"):
            check_level(self.norm, getattr(self, field), f"recipe.attack.{field}")

    def budget(self) -> Budget:
        return Budget(ThreatModel(self.norm, self.eps), self.steps, self.step_size, self.start)


@dataclass(frozen=True)
class Averaging:
    """Averaging of the weights. The average is what is validated, stored and evaluated; the weights train on beside it.

    Args:
        kind: "none"; "ema", exponential, after every step; or "swa", equal, after every epoch.
        decay: of "ema": the share of the average that a step keeps, in [0, 1).
        start: fraction of the epochs after which it begins, in [0, 1); before, the average is the network itself.
    """

    kind: Literal["none", "ema", "swa"] = "none"
    decay: Annotated[float, Range("[0, 1)")] = 0.999
    start: Begin = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "recipe.averaging")


@dataclass(frozen=True)
class WeightPerturbation:
    """Adversarial weight perturbation (Wu et al. 2020); see `advdpnp.training.weight_perturbation`.

    Args:
        gamma: length over the length of each weight tensor, such as 0.005; 0 for none.
        start: fraction of the epochs after which it begins, in [0, 1).
    """

    gamma: NonNegative = 0.0
    start: Begin = 0.0

    def __post_init__(self) -> None:
        check_fields(self, "recipe.weight_perturbation")


@dataclass(frozen=True)
class RateScaling:
    """Rates for large batches: in proportion to their size, and reached slowly (Goyal et al. 2017).

    Args:
        batch: images of the batches that `Recipe.lr` is meant for, such as 128; 0 for no scaling. Scheduled rates are
            multiplied by recipe.batch_size / batch.
        warmup_epochs: over which the factor grows linearly from 1; "onecycle" rises by itself, and has the whole factor
            at once.
    """

    batch: Natural = 0
    warmup_epochs: Natural = 5

    def __post_init__(self) -> None:
        check_fields(self, "recipe.rate_scaling")


@dataclass(frozen=True)
class Recipe:
    """Optimization and protocol (Adv-DPNP, section 4; Bag of Tricks for AT, Pang et al. 2021).

    Args:
        name: "paper" (all images, no holdout, the last weights count; one recipe for every defense), "official" (the
            same protocol with the defense's authors' own settings) or "default" (a stratified part of the training
            images held out, which chooses the best weights; the test set never selects).
        attack: the inner maximization.
        augmentation: crop and flip.
        epochs: passes over the training images.
        batch_size: images per step, of all ranks together; the last batch of an epoch may be smaller, or larger by one
            image, which is never a batch alone.
        lr: learning rate of SGD: the first of "steps" and "cosine", the highest of "onecycle".
        milestones: fractions of the epochs at which "steps" divides the rate by 10.
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
        schedule: of the rate: "steps"; "cosine", half a wave down to 0; or "onecycle", up to `lr` and down again.
        warmup: fraction of the run in which "onecycle" rises.
        cycle_momentum: whether "onecycle" moves the momentum too, from 0.95 down to 0.85 at the highest rate and back,
            as PyTorch's does by default.
        nesterov: momentum of Nesterov's kind.
        label_smoothing: of the losses on true labels, in [0, 1).
        averaging: of the weights.
        weight_perturbation: of the weights, adversarial.
        rate_scaling: of the learning rate with the size of the batch.
        sync_batchnorm: on several GPUs BatchNorm takes the statistics of the whole batch, not of a rank's part.
    """

    name: Literal["paper", "default", "official"]
    attack: InnerAttack
    augmentation: Augmentation
    epochs: Count = 110
    batch_size: Count = 128
    lr: NonNegative = 0.1
    milestones: tuple[Annotated[float, Range("(0, 1]", "fractions of the epochs")], ...] = (100 / 110, 105 / 110)
    momentum: Annotated[float, Range("[0, 1)")] = 0.9
    weight_decay: NonNegative = 5e-4
    holdout: Natural = 0
    train_images: Natural = 0
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    engine: Engine = "folded"
    schedule: Schedule = "steps"
    warmup: Annotated[float, Range("(0, 1)", "a fraction of the run")] = 0.25
    cycle_momentum: bool = False
    nesterov: bool = False
    label_smoothing: Annotated[float, Range("[0, 1)")] = 0.0
    averaging: Averaging = Averaging()
    weight_perturbation: WeightPerturbation = WeightPerturbation()
    rate_scaling: RateScaling = RateScaling()
    sync_batchnorm: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "recipe")
        if self.nesterov and self.momentum == 0:
            raise ValueError("recipe.nesterov needs a momentum; got recipe.momentum=0. Use 0.9, or nesterov=false")
        if self.cycle_momentum and self.schedule != "onecycle":
            raise ValueError(
                f"recipe.cycle_momentum belongs to recipe.schedule=onecycle; got schedule={self.schedule}. Drop one"
            )

    @property
    def compiles(self) -> bool:
        """Whether the engine has torch compile the attack's iteration and the losses."""
        return self.engine in ("compiled", "graph", "step")


RECIPE_NAMES: tuple[str, ...] = ("paper", "official", "default")
