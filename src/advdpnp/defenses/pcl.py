"""PCL, the prototype conformity loss (Mustafa et al. 2019, 2021): in two layers, features near their class's center.

Each layer has two sets of centers, one that pulls and one that pushes, and both learn.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import at_least_fp32, cross_entropy, is_label, prototype_alignment
from advdpnp.models.classifier import Backbone, Classifier, Projected, with_embedding
from advdpnp.models.heads import LinearHead, full_precision
from advdpnp.ranges import Count, Natural, NonNegative

# Squared distances outside of this have no gradient, as in the authors' code.
SMALLEST, LARGEST = 1e-12, 1e12


def proximity(embedding: Tensor, centers: Tensor, y: Tensor) -> Tensor:
    """||h - p_y||^2, the squared distance to the center of the own class.

    Args:
        embedding: h, (B, D).
        centers: p, (C, D).
        y: (B,) int64 in [0, C).
    Returns:
        (B,) in [1e-12, 1e12].
    """
    return prototype_alignment(embedding, centers, y, "sum").clamp(SMALLEST, LARGEST)


def contrast(embedding: Tensor, centers: Tensor, y: Tensor) -> Tensor:
    """1/(C - 1) sum_{k != y} ||h - q_k||^2, the mean squared distance to the centers of the other classes.

    Args, Returns as `proximity`.
    """
    with full_precision(embedding):
        h = at_least_fp32(embedding)
        squares = h.square().sum(dim=1, keepdim=True) + centers.square().sum(dim=1) - 2 * h @ centers.T
    others = ~is_label(y, len(centers))
    return (squares.clamp(SMALLEST, LARGEST) * others).sum(dim=1) / (len(centers) - 1)


def with_gradient_share(values: Tensor, share: Tensor) -> Tensor:
    """The same values, whose gradient is multiplied by `share`, a scalar tensor; bit for bit the same where it is 1."""
    fixed = values.detach()
    return fixed + share * (values - fixed)


class ConformityClassifier(Classifier):
    """A linear classifier of a wide linear map of the backbone's features, with centers for both layers.

    Its logits use no center.

    Attributes:
        own_centers: p, what pulls: (C, D) for the backbone's features, (C, width) for the linear map of them.
        other_centers: q, what pushes, likewise.
        pull: 0-dim buffer, the share of the conformity's gradient that reaches the network; it grows from 0 to 1.
    """

    backbone: Projected
    pull: Tensor

    def __init__(self, backbone: Projected, num_classes: int) -> None:
        super().__init__(backbone, LinearHead(backbone.features, num_classes))
        shapes = [(num_classes, backbone.backbone.features), (num_classes, backbone.features)]
        self.own_centers = nn.ParameterList([torch.randn(shape) for shape in shapes])
        self.other_centers = nn.ParameterList([torch.randn(shape) for shape in shapes])
        self.register_buffer("pull", torch.ones(()))

    def taps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, channels, H, W) in [0, 1] -> the backbone's features (B, D) and the linear map of them (B, width)."""
        features = self.backbone.backbone(x)
        return features, self.backbone.projection(features)

    def conformity(self, taps: Iterable[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        """Proximity and contrast, each summed over the layers: two of (B,)."""
        near, far = [], []
        for tap, own, other in zip(taps, self.own_centers, self.other_centers, strict=True):
            near.append(proximity(tap, own, y))
            far.append(contrast(tap, other, y))
        return sum(near, torch.zeros_like(near[0])), sum(far, torch.zeros_like(far[0]))


@dataclass(frozen=True)
class PCL(Defense[ConformityClassifier]):
    """CE + proximity sum_l ||h_l - p_l,y||^2 - contrast sum_l mean_{k != y} ||h_l - q_l,k||^2, on x and x' together.

    h_l: the backbone's features, and a linear map of them that the logits come from. All is a mean over clean and
    adversarial images, which go through the network in one batch. The squares are summed over coordinates.

    Args:
        proximity: weight of the pull to the own center.
        contrast: weight of the push off the centers of other classes; the term has no lower bound, so it must be small.
        proximity_lr: rate of the centers that pull.
        contrast_lr: rate of the centers that push. Both sets learn by plain SGD at a rate that follows no schedule,
            from gradients that are divided by the weight of their term.
        width: coordinates of the linear map.
        warmup: epochs over which the share of both terms' gradient that reaches the network grows, as (t / warmup)^3
            after t epochs. The centers learn from the start, and the losses in the log are whole. The squared distances
            begin in the thousands: a network that they pull on at once diverges, or forgets its classes.
        pretraining: epochs of standard training, of the same network and in a run of its own, that come first; 0 for
            none. `advdpnp train` does it.
    """

    name: ClassVar[str] = "pcl"
    needs: ClassVar[str | None] = "st"

    proximity: NonNegative = 1.0
    contrast: NonNegative = 1e-5
    proximity_lr: NonNegative = 0.5
    contrast_lr: NonNegative = 1e-5
    width: Count = 1024
    warmup: Natural = 10
    pretraining: Natural = 0

    @property
    def _embedding(self) -> str:
        return f"linear({self.width})"

    def steadier(self) -> str:
        return f"defense.proximity below {self.proximity:g} or defense.warmup above {self.warmup}"

    def build(self, backbone: Backbone, num_classes: int) -> ConformityClassifier:
        """The backbone, a linear map, a linear head, and centers drawn from N(0, 1)."""
        wide = with_embedding(backbone, self._embedding)
        assert isinstance(wide, Projected)
        return ConformityClassifier(wide, num_classes)

    def helper_changes(self) -> Mapping[str, Any] | None:
        """The pre-training: the authors' rate and batch, and drops of the rate after 81, 122 and 140 of 164 epochs."""
        if self.pretraining == 0:
            return None
        schedule = {"schedule": "steps", "lr": 0.1, "milestones": [81 / 164, 122 / 164, 140 / 164], "batch_size": 128}
        recipe = {"epochs": self.pretraining, "cycle_momentum": False, **schedule}
        return {"defense": {"embedding": self._embedding}, "recipe": recipe}

    def install(self, model: ConformityClassifier, helper_weights: Mapping[str, Tensor]) -> None:
        """Begin with the weights of the pre-trained network, which has no centers."""
        model.load_state_dict({**model.state_dict(), **helper_weights})

    def param_groups(self, model: ConformityClassifier) -> list[dict[str, Any]]:
        """The network as the recipe says; the centers by plain SGD at constant rates."""
        centers = {id(center) for center in (*model.own_centers, *model.other_centers)}
        network = [p for p in model.parameters() if p.requires_grad and id(p) not in centers]
        return [
            {"params": network},
            _plain_sgd(model.own_centers, self.proximity_lr, self.proximity),
            _plain_sgd(model.other_centers, self.contrast_lr, self.contrast),
        ]

    def between_epochs(self, model: ConformityClassifier, epochs_done: int) -> None:
        """Let the conformity pull a little more on the network, until the warm-up is over."""
        model.pull.fill_(min(1.0, epochs_done / self.warmup) ** 3 if self.warmup else 1.0)

    def loss(self, model: ConformityClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        taps = model.taps(torch.cat([batch.x, x_adv]))
        clean, adversarial = model.head(taps[1]).chunk(2)
        entropies = torch.cat([batch.cross_entropy(clean), batch.cross_entropy(adversarial)])
        pulled = [with_gradient_share(at_least_fp32(tap), model.pull) for tap in taps]
        near, far = model.conformity(pulled, batch.y.repeat(2))
        return {
            "ce": entropies.mean(),
            "proximity": self.proximity * near.mean(),
            "contrast": -self.contrast * far.mean(),
        }

    def objective(self, model: ConformityClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """The whole loss of x', per example, (B,)."""
        taps = model.taps(x_adv)
        near, far = model.conformity(taps, y)
        return cross_entropy(model.head(taps[1]), y) + self.proximity * near - self.contrast * far


def _plain_sgd(centers: Iterable[Tensor], lr: float, weight: float) -> dict[str, Any]:
    """Group whose steps are those of rate `lr` on gradients divided by `weight`; centers without a term rest."""
    plain = {"momentum": 0.0, "weight_decay": 0.0, "nesterov": False, "scheduled": False}
    return {"params": list(centers), "lr": lr / weight if weight else 0.0, **plain}
