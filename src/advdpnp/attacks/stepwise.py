"""Attacks as searches whose rows advance independently, so that one batch can hold images, targets and ages at will.

A search says how one row begins and what one iteration does to it. `attack_batch` runs a batch from beginning to end;
`advdpnp.evaluation` keeps a fixed number of rows busy over a whole data set with the same searches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

from advdpnp.attacks.attack import Attack, Logits
from advdpnp.attacks.monitored_model import about
from advdpnp.losses import is_label, is_right
from advdpnp.noise import IndexNoise, Noise
from advdpnp.threat import Norm, distance

# (logits (B, C), labels (B,), target classes (B,)) -> (B,)
RowLoss = Callable[[Tensor, Tensor, Tensor], Tensor]

# Rounding of the projections in fp32: the distance of a point that was put on the sphere.
SLACK = 1e-5


@dataclass
class AttackState:
    """What a search knows of its rows: every field of a subclass, too, is a tensor with the row first.

    Args:
        x: (B, channels, H, W) clean images.
        y: (B,) int64 labels.
        target: (B,) int64 classes to reach; equal to y where the search has no target.
        point: (B, channels, H, W), the iterate.
        age: (B,) int64, iterations done.
    """

    x: Tensor
    y: Tensor
    target: Tensor
    point: Tensor
    age: Tensor

    def take(self, rows: Tensor) -> Self:
        """These rows: (k,) int64 or (B,) bool."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def put(self, rows: Tensor, other: Self) -> None:
        """Write the rows of `other` over these rows: (k,) int64."""
        for field in fields(self):
            getattr(self, field.name)[rows] = getattr(other, field.name)


AttackStateT = TypeVar("AttackStateT", bound=AttackState)


class LossGradient(NamedTuple):
    """What the network says of points: logits (B, C), loss (B,), input gradient of the loss (B, channels, H, W)."""

    logits: Tensor
    loss: Tensor
    gradient: Tensor


class Queries(NamedTuple):
    """Points (B, channels, H, W) at which an iteration has asked the network, and their logits (B, C)."""

    points: Tensor
    logits: Tensor


