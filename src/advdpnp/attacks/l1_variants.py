"""What "PGD in l1" means elsewhere: other steps and projections than those of `advdpnp.threat.ThreatModel`.

Libraries that agree on PGD in linf and l2 differ in l1, and so do the accuracies that they measure.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from advdpnp.noise import Noise
from advdpnp.ranges import Range
from advdpnp.threat import ThreatModel, l1_direction

L1Ascent = Literal["coordinate", "dense", "rescaled"]
Quantile = Annotated[float, Range("[0, 1)", "a share of the pixels")]


def _length(v: Tensor) -> Tensor:
    """(B, channels, H, W) -> (B, 1, 1, 1) l1 norm, at least a tiny number, so that 0 / 0 is 0."""
    return v.abs().sum(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12)


class DenseL1(ThreatModel):
    """Steps along the whole gradient, radial rescaling, then the box; as L1PGD of foolbox.

    A step raises the loss by the mean size of the gradient's entries, one along a coordinate by the largest.
    """

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        delta = x_adv - x
        return (x + (self.eps / _length(delta)).clamp_max(1.0) * delta).clamp(0.0, 1.0)

    def start(self, x: Tensor, noise: Noise, stream: str = "start") -> Tensor:
        """Uniform in the ball: n pixels have a radius of U^(1/n) eps."""
        radius = noise.uniform(stream + "/length", (1,)).view(-1, 1, 1, 1) ** (1 / x[0].numel())
        return self.project(x + l1_direction(x, noise, stream) * radius * self.eps, x)

    def step(self, gradient: Tensor) -> Tensor:
        return gradient / _length(gradient)


class RescaledL1(ThreatModel):
    """Steps along the steepest coordinate, the box, then radial rescaling; as the Adversarial Robustness Toolbox.

    Rescaling shrinks large changes more than small ones, where the nearest point of the ball shrinks all alike.
    """

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        delta = x_adv.clamp(0.0, 1.0) - x
        # The box again, since what is added to x rounds.
        return (x + (self.eps / _length(delta)).clamp_max(1.0) * delta).clamp(0.0, 1.0)


@dataclass(frozen=True)
class SparseL1(ThreatModel):
    """Steps along the signs of the largest gradient entries, without pixels that the box holds; exact projection.

    The steps of SLIDE (Tramer and Boneh 2019, Algorithm 1), as SparseL1Descent of foolbox has them.

    Args:
        quantile: share of the pixels that a step leaves as they are.
    """

    quantile: Quantile = 0.99

    def advance(self, point: Tensor, gradient: Tensor, step_size: float | Tensor, x: Tensor) -> Tensor:
        held = ((point <= 0) & (gradient < 0)) | ((point >= 1) & (gradient > 0))
        return super().advance(point, gradient.masked_fill(held, 0.0), step_size, x)

    def step(self, gradient: Tensor) -> Tensor:
        size = gradient.flatten(1).abs()
        # As many as are not below the quantile; rounded, since 0.99 x 100 is not quite 99.
        moving = size.shape[1] - math.ceil(round(self.quantile * (size.shape[1] - 1), 6))
        least = size.topk(moving, dim=1)[0][:, -1:]
        signs = gradient.sign() * (size >= least).view_as(gradient)
        return signs / signs.abs().sum(dim=(1, 2, 3), keepdim=True).clamp_min(1.0)


_KINDS: dict[str, type[ThreatModel]] = {"coordinate": ThreatModel, "dense": DenseL1, "rescaled": RescaledL1}


def l1_ball(eps: float, ascent: L1Ascent) -> ThreatModel:
    """The ball of a radius, with the steps and the projection of a variant of PGD."""
    return _KINDS[ascent]("l1", eps)
