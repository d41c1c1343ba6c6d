"""Attacks made of iterations that treat each image alone, so that one batch can hold images at any point of an attack.

A `StepwiseAttack` says how an attempt at one image begins and what one iteration does to it. `attack_batch` attacks one
batch from beginning to end; `advdpnp.evaluation.batching` attacks a whole data set in full batches.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import torch
from torch import Tensor

from advdpnp.attacks.attack import Attack, Logits, Target, attack_call, check_attack, succeeded
from advdpnp.attacks.monitored_model import PointObjective, about, monitored_objective
from advdpnp.losses import is_label
from advdpnp.noise import IndexNoise, Noise
from advdpnp.ranges import Count, NonNegative
from advdpnp.threat import Norm, distance

# (logits (B, C), labels (B,), target classes (B,), and what else a row may have) -> (B,)
RowLoss = Callable[..., Tensor]

# By how much of eps rounding in fp32 may put a projected point outside of the ball.
SLACK = 1e-5


@dataclass
class AttackState:
    """What an attack knows of each row of a batch; each field, of subclasses too, is a tensor with the row first.

    Args:
        x: (B, channels, H, W) clean images.
        y: (B,) int64 labels.
        target: (B,) int64 classes to reach; equal to y where the attack has no target.
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
    """The network at some points: logits (B, C), loss (B,), input gradient of the loss (B, channels, H, W)."""

    logits: Tensor
    loss: Tensor
    gradient: Tensor


class Queries(NamedTuple):
    """What an iteration has asked the network.

    Args:
        points: (B, channels, H, W), where it was called.
        logits: (B, C), what it said there.
        asked: (B,) bool, the rows it was called for; None for all. Points and logits of others mean nothing.
    """

    points: Tensor
    logits: Tensor
    asked: Tensor | None = None


