"""The interface of a defense, and the training batch that it gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from advdpnp import losses, noise
from advdpnp.attacks.projected_ascent import Ascend, Start, cross_entropy
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.heads import LinearHead
from advdpnp.ranges import Integer, Share, check_fields


@dataclass(frozen=True)
class Batch:
    """One training batch; on several ranks the part of it that one of them computes.

    Args:
        x: (B, channels, H, W) in [0, 1], augmented.
        y: (B,) int64 labels.
        index: (B,) int64 indices of the images in the training set.
        seed: seed of the run.
        epoch: epochs completed before this one; a 0-dim int64 tensor inside a captured graph.
        step: steps completed in this epoch; likewise.
        label_smoothing: of the recipe, for the losses on the true labels; attacks do not smooth.
        share: number of these images over that of the whole batch, in (0, 1].
        summed: the sum of a tensor over all parts of the batch; None where this is the whole.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    seed: Integer
    epoch: Integer | Tensor
    step: Integer | Tensor
    label_smoothing: Share = 0.0
    share: Share = 1.0
    summed: Callable[[Tensor], Tensor] | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def cross_entropy(self, logits: Tensor) -> Tensor:
        """Cross-entropy with the batch's own labels, smoothed as the recipe says: (B, C) -> (B,) >= 0, nats."""
        return losses.cross_entropy(logits, self.y, self.label_smoothing)

    def total(self, counts: Tensor) -> Tensor:
        """Counts of these images to those of the whole batch, of any shape, without gradient; all ranks call it."""
        return counts if self.summed is None else self.summed(counts)

    def draw(self, name: str, shape: tuple[int, ...], per_image: bool = False) -> Tensor:
        """Uniforms in [0, 1) that resume reproduces.

        What is drawn for a step is the same for all parts of its batch; what is drawn for each image is `per_image`.

        Args:
            name: stream; each purpose has its own.
            shape: shape of one draw.
            per_image: keyed by (seed, epoch, name, image) instead of (seed, epoch, step, name).
        Returns:
            `shape`, or (B, *shape) with `per_image`; float32.
        """
        if per_image:
            return noise.uniform(self.seed, name, self.epoch, self.index, shape)
        step = torch.zeros(1, dtype=torch.int64, device=self.x.device) + self.step
        return noise.uniform(self.seed, name + "/batch", self.epoch, step, shape)[0]


ModelT = TypeVar("ModelT", bound=Classifier)


@dataclass(frozen=True)
class Defense(Generic[ModelT]):
    """A training method: fields are the paper's hyper-parameters, methods its equations.

    Everything that learns lives in the network that `build` makes; a defense holds no state. Numbers declare their
    range (`advdpnp.ranges`), and words are Literals; both are checked here.
    """

    name: ClassVar[str]
    # What a report calls it, where it is none of those that every report knows; "" for its name in capitals.
    title: ClassVar[str] = ""
    # Start of the paper's inner attack, where the recipe gives none.
    start: ClassVar[Start] = "uniform"
    # Whether training makes adversarial examples at all.
    crafts: ClassVar[bool] = True
    # Name of the defense whose trained network this one needs.
    needs: ClassVar[str | None] = None

    def __post_init__(self) -> None:
        check_fields(self, "defense")

    def build(self, backbone: Backbone, num_classes: int) -> ModelT:
        """The network: by default the backbone with a linear head."""
        return Classifier(backbone, LinearHead(backbone.features, num_classes))  # type: ignore[return-value]

    def install(self, model: ModelT, helper_weights: Mapping[str, Tensor]) -> None:
        """Give the network the trained weights of the defense that `needs` names."""
        raise TypeError(f"{self.name} needs no other network")

    def helper_changes(self) -> Mapping[str, Any] | None:
        """Where the experiment that `needs` names departs from this one, nested as in a YAML file; None: not needed."""
        return {}

    def param_groups(self, model: ModelT) -> list[dict[str, Any]]:
        """Optimizer groups; options of a group override the recipe's. A group may say scheduled=False."""
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def between_epochs(self, model: ModelT, epochs_done: int) -> None:
        """Called once before training and after every epoch, before validation and checkpoint."""

    def between_steps(self, model: ModelT) -> None:
        """Called after every optimizer step."""

    def after_averaging(self, model: ModelT) -> None:
        """Restore what averaging of weights breaks, such as the norm of prototypes; by default nothing."""

    def perturb(self, model: ModelT, batch: Batch, ascend: Ascend) -> Tensor:
        """Adversarial examples for the update: by default the ascent of the cross-entropy of the logits."""
        return ascend(model, cross_entropy, batch.x, (batch.y,))

    def steadier(self) -> str:
        """What may keep a training finite besides a lower rate, as "defense.beta below 6"; "" for nothing."""
        return ""

    def loss(self, model: ModelT, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        """Weighted scalar terms in the paper's order; their sum is minimized, each is logged.

        A term is a mean over the images of the batch, or does not depend on them: then those of the parts, weighted by
        their images, add up to the term of the whole. A mean over some of the images divides by `batch.total` of their
        number, and by `batch.share`.
        """
        raise TypeError(f"{type(self).__name__} defines no loss")

    def objective(self, model: ModelT, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The training objective per example, (B,), which an adaptive attack maximizes: by default cross-entropy."""
        return cross_entropy(model(x_adv), (y,), ())
