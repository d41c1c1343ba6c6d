"""Stepwise attacks over a whole data set, in full batches.

Each row of the batch is one attempt at one image. When the attempt is over, by success or after its last iteration, the
row takes the next one at once, so the network always gets full batches of one shape, although images are broken after
different times. Rows are attacked independently and their noise is keyed by image, so a verdict depends neither on the
rows beside it nor on when it was reached.

`advdpnp.attacks.stepwise.attack_batch` attacks a single batch in the same order. It stays beside this, since it returns
the adversarial images, of which this keeps the verdicts alone, and needs no progress, files or second network.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor

from advdpnp.attacks import Attack, record
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.attacks.stepwise import (
    AttackStateT,
    ChunkedModel,
    StepwiseAttack,
    ranked_targets,
    stepwise_attacks,
    succeeds,
    targets,
)
from advdpnp.callbacks import EvaluationCallback
from advdpnp.evaluation.forward_shapes import ForwardShapes
from advdpnp.evaluation.single_pass import AttackTarget, chunks, in_precision
from advdpnp.evaluation.state import AttackProgress, EvaluationState
from advdpnp.noise import AheadNoise, IndexNoise
from advdpnp.radii import radius_fields
from advdpnp.result_files import Verdicts, targeted
from advdpnp.runs import Json
from advdpnp.threat import distance


@dataclass
class _SameRows:
    """The rows of a batch, until one of them becomes free or takes another attempt.

    Args:
        running, free: (B,) bool, on the device of the attack; `free` is None where no row is.
        about: (B,) int64, the image of each row, of free ones one more than there are images.
        noise: of their images.
        count: how many run.
        steps_left: see `BatchedAttack.steps_left`.
        until_over: iterations until the first attempt is over.
    """

    running: Tensor
    free: Tensor | None
    about: Tensor
    noise: IndexNoise
    count: int
    steps_left: int
    until_over: int


class BatchedAttack(Generic[AttackStateT]):
    """One stepwise attack on a set of images, continued from where its progress stands.

    Args:
        attack: the attack.
        target: what is attacked.
        ranked: (n, k) int64, other classes of each image, likeliest first; at least as many as the attack aims at.
        progress: what is done so far; its images are those of `target.places`.
        chunk: rows of every forward.
        rows: rows of a batch, a multiple of `chunk`.
        shapes: which other numbers of rows may go at once; None for none.
    """

    def __init__(
        self,
        attack: StepwiseAttack[AttackStateT],
        target: AttackTarget,
        ranked: Tensor,
        progress: AttackProgress,
        chunk: int,
        rows: int,
        shapes: ForwardShapes | None = None,
    ) -> None:
        self._attack, self._target, self._ranked, self._progress = attack, target, ranked, progress
        self._chunk, self._rows, self._length = chunk, rows, attack.length
        # One more than there are images: free rows are computed too, but are about no image.
        self._monitored = MonitoredModel(target.attacked_model, len(target.places) + 1, target.places.device)
        self._network = ChunkedModel(self._monitored, chunk, shapes)
        self._state: AttackStateT | None = None
        # Of each row: its image, its attempt, the iterations done, and whether the attempt still runs, else the row is
        # free. On the CPU, where they are read.
        self._image = torch.zeros(0, dtype=torch.int64)
        self._attempt, self._age, self._running = self._image.clone(), self._image.clone(), self._image.bool()
        self._next_attempt, self._queue = 0, self._image.clone()
        # What an iteration needs to know of the rows, as long as they are the same ones.
        self._same: _SameRows | None = None

    @property
    def steps_left(self) -> int:
        """Iterations of single rows that are still to be made, if no further image is broken."""
        if self._same is not None:
            return self._same.steps_left
        return self._progress.left() * self._length - int(self._age[self._running].sum())

    @property
    def rows_changed(self) -> bool:
        """Whether the last iteration has ended an attempt or found a success."""
        return self._same is None

    def run(self, on_step: Callable[[], None]) -> None:
        """To the end; `on_step` is called after every iteration."""
        while self._fill():
            began = time.perf_counter()
            self._step()
            self._progress.seconds += time.perf_counter() - began
            on_step()

    def _fill(self) -> bool:
        """Start new attempts in free rows; False where nothing is left to do."""
        if self._same is not None:
            return True
        if self._state is None:
            self._allocate()
        while not self._running.all() and (popped := self._pop(int((~self._running).sum()))) is not None:
            self._load(*popped)
        if self._running.any() and len(self._running) - int(self._running.sum()) >= self._chunk:
            self._shrink()
        return bool(self._running.any())

    def _pop(self, count: int) -> tuple[int, Tensor] | None:
        """The next attempt, and up to `count` images for it, or None; all first attempts come before any second."""
        progress = self._progress
        while True:
            self._queue = self._queue[progress.pending[self._queue]]
            if len(self._queue):
                images, self._queue = self._queue[:count], self._queue[count:]
                return self._next_attempt - 1, images
            if self._next_attempt == len(progress.tried):
                return None
            self._queue = (progress.pending & ~progress.tried[self._next_attempt]).nonzero().squeeze(1)
            self._next_attempt += 1

    def _init(self, attempt: int, images: Tensor) -> AttackStateT:
        where = images.to(self._target.places.device)
        index = self._target.places[where]
        x, y = self._target.images.batch(index)
        aimed_at = targets(self._attack, attempt, self._ranked[where], y)
        return self._attack.init(x, y, aimed_at, attempt, IndexNoise(self._target.seed, index))

    def _allocate(self) -> None:
        """Make as many rows as there are attempts for, free at first."""
        rows = min(self._rows, self._whole_chunks(self._progress.left()))
        if rows and (popped := self._pop(1)) is not None:
            attempt, images = popped
            self._queue = torch.cat([images, self._queue])
            self._image, self._attempt = images.repeat(rows), torch.full((rows,), attempt)
            self._age, self._running = torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, dtype=torch.bool)
            self._state = self._init(attempt, self._image)

    def _load(self, attempt: int, images: Tensor) -> None:
        free = (~self._running).nonzero().squeeze(1)[: len(images)]
        assert self._state is not None
        self._state.put(free.to(self._ranked.device), self._init(attempt, images))
        self._image[free], self._attempt[free], self._age[free], self._running[free] = images, attempt, 0, True

    def _whole_chunks(self, count: int) -> int:
        return -(-count // self._chunk) * self._chunk

    def _shrink(self) -> None:
        """Keep the rows whose attempts run, and free ones up to a whole chunk."""
        order = (~self._running).int().argsort(stable=True)[: self._whole_chunks(int(self._running.sum()))]
        assert self._state is not None
        self._state = self._state.take(order.to(self._ranked.device))
        self._image, self._attempt, self._age, self._running = (
            values[order] for values in (self._image, self._attempt, self._age, self._running)
        )

    def _step(self) -> None:
        state, progress = self._state, self._progress
        assert state is not None
        rows = self._same = self._same or self._rows_now()
        if rows.free is not None:
            # Free rows are computed too; their age must stay within the attack's length.
            state.age.masked_fill_(rows.free, 0)
        with self._in_precision(), self._monitored.about(rows.about):
            queries = self._attack.step(self._network, state, rows.noise)
        self._age += 1
        rows.steps_left, rows.until_over = rows.steps_left - rows.count, rows.until_over - 1
        found = succeeds(self._attack, state, queries, rows.running)
        hits = found.cpu().nonzero().squeeze(1)
        if len(hits):
            self._confirm(hits, queries.points, state)
            self._running &= progress.pending[self._image]
            self._same = None
        elif rows.until_over > 0 and not self._attack.seeks_nearest:
            return
        over = self._running & (self._age >= self._length)
        if self._attack.seeks_nearest:
            over |= self._running & self._attack.finished(state, found).cpu()
        if over.any():
            # Before the attempts are stored as made, since they are not made again.
            progress.nonfinite |= self._monitored.nonfinite[:-1].cpu()
            progress.tried[self._attempt[over], self._image[over]] = True
            self._running &= ~over
            self._same = None

    def _rows_now(self) -> "_SameRows":
        device, running, images = self._ranked.device, self._running, self._image
        on_device, count = running.to(device), int(running.sum())
        ages = self._age[running]
        return _SameRows(
            running=on_device,
            free=None if count == len(running) else ~on_device,
            about=torch.where(running, images, len(self._progress.entering)).to(device),
            noise=_noise(self._target.seed, self._target.places[images.to(device)]),
            count=count,
            steps_left=self._progress.left() * self._length - int(ages.sum()),
            until_over=self._length - int(ages.max()),
        )

    def _in_precision(self) -> AbstractContextManager[None]:
        precision = self._target.precision
        return nullcontext() if precision == "fp32" else in_precision(precision)

    def _confirm(self, hits: Tensor, points: Tensor, state: AttackStateT) -> None:
        """Count a success only where it is one of the network itself, in fp32 and at the shape of a chunk."""
        progress, rows = self._progress, hits.to(points.device)
        norms = distance(points[rows], state.x[rows], self._attack.norm).cpu()
        nearer = norms < progress.radii[self._image[hits]]
        if not nearer.any():
            return
        images, norms, rows = self._image[hits[nearer]], norms[nearer], rows[nearer.to(rows.device)]
        confirmed = self._confirmed(points[rows], state.take(rows)).cpu()
        add = progress.add_nearer if self._attack.seeks_nearest else progress.add_broken
        add(images[confirmed], norms[confirmed])
        progress.unconfirmed[images[~confirmed]] = True

    def _confirmed(self, points: Tensor, state: AttackStateT) -> Tensor:
        """Whether the points are successes of the network itself: (k,) bool."""
        if self._target.attacks_the_model_itself:
            # The attack has seen its answers already.
            return torch.ones_like(state.y, dtype=torch.bool)
        count = len(points)
        padded = torch.arange(self._whole_chunks(count), device=points.device).clamp_max(count - 1)
        logits = ChunkedModel(self._target.model, self._chunk).logits(points[padded])[:count]
        return self._attack.succeeded(logits, state)


def _noise(seed: int, index: Tensor) -> IndexNoise:
    """Noise of these images, the same on every device."""
    return AheadNoise(seed, index) if index.device.type == "cpu" else IndexNoise(seed, index)


@dataclass
class AttackSequence:
    """The stepwise attacks of one attack on one set of images, each on the images that are still classified correctly.

    Args:
        attack: a stepwise attack, or several such as AutoAttack.
        target: what is attacked.
        chunk: rows of every forward; halved, and recorded, when memory runs out.
        in_flight: chunks of a batch.
        state: where progress is kept.
        name: the attack's name there.
        callback: told of every stepwise attack and iteration.
        shapes: which other numbers of rows than the chunk's may go at once, until memory runs out; None for none.
    """

    attack: Attack
    target: AttackTarget
    chunk: int
    in_flight: int
    state: EvaluationState
    name: str
    callback: EvaluationCallback
    shapes: ForwardShapes | None = None

    def run(self, clean: Tensor) -> tuple[Verdicts, Json]:
        """Attack the images that are right without an attack.

        Args:
            clean: (n,) bool.
        Returns:
            Verdicts after all attacks, and the row of the result.
        """
        attacks = stepwise_attacks(self.attack)
        ranked, classes = self._ranked(attacks)
        spared = self._spared(clean)
        found, unconfirmed, rows, notes = Verdicts.after(clean), torch.zeros_like(clean), [], []
        for number, attack in enumerate(attacks, start=1):
            if note := attack.note(classes):
                self.callback.on_note(note)
                notes.append(note)
            name = f"{self.name}: {number}. {attack.name}" if len(attacks) > 1 else self.name
            entering, attempts = found.withstood & ~spared, attack.attempts(classes)
            progress = self.state.attack_progress(name, entering, attempts, attack.seeks_nearest)
            self._run(name, attack, ranked, progress)
            found = Verdicts.after(progress.surviving | spared, found.unevaluated | progress.nonfinite)
            unconfirmed |= progress.unconfirmed
            rows.append(record(attack) | _row(found) | progress.row() | self._radii(attack, progress, clean | spared))
        self.state.finish(self.name)
        total = _row(found) | _together(rows) | {"unconfirmed": int((unconfirmed & found.withstood).sum())}
        total |= {name: rows[-1][name] for name in ("radii", "smallest_eps") if name in rows[-1]}
        if (aimed_at := getattr(self.attack, "target", None)) is not None:
            total |= {"targeted": targeted(aimed_at, total["broken"], total["attacked"])}
        searches = _tiers(self.attack, rows) | ({"searches": rows} if len(rows) > 1 else {})
        return found, record(self.attack) | total | {"notes": notes} | searches

    def _radii(self, attack: StepwiseAttack[Any], progress: AttackProgress, clean: Tensor) -> Json:
        """The smallest radius of each image, 0 where it is wrong without an attack; nothing of other attacks."""
        if not attack.seeks_nearest:
            return {}
        return radius_fields(torch.where(clean, progress.radii, 0.0).numpy(), attack.eps)

    def _spared(self, clean: Tensor) -> Tensor:
        """(n,) bool: right images of the very class that the attack aims at, which it leaves as they are."""
        aimed_at = getattr(self.attack, "target", None)
        return torch.zeros_like(clean) if aimed_at is None else clean & (self.target.labels.cpu() == aimed_at)

    def _ranked(self, attacks: tuple[StepwiseAttack[Any], ...]) -> tuple[Tensor, int]:
        """The other classes of each image, likeliest first, as many as attacks aim at, (n, k) int64; and C."""
        network, found, classes = ChunkedModel(self.target.attacked_model), [], 0
        for chunk in chunks(self.target.images, self.target.places, self.chunk):
            logits = network.logits(chunk.x)
            classes = logits.shape[1]
            ranks = (attack.target_rank(attempt) for attack in attacks for attempt in range(attack.attempts(classes)))
            found.append(ranked_targets(logits, chunk.y)[: chunk.valid, : max(ranks) + 1])
        return torch.cat(found), classes

    def _run(self, name: str, attack: StepwiseAttack[Any], ranked: Tensor, progress: AttackProgress) -> None:
        """Run or continue one attack."""
        self.callback.on_search(name, int(progress.surviving.sum()), progress.left() * attack.length)
        while True:
            progress.chunk = self.chunk
            rows = self.chunk * self.in_flight
            batched = BatchedAttack(attack, self.target, ranked, progress, self.chunk, rows, self.shapes)
            try:
                batched.run(lambda: self._on_step(batched, progress))  # noqa: B023 - not called after this turn
                return
            except torch.OutOfMemoryError:
                if self.chunk == 1:
                    raise
            finally:
                progress.write()
            # Outside the handler's frame the failed tensors are freed. What is finished stays.
            del batched
            self.chunk, self.shapes = max(1, self.chunk // 2), None

    def _on_step(self, batched: BatchedAttack[Any], progress: AttackProgress) -> None:
        self.callback.on_steps(batched.steps_left, int(progress.surviving.sum()) / len(progress.entering))
        if batched.rows_changed and progress.changed:
            progress.write()
            self.state.save()


def _row(verdicts: Verdicts) -> Json:
    return verdicts.accuracy() | verdicts.bits()


def _tiers(attack: Attack, rows: list[Json]) -> Json:
    """What the first of the stepwise attacks are by themselves, where they have a name; nothing of other attacks."""
    named: tuple[tuple[str, int], ...] = getattr(attack, "tiers", ())
    kept = ("robust_accuracy", "interval95", "verdicts", "unevaluated", "unevaluated_bits")
    found = [
        {"name": name}
        | {field: value for field, value in rows[count - 1].items() if field in kept}
        | {"seconds": round(sum(row["seconds"] for row in rows[:count]), 3)}
        for name, count in named
    ]
    return {"tiers": found} if found else {}


def _together(rows: list[Json]) -> Json:
    """What the stepwise attacks have done, as one."""
    broken = sum(row["broken"] for row in rows)
    norms = sum(row["mean_norm"] * row["broken"] for row in rows)
    return {
        "attacked": rows[0]["attacked"],
        "broken": broken,
        "largest_norm": max(row["largest_norm"] for row in rows),
        "mean_norm": norms / broken if broken else 0.0,
        "seconds": round(sum(row["seconds"] for row in rows), 3),
        "chunk": min(row["chunk"] for row in rows),
    }
