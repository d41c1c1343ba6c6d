"""Networks that attacks follow in the place of the audited one, where its own gradient may mislead."""

from typing import Any

import torch
from torch import Tensor, nn

from advdpnp import noise
from advdpnp.losses import at_least_fp32


class Rescaled(nn.Module):
    """A network with its logits multiplied by a number."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor
        self.training = False

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) -> logits (B, C)."""
        return at_least_fp32(self.model(x)) * self.factor


class _Sampled(nn.Module):
    """A network that is asked at random points around each image, others at each call."""

    def __init__(self, model: nn.Module, sigma: float, samples: int, seed: int = 0) -> None:
        super().__init__()
        self.model, self.sigma, self.samples, self.seed = model, sigma, samples, seed
        self.training, self.calls = False, 0


class Smoothed(_Sampled):
    """The mean of a network's logits over noise around the image: its gradient is that of a smoother function.

    Args:
        model: (B, channels, H, W) -> logits (B, C).
        sigma: standard deviation of the noise.
        samples: points around each image.
        seed: of the noise.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) -> logits (B, C)."""
        self.calls += 1
        around = directions(x, self.samples, self.seed, self.calls)
        points = (x + self.sigma * around).clamp(0, 1)
        logits = at_least_fp32(self.model(points.flatten(0, 1)))
        # Each row on one scale, so that no point's logits drown those of the others.
        return logits.view(self.samples, len(x), -1).mean(dim=0)


class Estimated(_Sampled):
    """A network whose gradient is estimated from its answers alone, by differences along random directions.

    Args:
        model: (B, channels, H, W) -> logits (B, C).
        sigma: length of the differences, in pixels.
        samples: directions for each gradient.
        seed: of the directions.
    """

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) -> logits (B, C)."""
        self.calls += 1
        logits: Tensor = _EstimatedGradient.apply(x, self)  # type: ignore[no-untyped-call]
        return logits


class _EstimatedGradient(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, network: Estimated) -> Tensor:
        context.save_for_backward(x)
        context.network, context.call = network, network.calls
        return at_least_fp32(network.model(x.clone()))

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (x,), network = context.saved_tensors, context.network
        around = directions(x, network.samples, network.seed, context.call)
        with torch.no_grad():
            ends = [at_least_fp32(network.model((x + sign * network.sigma * around).flatten(0, 1))) for sign in (1, -1)]
        change = (ends[0] - ends[1]).view(network.samples, len(x), -1) / (2 * network.sigma)
        # A network may answer in another precision than that of its images.
        slopes = (change * gradients[0]).sum(dim=2).to(x.dtype)
        return torch.einsum("sb,sbchw->bchw", slopes, around) / network.samples, None


def directions(x: Tensor, samples: int, seed: int, call: int) -> Tensor:
    """Random signs, (samples, B, channels, H, W), other ones in each call."""
    index = torch.arange(samples * len(x), device=x.device)
    signs = noise.uniform(seed, "audit/directions", call, index, tuple(x.shape[1:])) - 0.5
    return signs.sign().to(x.dtype).view(samples, *x.shape)
