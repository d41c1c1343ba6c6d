"""The nearest point of a hyperplane within the box [0, 1]^d, in the l_inf and l_2 norms (Croce and Hein 2020, Eq. 5).

Coordinates go downhill, each at its pace, until they meet the box: what all have come down after the time m is concave,
increasing and piecewise linear in m, so Newton's method from 0 climbs to the time of arrival and never passes it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.threat import Norm

# Newton's method is exact after a few steps; only planes that all but miss the box take more than these.
STEPS = 12
# Weights the official AutoAttack code takes for 0 in the l_2 norm.
NEGLIGIBLE = 1e-8


def to_hyperplane(points: Tensor, w: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """The smallest displacements that put points on {z: w.z = b} without leaving [0, 1]^d.

    Args:
        points: (..., d) in [0, 1].
        w: (..., d) normals, broadcast to the points.
        b: (...).
        norm: "linf" or "l2", in which the displacement is smallest.
    Returns:
        (..., d); where the plane misses the box, the way to the corner of the box that is nearest to the plane. 0 where
        w is 0.
    """
    height = (w * points).sum(dim=-1) - b
    if norm == "l2":
        w = functional.hardshrink(w, NEGLIGIBLE)
    steepness = w.abs()
    direction = torch.where(height >= 0, -1.0, 1.0).to(w.dtype).unsqueeze(-1) * w.sign()
    # 1 - z upwards, z downwards. Branches over whole tensors, torch.where, are many times slower on a CPU.
    room = direction.clamp_min(0) - direction * points
    pace = steepness if norm == "l2" else torch.ones_like(steepness)
    time = _arrival(height.abs(), steepness * pace, steepness * room)
    return direction * torch.minimum(time.unsqueeze(-1) * pace, room)


def _arrival(height: Tensor, speed: Tensor, depth: Tensor) -> Tensor:
    """The m with sum_i min(m speed_i, depth_i) = height: (...), (..., d), (..., d) -> (...); huge if there is none."""
    limits = torch.finfo(height.dtype)
    time, moving = torch.zeros_like(height), torch.empty_like(depth)
    for _ in range(STEPS):
        way = time.unsqueeze(-1) * speed
        torch.lt(way, depth, out=moving)
        left = (height - torch.minimum(way, depth).sum(dim=-1)).clamp_min(0)
        time = (time + left / (moving * speed).sum(dim=-1).clamp_min(limits.tiny)).clamp_max(limits.max)
    return torch.where(height < depth.sum(dim=-1), time, limits.max)
