"""Threat models: norm balls around an image, cut with the box [0, 1] that images live in."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from advdpnp.noise import Noise
from advdpnp.ranges import NonNegative, check_fields, unknown
from advdpnp.ranges import eps_text as eps_text
from advdpnp.ranges import parse_eps as parse_eps

Norm = Literal["linf", "l2", "l1"]
# Norms of `ThreatModel`; l1 needs a projection of its own, see `advdpnp.attacks.apgd_step`.
Ball = Literal["linf", "l2"]


def _per_image_norm(v: Tensor) -> Tensor:
    """(B, ...) -> (B, 1, 1, ...) Euclidean norm of each image."""
    norms: Tensor = torch.linalg.vector_norm(v.flatten(1), dim=1)
    return norms.view(-1, *[1] * (v.dim() - 1))


def distance(points: Tensor, x: Tensor, norm: Norm) -> Tensor:
    """Norm of each image's perturbation: (B, ...), (B, ...) -> (B,) >= 0."""
    delta = (points - x).flatten(1)
    if norm == "linf":
        return delta.abs().amax(dim=1)
    if norm == "l1":
        return delta.abs().sum(dim=1)
    if norm == "l2":
        return delta.square().sum(dim=1).sqrt()
    raise unknown("norm", norm, Norm)


def check_level(norm: Norm, length: float, name: str = "eps") -> None:
    """Raise ValueError if a radius or step in linf is longer than the box [0, 1]: it was meant in bytes, or in l2."""
    if norm == "linf" and length > 1:
        other = " Or is it a radius in l2 (norm l2)?" if name == "eps" else ""
        raise ValueError(
            f"{name} must be in [0, 1] (images are in [0, 1]); got {length:g}. Did you mean {length:g} / 255?{other}"
        )


def check_fits(norm: Norm, eps: float, shape: tuple[int, ...], name: str = "eps") -> None:
    """Raise ValueError if a ball is wider than the whole box of images of a shape: its radius was meant in bytes.

    Args:
        norm: of the ball.
        eps: its radius.
        shape: (channels, H, W).
        name: what the radius is called in a configuration.
    """
    pixels = math.prod(shape)
    diameter = {"linf": 1.0, "l2": math.sqrt(pixels), "l1": float(pixels)}[norm]
    if eps > diameter:
        raise ValueError(
            f"{norm} {name} must be at most {diameter:.1f}, the diameter of the box [0, 1] of these images; "
            f"got {eps:g}. Did you mean {eps:g} / 255?"
        )


@dataclass(frozen=True)
class ThreatModel:
    """Perturbations of norm at most `eps` that keep the image in [0, 1].

    Args:
        norm: "linf" or "l2".
        eps: radius; in units of the pixel range [0, 1] for linf, Euclidean over all pixels for l2. A 0-dim tensor
            where the radius changes from step to step.
    Raises:
        ValueError: unknown norm, negative radius, or an linf radius above 1.
    """

    norm: Ball
    eps: NonNegative | Tensor

    def __post_init__(self) -> None:
        check_fields(self)
        if not isinstance(self.eps, Tensor):
            check_level(self.norm, self.eps)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Into the ball around x, then into [0, 1]: (B, ...) -> (B, ...)."""
        if self.norm == "linf":
            return torch.clamp(torch.minimum(torch.maximum(x_adv, x - self.eps), x + self.eps), 0.0, 1.0)
        delta = x_adv - x
        # The tiny floor keeps 0 / 0 away; a zero delta stays zero.
        scale = (self.eps / _per_image_norm(delta).clamp_min(1e-12)).clamp_max(1.0)
        return torch.clamp(x + scale * delta, 0.0, 1.0)

    def start(self, x: Tensor, noise: Noise, stream: str = "start") -> Tensor:
        """A random point of the ball: uniform for linf; Gaussian direction with uniform radius for l2."""
        if self.norm == "linf":
            delta = (2 * noise.uniform(stream, tuple(x.shape[1:])) - 1) * self.eps
        else:
            direction = noise.normal(stream, tuple(x.shape[1:]))
            radius = noise.uniform(stream + "/length", (1,)).view(-1, *[1] * (x.dim() - 1))
            delta = direction / _per_image_norm(direction).clamp_min(1e-12) * radius * self.eps
        return self.project(x + delta, x)

    def step(self, gradient: Tensor) -> Tensor:
        """Steepest ascent direction of unit norm; zero where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        return gradient / _per_image_norm(gradient).clamp_min(1e-12)
