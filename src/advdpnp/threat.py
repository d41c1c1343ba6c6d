"""Threat models: norm balls around an image, cut with the box [0, 1] that images live in."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.noise import Noise
from advdpnp.ranges import NonNegative, check_fields, unknown
from advdpnp.ranges import eps_text as eps_text
from advdpnp.ranges import parse_eps as parse_eps

Norm = Literal["linf", "l2", "l1"]
# The norms in which every pixel takes part in a step, as training and attacks made for these two want it.
Ball = Literal["linf", "l2"]


def _per_image_norm(v: Tensor) -> Tensor:
    """(B, ...) -> (B, 1, 1, ...) Euclidean norm of each image."""
    return _like(torch.linalg.vector_norm(v.flatten(1), dim=1), v)


def _like(values: Tensor, v: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, ...), of as many dimensions as v."""
    return values.view(-1, *[1] * (v.dim() - 1))


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


def onto_l1_ball(delta: Tensor, eps: float | Tensor) -> Tensor:
    """The nearest perturbation with ||delta||_1 <= eps, whatever the box: every entry shrinks by the same amount.

    By sorting (Duchi et al. 2008, Fig. 1): the amount is the largest of (sum of the k largest entries - eps) / k.

    Args:
        delta: (B, ...).
        eps: radius, at least 0.
    Returns:
        (B, ...).
    """
    size = delta.flatten(1).abs()
    sums = size.sort(dim=1, descending=True)[0].cumsum(dim=1)
    counts = torch.arange(1, size.shape[1] + 1, dtype=size.dtype, device=size.device)
    shrinkage = ((sums - eps) / counts).amax(dim=1, keepdim=True).clamp_min(0)
    return delta.sign() * (size - shrinkage).clamp_min(0).view_as(delta)


def into_l1_ball(delta: Tensor, x: Tensor, eps: float | Tensor) -> Tensor:
    """What to add to a perturbation so that it is the nearest one with ||delta||_1 <= eps and x + delta in [0, 1].

    The projection onto the ball cut with the box (Croce and Hein 2021, Prop. 2.1): every pixel shrinks by the same
    amount, but by no less than it is outside of the box and by no more than its size. What is added, and not the sum,
    is returned because x + delta + addition rounds as the official code does.

    Args:
        delta: (B, channels, H, W).
        x: (B, channels, H, W) in [0, 1].
        eps: radius, at least 0; (B,) for a radius of each row's own.
    Returns:
        (B, channels, H, W), of signs opposite to delta's.
    """
    rows = x.flatten(1)
    change = delta.flatten(1)
    size = change.abs()
    outside = -torch.minimum(1 - rows - change, rows + change).clamp_max(0)
    shrinkage = _shrinkage(outside, size, size.sum(dim=1) - eps)
    return (-change.sign() * torch.minimum(torch.maximum(outside, shrinkage[:, None]), size)).view_as(delta)


def _shrinkage(least: Tensor, most: Tensor, need: Tensor) -> Tensor:
    """The t >= 0 with sum_i clamp(t, least_i, most_i) = need; 0 where t = 0 gives enough: (B, n), (B, n), (B,) -> (B,).

    The sum is piecewise linear in t: its slope grows by 1 at each `least` and falls by 1 at each `most`.
    """
    corners, order = torch.cat((least, most), dim=1).sort(dim=1)
    slopes = torch.where(order < least.shape[1], 1.0, -1.0).to(least.dtype).cumsum(dim=1)
    base = least.sum(dim=1)
    rises = (corners.diff(dim=1) * slopes[:, :-1]).cumsum(dim=1)
    sums = base[:, None] + functional.pad(rises, (1, 0))
    before = ((sums < need[:, None]).sum(dim=1, keepdim=True) - 1).clamp_min(0)
    sum_before, slope, corner = (values.gather(1, before).squeeze(1) for values in (sums, slopes, corners))
    return torch.where(base < need, (need - sum_before) / slope + corner, 0.0)


@dataclass(frozen=True)
class ThreatModel:
    """Perturbations of norm at most `eps` that keep the image in [0, 1], and how an ascent moves among them.

    Args:
        norm: "linf", "l2" or "l1".
        eps: radius; in units of the pixel range [0, 1] for linf, Euclidean over all pixels for l2, the sum over all
            pixels for l1. A 0-dim tensor where the radius changes from step to step.
    Raises:
        ValueError: unknown norm, negative radius, or an linf radius above 1.
    """

    norm: Norm
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
        if self.norm == "l1":
            return torch.clamp(x + onto_l1_ball(delta, self.eps), 0.0, 1.0)
        # The tiny floor keeps 0 / 0 away; a zero delta stays zero.
        scale = (self.eps / _per_image_norm(delta).clamp_min(1e-12)).clamp_max(1.0)
        return torch.clamp(x + scale * delta, 0.0, 1.0)

    def start(self, x: Tensor, noise: Noise, stream: str = "start") -> Tensor:
        """A random point: uniform for linf; Gaussian (l2) or Laplace (l1) direction with uniform radius."""
        if self.norm == "linf":
            return self.project(x + (2 * noise.uniform(stream, tuple(x.shape[1:])) - 1) * self.eps, x)
        radius = _like(noise.uniform(stream + "/length", (1,)), x)
        return self.project(x + self._direction(x, noise, stream) * radius * self.eps, x)

    def edge(self, x: Tensor, noise: Noise, stream: str = "edge") -> Tensor:
        """A random point at the radius, cut to the box: a corner for linf, else in a direction as of `start`."""
        if self.norm == "linf":
            signs = torch.where(noise.uniform(stream, tuple(x.shape[1:])) < 0.5, -1.0, 1.0)
            return self.project(x + signs * self.eps, x)
        return self.project(x + self._direction(x, noise, stream) * self.eps, x)

    def _direction(self, x: Tensor, noise: Noise, stream: str) -> Tensor:
        if self.norm == "l1":
            return l1_direction(x, noise, stream)
        direction = noise.normal(stream, tuple(x.shape[1:]))
        return direction / _per_image_norm(direction).clamp_min(1e-12)

    def step(self, gradient: Tensor) -> Tensor:
        """Steepest ascent direction of unit norm, in l1 along one coordinate; zero where the gradient is zero."""
        if self.norm == "linf":
            return gradient.sign()
        if self.norm == "l2":
            return gradient / _per_image_norm(gradient).clamp_min(1e-12)
        flat = gradient.flatten(1)
        steepest = flat.abs().argmax(dim=1, keepdim=True)
        return torch.zeros_like(flat).scatter(1, steepest, flat.gather(1, steepest).sign()).view_as(gradient)

    def advance(self, point: Tensor, gradient: Tensor, step_size: float | Tensor, x: Tensor) -> Tensor:
        """The next point of an ascent: one step along the gradient at `point`, projected: (B, ...) -> (B, ...)."""
        return self.project(point + step_size * self.step(gradient), x)


def l1_direction(x: Tensor, noise: Noise, stream: str) -> Tensor:
    """A Laplace draw for each image, divided by its l1 norm: uniform on the l1 sphere. Shaped like x."""
    draw = 2 * noise.uniform(stream, tuple(x.shape[1:])) - 1
    # An exponential of a random sign; the bound stands for the one draw in 2^24 that would be infinite.
    direction = draw.sign() * -torch.log1p(-draw.abs()).clamp_min(-20.0)
    return direction / _like(direction.flatten(1).abs().sum(dim=1), x).clamp_min(1e-12)
