"""What a stored run holds: its configuration, its log, its evaluations and what they draw, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advdpnp.report.names import METHODS, NORMS, SEARCHES, attack_label, method_name

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class AttackKey:
    """What makes two stored attacks the same column of a table."""

    name: str
    norm: str
    eps: str
    steps: int | None
    step_size: str | None
    restarts: int
    random_start: bool
    settings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and number of steps, such as PGD-40."""
        return attack_label(self.name, self.steps)

    @property
    def budget(self) -> str:
        """Norm and radius, such as ℓ∞ 8/255."""
        return f"{self.norm_name} {self.eps}"

    @property
    def norm_name(self) -> str:
        return NORMS.get(self.norm, self.norm)

    @property
    def details(self) -> str:
        """The whole protocol in words."""
        if self.name in SEARCHES:
            return f"{self.label}: {self.norm_name}, ε = {self.eps}, {SEARCHES[self.name]}"
        step = f", step {self.step_size}" if self.step_size and (self.steps or 0) > 1 else ""
        restarts = "1 restart" if self.restarts == 1 else f"{self.restarts} restarts"
        start = f"random start, {restarts}" if self.random_start else "starts at the image"
        settings = "".join(f", {setting}" for setting in self.settings)
        return f"{self.label}: {self.norm_name}, ε = {self.eps}{step}, {start}{settings}"


@dataclass(frozen=True)
class Accuracy:
    """A fraction of the images in [0, 1] and its 95 % Wilson interval, which reaches up to the unevaluated images."""

    value: float
    low: float
    high: float
    unevaluated: int = 0


@dataclass(frozen=True)
class Suite:
    """One eval/<suite>.json: what was attacked, and what was left of the accuracy."""

    name: str
    data: str
    n: int
    indices: str
    checkpoint: str
    epoch: int | None
    precision: str
    chunk: int
    seconds: float
    environment: dict[str, Any]
    clean: Accuracy
    attacks: dict[AttackKey, Accuracy]
    worst_case: Accuracy
    geometry: dict[str, Any] | None
    warnings: list[str]
    # What searches were made in; verdicts are always those of `precision`.
    search_precision: str = "fp32"
    # SHA-256 of the weights; "" where it was not recorded.
    weights: str = ""
    # What the attacks say of themselves, such as fewer targets for want of classes.
    notes: list[str] = field(default_factory=list)
    # Count, mean and spread over seeds of the attacks' noise; None for one seed.
    seeds: dict[str, Any] | None = None
    # Where it is stored.
    path: Path = Path()


@dataclass(frozen=True)
class Samples:
    """Some images of the test set: clean and adversarial (M, channels, H, W) in [0, 1], labels and predictions (M,)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    clean_predictions: np.ndarray
    adversarial_predictions: np.ndarray
    class_names: list[str]
    attack: str


@dataclass(frozen=True)
class Embedding:
    """2-D features, clean and adversarial (N, 2), labels (N,), and class centers (C, 2)."""

    clean: np.ndarray
    adversarial: np.ndarray
    labels: np.ndarray
    centers: np.ndarray
    class_names: list[str]
    attack: str


@dataclass(frozen=True)
class Run:
    """All that a run folder holds; None or empty where something was not measured."""

    folder: Path
    config: dict[str, Any]
    environment: dict[str, Any]
    epochs: list[dict[str, Any]]
    suites: list[Suite]
    curve: Suite | None
    samples: Samples | None
    embedding: Embedding | None

    @property
    def data(self) -> str:
        return data_name(self.config)

    @property
    def foreign(self) -> dict[str, Any] | None:
        """Where a network from elsewhere comes from; None for a classifier of ours."""
        return self.config.get("foreign")

    @property
    def backbone(self) -> str:
        return str(self.config["backbone"])

    @property
    def defense(self) -> str:
        return "foreign" if self.foreign else str(self.config["defense"]["name"])

    @property
    def tag(self) -> str:
        return str(self.config["tag"])

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def recipe(self) -> str:
        return str(self.config["recipe"]["name"])

    @property
    def trained_eps(self) -> float | None:
        """Radius of the attack of training, where it is known."""
        return None if self.foreign else float(self.config["recipe"]["attack"]["eps"])

    @property
    def method(self) -> str:
        """The method as people call it, or the name of a network from elsewhere, with the run's tag."""
        if self.foreign:
            return self.backbone + (f" +{self.tag}" if self.tag else "")
        variant = f"{self.defense}-{self.tag}"
        return METHODS.get(variant) or method_name(self.defense) + (f" +{self.tag}" if self.tag else "")

    @property
    def name(self) -> str:
        """Method and seed."""
        return self.method if self.foreign else f"{self.method}, seed {self.seed}"

    @property
    def place(self) -> str:
        """Data and backbone, as in the name of an experiment: cifar10/resnet18."""
        return f"{self.data}/{self.backbone}"

    @property
    def order(self) -> tuple[Any, ...]:
        names = list(METHODS)
        place = names.index(self.defense) if self.defense in METHODS else len(names)
        return (self.data, self.backbone, place, self.defense, self.tag, self.seed)


def data_name(config: dict[str, Any]) -> str:
    """Name of the data set of a stored configuration, which has a folder of images with all its facts."""
    stored = config["data"]
    return str(stored["name"] if isinstance(stored, dict) else stored)


def radius(eps: str) -> float:
    """A budget as result files have it, "0.1" or "8/255", as a number."""
    numerator, _, denominator = eps.partition("/")
    return float(Fraction(numerator) / Fraction(denominator or "1"))