class ChunkedModel:
    """The attacked network, asked in parts of one shape.

    Args:
        logits_fn: (B, channels, H, W) in [0, 1] -> logits (B, C).
        part: rows of every forward, of which each batch is a multiple; None for whole batches.
    """

    def __init__(self, logits_fn: Logits, part: int | None = None) -> None:
        self._logits_fn, self._part = logits_fn, part

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """(B, C), without a gradient."""
        parts = [self._logits_fn(part) for (part,) in self._parts(x)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def gradient(self, x: Tensor, loss: RowLoss, y: Tensor, target: Tensor) -> LossGradient:
        """The loss of each row and its gradient with respect to that row."""
        parts = [self._one_gradient(loss, *part) for part in self._parts(x, y, target)]
        return parts[0] if len(parts) == 1 else LossGradient(*(torch.cat(values) for values in zip(*parts)))

    def _parts(self, *batch: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """The batch in parts, each asked about its own rows."""
        count = len(batch[0])
        for first in range(0, count, self._part or count):
            rows = slice(first, first + (self._part or count))
            with about(self._logits_fn, rows):
                yield tuple(values[rows] for values in batch)

    def _one_gradient(self, loss: RowLoss, x: Tensor, y: Tensor, target: Tensor) -> LossGradient:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits = self._logits_fn(x)
            values = loss(logits, y, target)
            # The sum, not the mean: rows are independent, and small gradients do not underflow.
            (gradient,) = torch.autograd.grad(values.sum(), x)
        # A network in float64 must not turn the state of its rows into float64: new rows could not be put among them.
        values = values.detach().to(x.dtype)
        # No number is no ground to prefer a point for.
        return LossGradient(logits.detach(), torch.where(values.isnan(), -torch.inf, values), gradient.contiguous())


class StepwiseAttack(Attack, Protocol[AttackStateT]):
    """A frozen dataclass; every tensor operation of it treats each row alone."""

    # Whether the official code takes a row out of the batch as soon as it is misclassified. It decides nothing but the
    # order of the draws of a generator that the whole batch shares.
    drops: ClassVar[bool]
    # How many input gradients one iteration takes as long as.
    cost: ClassVar[float]

    @property
    def length(self) -> int:
        """Iterations of one attempt."""

    def attempts(self, num_classes: int) -> int:
        """Independent attempts at each image: targets times restarts."""

    def target_rank(self, attempt: int) -> int:
        """Which other class the attempt aims at, 0 the likeliest; -1 for none."""

    def note(self, num_classes: int) -> str:
        """What a network with so many classes changes, in a sentence; "" for nothing."""

    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> AttackStateT:
        """Rows of age 0; does not ask the network."""

    def step(self, network: ChunkedModel, state: AttackStateT, noise: Noise) -> Queries:
        """One iteration of every row: writes to `state`, adds 1 to its ages, and returns what the network was asked."""


def ranked_targets(logits: Tensor, y: Tensor) -> Tensor:
    """The classes other than the label, likeliest first: (B, C), (B,) -> (B, C - 1) int64."""
    own = is_label(y, logits.shape[1])
    return logits.masked_fill(own, torch.inf).sort(dim=1)[1].flip(1)[:, 1:]


def targets(search: StepwiseAttack[AttackStateT], attempt: int, ranked: Tensor, y: Tensor) -> Tensor:
    """The classes that an attempt aims at: (B,) int64; the label where it aims at none."""
    place = search.target_rank(attempt)
    return y if place < 0 else ranked[:, place]


def fewer_targets(wanted: int, num_classes: int) -> str:
    """What to say where there are not as many other classes as a search aims at; "" where there are."""
    others = num_classes - 1
    if others >= wanted:
        return ""
    return f"{num_classes} classes: {others} {'target' if others == 1 else 'targets'} instead of {wanted}"


def succeeds(search: StepwiseAttack[AttackStateT], state: AttackStateT, seen: Queries, among: Tensor) -> Tensor:
    """Which rows' points are not right and within the radius, of those `among`: (B,) bool -> (B,) bool."""
    found = among & ~is_right(seen.logits, state.y)
    # In most iterations there is none, and no distance is needed.
    return found & within(seen.points, state.x, search.norm, search.eps) if found.any() else found


def within(points: Tensor, x: Tensor, norm: Norm, eps: float) -> Tensor:
    """Which points are in the ball, up to rounding, and in [0, 1]: (B,) bool."""
    inside = (points >= 0).flatten(1).all(dim=1) & (points <= 1).flatten(1).all(dim=1)
    return inside & (distance(points, x, norm) <= eps * (1 + SLACK) + 1e-7)


def attack_batch(
    search: StepwiseAttack[AttackStateT], logits_fn: Logits, x: Tensor, y: Tensor, noise: Noise | None = None
) -> Tensor:
    """Run a search on one batch, attempt after attempt, each on the images that are still classified correctly.

    Args:
        search: the attack.
        logits_fn, x, y, noise: as an attack is called with.
    Returns:
        (B, channels, H, W): the first adversarial image that was found for each image, else the image itself.
    """
    noise = noise or IndexNoise(0, torch.arange(len(x), device=x.device))
    network = ChunkedModel(logits_fn)
    clean = network.logits(x)
    ranked, robust, best = ranked_targets(clean, y), is_right(clean, y), x.clone()
    for attempt in range(search.attempts(clean.shape[1])):
        rows = robust.nonzero().squeeze(1)
        if len(rows) == 0:
            break
        target = targets(search, attempt, ranked[rows], y[rows])
        state = search.init(x[rows], y[rows], target, attempt, noise.rows(rows))
        for _ in range(search.length):
            with about(logits_fn, rows):
                seen = search.step(network, state, noise.rows(rows))
            fresh = succeeds(search, state, seen, robust[rows])
            best[rows[fresh]] = seen.points[fresh]
            robust[rows[fresh]] = False
            if not robust[rows].any():
                break
            if search.drops and fresh.any():
                state, rows = state.take(~fresh), rows[~fresh]
    return best