class ChunkedModel:
    """The attacked network, called on chunks of one shape.

    Args:
        logits_fn: (B, channels, H, W) in [0, 1] -> logits (B, C).
        chunk: rows of every forward, of which each batch is a multiple; None for whole batches.
        together: how many rows may go at once, where so many are left; None for no more than a chunk.
    """

    def __init__(
        self, logits_fn: Logits, chunk: int | None = None, together: Callable[[int], int] | None = None
    ) -> None:
        self._logits_fn, self._chunk, self._together = logits_fn, chunk, together

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """(B, C), without a gradient."""
        found = [self._logits_fn(chunk) for (chunk,) in self._chunks(x)]
        return found[0] if len(found) == 1 else torch.cat(found)

    @property
    def repeats(self) -> bool:
        """Whether a point is known to get the same logits whenever it is asked about, whatever is asked beside it."""
        return self._together is not None

    def logits_of(self, points: Tensor, rows: Tensor) -> Tensor:
        """Logits (k, C) without a gradient at points (k, channels, H, W) of some rows of the batch, (k,) int64."""
        count, chunk = len(rows), self._chunk or len(rows)
        padded = torch.arange(-(-count // chunk) * chunk, device=rows.device).clamp_max_(count - 1)
        with about(self._logits_fn, rows[padded]):
            return self.logits(points[padded])[:count]

    def gradient(self, x: Tensor, loss: RowLoss, *rows: Tensor) -> LossGradient:
        """The loss of each row and its gradient in that row; `rows` are what the loss takes beside logits."""

        def ask(points: Tensor, *of_rows: Tensor) -> tuple[Tensor, Tensor]:
            logits = self._logits_fn(points)
            return logits, loss(logits, *of_rows)

        return self._gradients(ask, x, *rows)

    def objective_gradient(self, x_adv: Tensor, objective: PointObjective, x: Tensor, y: Tensor) -> LossGradient:
        """The same of a function of network, image, attacked image and label; see `MonitoredModel.objective`."""

        def ask(points: Tensor, clean: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            with torch.no_grad():
                logits = self._logits_fn(points)
            return logits, monitored_objective(self._logits_fn, objective, clean, points, labels)

        return self._gradients(ask, x_adv, x, y)

    def _chunks(self, *batch: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """The batch in chunks; while one is used, a `MonitoredModel` knows which rows it is about."""
        count, first = len(batch[0]), 0
        while first < count:
            left = count - first
            size = self._together(left) if self._together is not None else self._chunk or left
            if size >= count:
                yield batch
                return
            rows = slice(first, first + size)
            with about(self._logits_fn, rows):
                yield tuple(values[rows] for values in batch)
            first += size

    def _gradients(self, ask: Callable[..., tuple[Tensor, Tensor]], x: Tensor, *rows: Tensor) -> LossGradient:
        """`ask` says the logits of points, and the values of which the gradient is wanted."""
        found = [self._gradient(ask, *chunk) for chunk in self._chunks(x, *rows)]
        return found[0] if len(found) == 1 else LossGradient(*(torch.cat(values) for values in zip(*found)))

    def _gradient(self, ask: Callable[..., tuple[Tensor, Tensor]], x: Tensor, *rows: Tensor) -> LossGradient:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            logits, values = ask(x, *rows)
            # The sum, not the mean: rows are independent, and small gradients do not underflow.
            (gradient,) = torch.autograd.grad(values.sum(), x)
        # A network in float64 must not turn the state of its rows into float64: new rows could not be put among them.
        values = values.detach().to(x.dtype)
        # A loss of NaN never makes a point the best one.
        return LossGradient(logits.detach(), torch.where(values.isnan(), -torch.inf, values), gradient.contiguous())


class SequentialAttack(ABC):
    """An attack that is one stepwise attack, or several, each on the images that are still classified correctly.

    Evaluation runs what derives from this class in full batches, see `advdpnp.evaluation.batching`.
    """

    # What the first so many of the attacks are by themselves, by name: results have the accuracy under these too.
    tiers: ClassVar[tuple[tuple[str, int], ...]] = ()

    @property
    @abstractmethod
    def attacks_to_run(self) -> "tuple[StepwiseAttack[Any], ...]":
        """The stepwise attacks, in their order."""

    @attack_call
    def __call__(
        self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None, target: Tensor | None = None
    ) -> Tensor:
        return attack_batch(self.attacks_to_run, logits_fn, x, y, noise, target)


@dataclass(frozen=True, kw_only=True)
class StepwiseAttack(SequentialAttack, Generic[AttackStateT]):
    """An attack whose `init` and `step` treat each row of a batch alone, whatever the other rows are.

    Args:
        eps: radius in the units of the norm.
        norm: "linf", "l2" or "l1".
        steps: iterations, as results state them.
        restarts: attempts at each image, or at each target class of it.
        target: the class to aim at, for all images; None where any wrong class will do.
    """

    name: ClassVar[str]
    step_size: ClassVar[float | None] = None
    random_start: ClassVar[bool] = True
    # How many input gradients one iteration takes as long as.
    cost: ClassVar[float] = 1.0
    # Whether an attempt goes on after a success, to a nearer one: what counts is the nearest.
    seeks_nearest: ClassVar[bool] = False

    eps: NonNegative = 8 / 255
    norm: Norm = "linf"
    steps: Count = 100
    restarts: Count = 1
    target: Target = None

    def __post_init__(self) -> None:
        check_attack(self)

    @property
    def aims(self) -> bool:
        """Whether only the target counts as a success; each row has its own as `AttackState.target`."""
        return self.target is not None

    @property
    def attacks_to_run(self) -> "tuple[StepwiseAttack[AttackStateT], ...]":
        """The attack itself."""
        return (self,)

    @property
    def length(self) -> int:
        """Calls of `step` in one attempt."""
        return self.steps

    def attempts(self, num_classes: int) -> int:
        """Independent attempts at each image."""
        return self.restarts

    def target_rank(self, attempt: int) -> int:
        """Which other class the attempt aims at, 0 the likeliest; -1 for none."""
        return -1

    def note(self, num_classes: int) -> str:
        """A sentence on what so few classes change in the attack; "" where they change nothing."""
        return ""

    def succeeded(self, logits: Tensor, state: AttackStateT) -> Tensor:
        """Which rows are at the goal with these logits, (B, C): misclassified, or of the class aimed at: (B,) bool."""
        return succeeded(logits, state.y, state.target if self.aims else None)

    def finished(self, state: AttackStateT, found: Tensor) -> Tensor:
        """Which attempts are over before their last iteration; those `found` have just succeeded: (B,) -> (B,) bool."""
        return found

    @abstractmethod
    def init(self, x: Tensor, y: Tensor, target: Tensor, attempt: int, noise: Noise) -> AttackStateT:
        """Rows of age 0, made without calling the network."""

    @abstractmethod
    def step(self, network: ChunkedModel, state: AttackStateT, noise: Noise) -> Queries:
        """One iteration of every row: writes to `state`, adds 1 to its ages, and returns the points it looked at."""


class NearestSearch(StepwiseAttack[AttackStateT]):
    """One search for each image, that goes on to the nearest adversarial point; `restarts` is 1."""

    scale_free: ClassVar[bool] = True
    random_start: ClassVar[bool] = False
    seeks_nearest: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.restarts != 1:
            raise ValueError(f"{self.name} is one search for each image: leave restarts 1; got {self.restarts}")


def stepwise_attacks(attack: Attack) -> tuple[StepwiseAttack[Any], ...]:
    """The stepwise attacks that an attack runs; none where it is called as a whole, as PGD is."""
    return attack.attacks_to_run if isinstance(attack, SequentialAttack) else ()


def ranked_targets(logits: Tensor, y: Tensor) -> Tensor:
    """The classes other than the label, likeliest first: (B, C), (B,) -> (B, C - 1) int64."""
    own = is_label(y, logits.shape[1])
    return logits.masked_fill(own, torch.inf).sort(dim=1)[1].flip(1)[:, 1:]


def rivals(logits: Tensor, y: Tensor, count: int) -> Tensor:
    """The `count` likeliest classes other than the label, likeliest first; the last again where there are fewer.

    (B, C), (B,) -> (B, count) int64.
    """
    found = ranked_targets(logits, y)[:, :count]
    return torch.cat([found, found[:, -1:].repeat(1, count - found.shape[1])], dim=1)


def chosen(rivals: Tensor, place: Tensor) -> Tensor:
    """The rival at a place of each row, or the nearest place that there is: (B, count), (B,) int64 -> (B,) int64."""
    return rivals.gather(1, place.clamp(0, rivals.shape[1] - 1)[:, None]).squeeze(1)


def targets(attack: StepwiseAttack[AttackStateT], attempt: int, ranked: Tensor, y: Tensor) -> Tensor:
    """The classes that an attempt aims at: (B,) int64; the label where it aims at none."""
    if attack.target is not None:
        return torch.full_like(y, attack.target)
    rank = attack.target_rank(attempt)
    # A copy: rows of other attempts, with a target, may be written over these.
    return y.clone() if rank < 0 else ranked[:, rank]


def fewer_targets(wanted: int, num_classes: int) -> str:
    """The note of an attack that has fewer classes to aim at than it wants; "" where there are enough."""
    others = num_classes - 1
    if others >= wanted:
        return ""
    return f"{num_classes} classes: {others} {'target' if others == 1 else 'targets'} instead of {wanted}"


def succeeds(attack: StepwiseAttack[AttackStateT], state: AttackStateT, queries: Queries, among: Tensor) -> Tensor:
    """Which points are at the goal and within the radius, of the rows `among`: (B,) bool -> (B,) bool."""
    if queries.asked is not None:
        among = among & queries.asked
        if not among.any():
            return among
    found = among & attack.succeeded(queries.logits, state)
    # In most iterations there is none, and no distance is needed.
    return found & within(queries.points, state.x, attack.norm, attack.eps) if found.any() else found


def within(points: Tensor, x: Tensor, norm: Norm, eps: float) -> Tensor:
    """Which points are in the ball, up to rounding, and in [0, 1]: (B,) bool."""
    inside = (points >= 0).flatten(1).all(dim=1) & (points <= 1).flatten(1).all(dim=1)
    return inside & (distance(points, x, norm) <= eps * (1 + SLACK) + 1e-7)


def attack_batch(
    attacks: tuple[StepwiseAttack[Any], ...],
    logits_fn: Logits,
    x: Tensor,
    y: Tensor,
    noise: Noise | None = None,
    target: Tensor | None = None,
) -> Tensor:
    """Run attacks on one batch, attempt after attempt, each on the images that none has broken yet.

    Args:
        attacks: in their order.
        logits_fn, x, y, noise: as an attack is called with.
        target: (B,) int64, the class that is aimed at for each image; None where any wrong class will do.
    Returns:
        (B, channels, H, W): the first adversarial image that was found for each image, or the nearest of an attack
        that seeks it, else the image itself.
    """
    noise = noise or IndexNoise(0, torch.arange(len(x), device=x.device))
    network = ChunkedModel(logits_fn)
    clean = network.logits(x)
    ranked, left, x_adv = ranked_targets(clean, y), ~succeeded(clean, y, target), x.clone()
    nearest = x.new_full((len(x),), torch.inf)
    if target is not None:
        left &= target != y
        # What an attack does depends on whether it aims, and each row knows at what.
        attacks = tuple(replace(attack, target=0) for attack in attacks)
    attempts = [(attack, number) for attack in attacks for number in range(attack.attempts(clean.shape[1]))]
    for attack, attempt in attempts:
        rows = left.nonzero().squeeze(1)
        if len(rows) == 0:
            break
        aimed_at = targets(attack, attempt, ranked[rows], y[rows]) if target is None else target[rows]
        state = attack.init(x[rows], y[rows], aimed_at, attempt, noise.rows(rows))
        for _ in range(attack.length):
            with about(logits_fn, rows):
                queries = attack.step(network, state, noise.rows(rows))
            found = succeeds(attack, state, queries, left[rows])
            if found.any():
                norms = distance(queries.points, state.x, attack.norm)
                nearer = found & (norms < nearest[rows])
                x_adv[rows[nearer]], nearest[rows[nearer]] = queries.points[nearer], norms[nearer]
            over = attack.finished(state, found)
            if over.any():
                left[rows[over]] = False
                state, rows = state.take(~over), rows[~over]
                if len(rows) == 0:
                    break
    return x_adv
