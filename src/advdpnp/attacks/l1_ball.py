"""Exact projection onto the l1 ball cut with the box of images (Croce and Hein 2021, arXiv 2103.01208, Prop. 2.1)."""

import torch
from torch import Tensor
from torch.nn import functional


def into_l1_ball(delta: Tensor, x: Tensor, eps: float | Tensor) -> Tensor:
    """What to add to a perturbation so that it is the nearest one with ||delta||_1 <= eps and x + delta in [0, 1].

    Every pixel shrinks by the same amount, but by no less than it is outside of the box and by no more than its size.
    What is added, and not the sum, is returned because x + delta + addition rounds as the official code does.

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
