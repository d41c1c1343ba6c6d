"""FAB-T, the targeted fast adaptive boundary attack (Croce and Hein 2020), as in standard AutoAttack."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.attacks.stepwise import AttackState, ChunkedModel, LossGradient, Queries, StepwiseAttack, fewer_targets
from advdpnp.losses import lead, margin
from advdpnp.noise import Noise
from advdpnp.ranges import Count, Range, Share, unknown
from advdpnp.threat import Norm

# Steps of Newton's method, which is exact after a few; only planes that almost miss the box would take more.
STEPS = 12
# Weights the official AutoAttack code takes for 0 in the l_2 and l_1 norms.
NEGLIGIBLE = 1e-8


def to_hyperplane(points: Tensor, w: Tensor, b: Tensor, norm: Norm) -> Tensor:
    """The smallest displacements that put points on {z: w.z = b} without leaving [0, 1]^d.

    Args:
        points: (..., d) in [0, 1].
        w: (..., d) normals, broadcast to the points.
        b: (...).
        norm: "linf", "l2" or "l1", in which the displacement is smallest.
    Returns:
        (..., d); where the plane misses the box, the displacement to the corner of the box that is nearest to the
        plane. 0 where w is 0.
    """
    height = (w * points).sum(dim=-1) - b
    if norm in ("l2", "l1"):
        w = functional.hardshrink(w, NEGLIGIBLE)
    elif norm != "linf":
        raise unknown("norm", norm, Norm)
    steepness = w.abs()
    direction = torch.where(height >= 0, -1.0, 1.0).to(w.dtype).unsqueeze(-1) * w.sign()
    # 1 - z upwards, z downwards. Branches over whole tensors, torch.where, are many times slower on a CPU.
    room = direction.clamp_min(0) - direction * points
    if norm == "l1":
        return direction * _steepest_first(height.abs(), steepness, room)
    pace = steepness if norm == "l2" else torch.ones_like(steepness)
    time = _arrival(height.abs(), steepness * pace, steepness * room)
    return direction * torch.minimum(time.unsqueeze(-1) * pace, room)


def _steepest_first(height: Tensor, steepness: Tensor, room: Tensor) -> Tensor:
    """How far each pixel goes if those of the largest weights go first, to the box, and the last as far as is left.

    (...), (..., d), (..., d) -> (..., d) in [0, room].
    """
    slopes, order = steepness.sort(dim=-1, descending=True, stable=True)
    order = order.expand_as(room)
    limits = room.gather(-1, order)
    before = functional.pad((slopes * limits).cumsum(dim=-1)[..., :-1], (1, 0))
    left = (height.unsqueeze(-1) - before).clamp_min(0)
    way = torch.minimum(left / slopes.clamp_min(torch.finfo(slopes.dtype).tiny), limits)
    return torch.zeros_like(room).scatter(-1, order, way)


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


@dataclass(frozen=True, kw_only=True)
class FABT(StepwiseAttack[AttackState]):
    """Steps to the linearized boundary with the target class, biased towards the image; back inside once across.

    The attack seeks the nearest adversarial image of any radius; `eps` decides which ones count.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
        steps: iterations for each target and restart.
        restarts: attempts at each target; the first starts at the image, others at a random point eps / 2 from it.
        targets: other classes that are aimed at, likeliest first; all of them where there are fewer.
        alpha_max: largest weight of the image's own projection, in [0, 1].
        eta: overshooting of the projections, at least 1.
        beta: share of the perturbation that is kept once across the boundary, in (0, 1].
        target: the one class to aim at, in the place of these: steps to its boundary with whichever other class is the
            likeliest; None for any wrong class.
    Raises:
        ValueError: fields out of these ranges.
    """

    name: ClassVar[str] = "fab-t"
    scale_free: ClassVar[bool] = True
    random_start: ClassVar[bool] = False
    cost: ClassVar[float] = 1.4

    norm: Norm = "linf"
    targets: Count = 9
    alpha_max: Share = 0.1
    eta: Annotated[float, Range("[1, inf)")] = 1.05
    beta: Annotated[float, Range("(0, 1]")] = 0.9

    def attempts(self, num_classes: int) -> int:
        return self.restarts if self.aims else min(self.targets, num_classes - 1) * self.restarts

    def target_rank(self, attempt: int) -> int:
        return -1 if self.aims else attempt // self.restarts

    def note(self, num_classes: int) -> str:
        said = "" if self.aims else fewer_targets(self.targets, num_classes)
        return f"{self.name}: {said}" if said else ""

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> AttackState:
        at_image = attempt % self.restarts == 0
        point = x.clone() if at_image else self._random_point(x, noise, f"fab-{attempt}")
        return AttackState(x, y, target, point, torch.zeros_like(y))

    def step(self, network: ChunkedModel, state: AttackState, noise: Noise) -> Queries:
        answer = network.gradient(state.point, self._loss, state.y, state.target)
        point = self.next_point(state.x, state.point, answer)
        seen = Queries(point, network.logits(point))
        across = self.succeeded(seen.logits, state).view(-1, 1, 1, 1)
        state.point = torch.where(across, state.x + (point - state.x) * self.beta, point)
        state.age += 1
        return seen

    def next_point(self, x: Tensor, point: Tensor, answer: LossGradient) -> Tensor:
        """Where the plane on which the linearized lead is 0 is nearest to the point, and to the image.

        Args:
            x, point: (B, channels, H, W), the image and the iterate.
            answer: the lead of the target and its gradient at the iterate.
        """
        w = answer.gradient.flatten(1)
        both = torch.stack((point.flatten(1), x.flatten(1)))
        steps = to_hyperplane(both, w, (w * both[0]).sum(dim=1) - answer.loss, self.norm)
        return self._biased(both, steps).view_as(x)

    def _loss(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        return -margin(logits, target) if self.aims else lead(logits, y, target)

    def _random_point(self, x: Tensor, noise: Noise, stream: str) -> Tensor:
        shape = tuple(x.shape[1:])
        direction = 2 * noise.uniform(stream, shape) - 1 if self.norm == "linf" else noise.normal(stream, shape)
        length = self._size(direction.flatten(1)).view(-1, 1, 1, 1)
        return (x + self.eps * direction / length * 0.5).clamp(0, 1)

    def _biased(self, both: Tensor, steps: Tensor) -> Tensor:
        """Between the projections of the point and of the image, nearer to the image's the shorter its step is."""
        of_point, of_image = self._size(steps).clamp_min(1e-8).unbind()
        bias = (of_point / (of_point + of_image)).clamp_max(self.alpha_max).unsqueeze(1)
        point, image = (both + self.eta * steps).unbind()
        return (point * (1 - bias) + image * bias).clamp(0, 1)

    def _size(self, steps: Tensor) -> Tensor:
        """(..., d) -> (...), in the attack's norm."""
        if self.norm == "l1":
            return steps.abs().sum(dim=-1)
        size: Tensor = steps.abs().amax(dim=-1) if self.norm == "linf" else steps.square().sum(dim=-1).sqrt()
        return size
