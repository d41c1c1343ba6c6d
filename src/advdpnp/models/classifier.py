"""A classifier is a backbone (image -> embedding) and a head (embedding -> logits)."""

import re
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from advdpnp.models.expected import ExpectedModel


class Backbone(nn.Module):
    """Image to embedding: `forward(x)`, x (B, channels, H, W) in [0, 1] -> (B, features).

    A backbone says either how it computes that, or both of its halves, `feature_map` and `pool`, and `map_channels`:
    modules may then be put between them.
    """

    features: int
    # Channels K of the last feature map; 0 where the backbone has none to offer.
    map_channels: int = 0

    def feature_map(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> (B, K, h, w), the last feature map.

        Raises:
            TypeError: the backbone has none.
        """
        raise TypeError(f"{type(self).__name__} has no feature map")

    def pool(self, feature_map: Tensor) -> Tensor:
        """Last feature map (B, K, h, w) -> embedding (B, features): by default its mean over the image."""
        return feature_map.mean(dim=(2, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.feature_map(x))


class Head(nn.Module):
    """Embedding to logits: `forward(f)`, f (B, D) -> (B, C)."""

    # Whether training drives its logits so far apart that the softmax is 0 and 1 in fp32. Cross-entropy has no gradient
    # then: a network with such a head is attacked on a scale-free loss too (`advdpnp.evaluation.saturation`).
    saturates: ClassVar[bool] = False
    # Whether training brings embeddings near their class center; to rows of a linear layer they are turned only.
    centers_are_places: ClassVar[bool] = True

    def among_centers(self, embedding: Tensor) -> Tensor:
        """The embedding (B, D) as it is compared with the class centers: unchanged, unless the head normalizes it."""
        return embedding

    def class_centers(self) -> Tensor:
        """(C, D): one vector per class, such as the rows of a linear layer.

        Raises:
            TypeError: the head has none.
        """
        raise TypeError(f"{type(self).__name__} has no class centers")


class Classifier(nn.Module):
    """Image classifier: a backbone and a head; any normalization is inside, so that attacks act on pixels in [0, 1].

    Args:
        backbone: image -> embedding (B, D).
        head: embedding -> logits (B, C).
    """

    def __init__(self, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> logits (B, C)."""
        return cast(Tensor, self.head(self.backbone(x)))

    def embed(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> embedding (B, D), as it is compared with the class centers."""
        return self.head.among_centers(self.backbone(x))

    def other_answers(self, x: Tensor) -> dict[str, Tensor]:
        """Logits (B, C) that the classifier could give instead of its own, by name: by default none.

        Their accuracy is recorded beside the classifier's, on the same images. No attack is made on them, so under an
        attack it says nothing about how robust they are.
        """
        return {}

    def summed_buffers(self) -> list[Tensor]:
        """Buffers to which each image of a training batch adds something, for ranks to add up: by default none."""
        return []

    def class_centers(self) -> Tensor:
        """(C, D), detached: classifier rows, or prototypes, for the geometry metrics."""
        return self.head.class_centers().detach()


def known_centers(model: nn.Module) -> Tensor | None:
    """The class centers (C, D) of a network; None where it is no `Classifier`, or its head has none."""
    if not isinstance(model, Classifier):
        return None
    try:
        return model.class_centers()
    except TypeError:
        return None


class Helper(nn.Module):
    """A frozen network inside a classifier: without gradients, and in eval mode even where the classifier is not.

    Its weights are part of the classifier's state_dict. Folded copies (`advdpnp.models.folding`) share it.

    Args:
        network: frozen in place.
        trained: whether it has its weights; if not, `forward` raises until some are loaded, into it alone or with the
            classifier.
    """

    def __init__(self, network: nn.Module, trained: bool = True) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.trained = trained
        self.network.register_load_state_dict_post_hook(self._mark_trained)  # type: ignore[no-untyped-call]
        self.eval()

    def _mark_trained(self, network: nn.Module, incompatible_keys: Any) -> None:
        self.trained = True

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """The network's output for x (B, channels, H, W) in [0, 1].

        Raises:
            ValueError: it has no trained weights.
        """
        if not self.trained:
            raise ValueError(
                "the helper network has no trained weights: train with advdpnp.train, or call "
                "defense.install(model, weights) with those of a trained network"
            )
        return cast(Tensor, self.network(x))

    def train(self, mode: bool = True) -> "Helper":
        """Stay in eval mode."""
        return super().train(False)


class Projected(Backbone):
    """A backbone followed by a linear map without activation, for embeddings of chosen width.

    Args:
        backbone: any backbone.
        features: width D of the new embedding, at least 1.
    """

    def __init__(self, backbone: Backbone, features: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = nn.Linear(backbone.features, features)
        self.features = features
        self.map_channels = backbone.map_channels

    def feature_map(self, x: Tensor) -> Tensor:
        return self.backbone.feature_map(x)

    def pool(self, feature_map: Tensor) -> Tensor:
        return cast(Tensor, self.projection(self.backbone.pool(feature_map)))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.projection(self.backbone(x)))


def with_embedding(backbone: Backbone, embedding: str) -> Backbone:
    """The backbone with the embedding that a configuration names.

    Args:
        backbone: any backbone.
        embedding: "native", the backbone's own, or "linear(D)", a linear map of it to D coordinates.
    Raises:
        ValueError: any other text.
    """
    width = check_embedding(embedding)
    return backbone if width is None else Projected(backbone, width)


def check_embedding(embedding: str) -> int | None:
    """The width D of "linear(D)", or None for "native"; ValueError for any other text."""
    if embedding == "native":
        return None
    match = re.fullmatch(r"linear\(([1-9]\d*)\)", embedding)
    if match is None:
        raise ValueError(f"embedding must be native or linear(D), D the width, as in linear(9); got {embedding!r}")
    return int(match[1])


def logits_saturate(model: nn.Module) -> bool:
    """Whether a classifier's head says that its logits do (`Head.saturates`); of other networks nothing is known."""
    return isinstance(model, Classifier) and getattr(model.head, "saturates", False)


def other_answers(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """`Classifier.other_answers`, of any network: what is no classifier of ours, nor the mean of one, has none."""
    return model.other_answers(x) if isinstance(model, Classifier | ExpectedModel) else {}


def device_of(model: nn.Module) -> torch.device:
    """Device of the model's first parameter."""
    return next(model.parameters()).device
