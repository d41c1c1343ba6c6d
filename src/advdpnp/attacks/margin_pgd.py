"""PGD on a margin, of logits or of probabilities: multi-targeted, with restarts and a step that decays."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

import torch
from torch import Tensor

from advdpnp import losses
from advdpnp.attacks.apgd_step import per_image
from advdpnp.attacks.l1_variants import SparseL1
from advdpnp.attacks.stepwise import AttackState, ChunkedModel, Queries, StepwiseAttack, fewer_targets
from advdpnp.noise import Noise
from advdpnp.ranges import Natural
from advdpnp.threat import ThreatModel

Margin = Literal["logits", "probabilities"]


@dataclass(frozen=True, kw_only=True)
class MarginPGD(StepwiseAttack[AttackState]):
    """Projected ascent on a margin from random starts, towards any other class and then towards one after another.

    Starts are inside of the ball and on its edge in turn: in linf an edge start is a corner, where activations with a
    threshold, as those of networks for MNIST, are more often awake.

    Of logits, max_{k != y} z_k - z_y, and z_t - z_y for a target t (MultiTargeted, Gowal et al. 2019); of
    probabilities, the same of the softmax (Probability Margin Attack, Xie et al. 2024, arXiv 2411.15210). The step
    falls along half a cosine from 2 eps to 0; in l1 it is SLIDE's, of the pixels of the largest 1 % of the gradient.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
        loss: the margin of the "logits" or of the "probabilities".
        steps: iterations of an ascent.
        restarts: ascents from different random points of the ball, for the nearest boundary and for each target.
        targets: other classes that are aimed at, likeliest first; all of them where there are fewer; 0 for the nearest
            boundary alone.
        target: the one class to aim at, in the place of these: ascent on its margin over the likeliest other class;
            None for any wrong class.
    Raises:
        ValueError: fields out of their ranges.
    """

    name: ClassVar[str] = "margin-pgd"

    loss: Margin = "logits"
    targets: Natural = 9

    @property
    def scale_free(self) -> bool:
        """A softmax saturates, logits do not."""
        return self.loss == "logits"

    def attempts(self, num_classes: int) -> int:
        return self.restarts if self.aims else (1 + min(self.targets, num_classes - 1)) * self.restarts

    def target_rank(self, attempt: int) -> int:
        # The first ones aim at whichever other class is the likeliest at the time.
        return -1 if self.aims else attempt // self.restarts - 1

    def note(self, num_classes: int) -> str:
        said = "" if self.aims else fewer_targets(self.targets, num_classes)
        return f"{self.name}: {said}" if said else ""

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> AttackState:
        stream = f"{self.name}/{self.loss}/{self.targets}/{self.steps}/start-{attempt}"
        on_edge = attempt % self.restarts % 2 == 1
        start = self._ball.edge(x, noise, stream) if on_edge else self._ball.start(x, noise, stream)
        return AttackState(x, y, target, start, torch.zeros_like(y))

    def step(self, network: ChunkedModel, state: AttackState, noise: Noise) -> Queries:
        points = state.point
        answer = network.gradient(points, self._margin, state.y, state.target)
        length = self.eps * (1 + torch.cos(math.pi / self.steps * state.age.to(points.dtype)))
        state.point = self._ball.advance(points, answer.gradient, per_image(length), state.x)
        state.age = state.age + 1
        return Queries(points, answer.logits)

    def _margin(self, logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
        values = losses.at_least_fp32(logits)
        values = values if self.loss == "logits" else values.softmax(dim=1)
        if self.aims:
            return -losses.margin(values, target)
        return torch.where(target == y, losses.margin(values, y), losses.lead(values, y, target))

    @cached_property
    def _ball(self) -> ThreatModel:
        return SparseL1("l1", self.eps) if self.norm == "l1" else ThreatModel(self.norm, self.eps)
