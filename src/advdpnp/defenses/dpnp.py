"""DPNP (arXiv 2501.02477): classifier weights that are class prototypes, aligned with and repelled from each other."""

import warnings
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import prototype_alignment, prototype_repulsion
from advdpnp.models.classifier import Backbone, check_embedding, with_embedding
from advdpnp.models.heads import PrototypeClassifier, PrototypeHead
from advdpnp.ranges import NonNegative, Range


@dataclass(frozen=True)
class DPNP(Defense[PrototypeClassifier]):
    """L = mean D(x) + lambda_DNP N on clean images: Adv-DPNP's Eq. 7 with every adversarial term deleted.

    D(x) = CE(c f / alpha, y) + (lambda_DPP / 2) ||f - c_y||^2 pulls features to their prototype (DPP), N pushes each
    prototype off its nearest rival (DNP).

    Args:
        alpha: radius of the prototypes, > 0.
        lambda_dpp: weight of the alignment.
        lambda_dnp: weight of the repulsion.
        alignment: squared distance as a "mean" over the coordinates, or the "sum" that Eq. 3 prints.
        renormalize: put prototypes back on the sphere once per "epoch", as Algorithm 1, or after every "step".
        embedding: "native", the backbone's own features, or "linear(D)".
        negative: whether the nearest rival's prototype is "live" in the repulsion or "detached".
        rival: nearest by "l2", as Eq. 4, or by "l_half", the measure of Eq. 5.
        prototype_weight_decay: whether weight decay acts on the prototypes, as on all other parameters.
    """

    name: ClassVar[str] = "dpnp"
    crafts: ClassVar[bool] = False

    alpha: Annotated[float, Range("(0, inf)", "the radius of the prototypes")] = 40.0
    lambda_dpp: NonNegative = 0.1
    lambda_dnp: NonNegative = 0.1
    alignment: Literal["mean", "sum"] = "mean"
    renormalize: Literal["epoch", "step"] = "epoch"
    embedding: str = "native"
    negative: Literal["live", "detached"] = "live"
    rival: Literal["l2", "l_half"] = "l2"
    prototype_weight_decay: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_embedding(self.embedding)

    def build(self, backbone: Backbone, num_classes: int) -> PrototypeClassifier:
        """The backbone with prototypes in place of a linear head."""
        backbone = with_embedding(backbone, self.embedding)
        return PrototypeClassifier(backbone, PrototypeHead(backbone.features, num_classes, self.alpha))

    def param_groups(self, model: PrototypeClassifier) -> list[dict[str, Any]]:
        """One group, or a second one for prototypes that weight decay must not touch."""
        if self.prototype_weight_decay:
            return super().param_groups(model)
        prototypes = model.head.prototypes
        others = [p for p in model.parameters() if p.requires_grad and p is not prototypes]
        return [{"params": others}, {"params": [prototypes], "weight_decay": 0.0}]

    def between_epochs(self, model: PrototypeClassifier, epochs_done: int) -> None:
        """c_j <- alpha c_j / ||c_j|| (Algorithm 1, lines 3-5)."""
        model.head.renormalize()
        if torch.pdist(model.head.prototypes.detach()).min() == 0:
            warnings.warn("two prototypes are equal: the repulsion cannot part them", RuntimeWarning, stacklevel=2)

    def between_steps(self, model: PrototypeClassifier) -> None:
        if self.renormalize == "step":
            model.head.renormalize()

    def after_averaging(self, model: PrototypeClassifier) -> None:
        """Put averaged prototypes back on the sphere; an average of its points lies inside it."""
        model.head.renormalize()

    def repulsion(self, model: PrototypeClassifier) -> Tensor:
        """The weighted DNP term (Eqs. 4-5), a scalar; it depends on the prototypes alone."""
        live = self.negative == "live"
        return self.lambda_dnp * prototype_repulsion(model.head.prototypes, self.rival, live)

    def steadier(self) -> str:
        return "defense.renormalize=step" if self.renormalize == "epoch" else ""

    def loss(self, model: PrototypeClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        embedding = model.embed(batch.x)
        distance = prototype_alignment(embedding, model.head.prototypes, batch.y, self.alignment)
        return {
            "ce_clean": batch.cross_entropy(model.head(embedding)).mean(),
            "dpp_clean": self.lambda_dpp / 2 * distance.mean(),
            "dnp": self.repulsion(model),
        }
