"""Training on noise: cross-entropy of images with a random perturbation, which is no defense, and a short example."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import Tensor

from advdpnp.defenses import Batch, Defense
from advdpnp.models.classifier import Classifier
from advdpnp.ranges import Range


@dataclass(frozen=True)
class Noisy(Defense[Classifier]):
    """CE(x + size u), u uniform in [-1, 1] for each pixel of each image.

    Args:
        size: largest change of a pixel, in [0, 1].
    """

    name: ClassVar[str] = "noisy"
    title: ClassVar[str] = "Noise"
    crafts: ClassVar[bool] = False

    size: Annotated[float, Range("[0, 1]")] = 0.1

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        u = 2 * batch.draw("noisy", tuple(batch.x.shape[1:]), per_image=True) - 1
        noisy = (batch.x + self.size * u).clamp(0, 1)
        return {"ce_noisy": batch.cross_entropy(model(noisy)).mean()}
