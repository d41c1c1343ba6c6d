"""A search over a whole data set: a fixed number of rows, each busy with one attempt at one image.

A row whose attempt is over, by success or by length, takes the next one at once, so the network always sees full
batches of one shape, although images fall at different times. Rows do not influence each other and their noise is
keyed by image, so a verdict depends neither on the rows beside it nor on when it was reached.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import torch
from torch import Tensor, nn

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
from advdpnp.data import Images
from advdpnp.evaluation.single_pass import SearchPrecision, chunks, searching
from advdpnp.evaluation.state import AttackProgress, EvaluationState
from advdpnp.evaluation.verdicts import Verdicts
from advdpnp.losses import is_right
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json
from advdpnp.threat import distance


@dataclass(frozen=True)
class AttackTarget:
    """What is attacked, on which images.

    Args:
        model: classifier in eval mode, which gives the verdicts.
        surface: what attacks search on, see `advdpnp.evaluation.single_pass`.
        images: the test set, on the model's device.
        places: (n,) int64, the images' positions in the test set, on the same device.
        seed: of the attacks' noise, which is keyed by these positions.
        precision: what the search is made in.
    """

    model: nn.Module
    attacked_model: nn.Module
    images: Images
    places: Tensor
    seed: int
    precision: SearchPrecision = "fp32"

    def decided_by_search(self) -> bool:
        """Whether the search asks the very network that gives the verdicts, as the verdicts want it."""
        return self.attacked_model is self.model and self.precision == "fp32"


class BatchedSearch(Generic[AttackStateT]):
    """One search, going on where its record stands.

    Args:
        search: the attack.
        subject: what is attacked.
        rivals: (n, k) int64, other classes of each image, likeliest first; as many as the search aims at.
        stage: the record; its images are those of `subject.places`.
        chunk: rows of every forward.
        rows: rows in flight, a multiple of `chunk`.
    """

    def __init__(
        self,
        search: StepwiseAttack[AttackStateT],
        subject: AttackTarget,
        ranked: Tensor,
        progress: AttackProgress,
        chunk: int,
        rows: int,
    ) -> None:
        self._search, self._subject, self._ranked, self._progress = search, subject, ranked, progress
        self._chunk, self._rows = chunk, rows
        # One place more than images, for rows that are free: what is asked about them is about no image.
        self._watched = MonitoredModel(subject.attacked_model, len(subject.places) + 1, subject.places.device)
        self._network = ChunkedModel(self._watched, chunk)
        self._state: AttackStateT | None = None
        # Of each row: its image, its attempt, its iterations, and whether it counts. On the CPU, where they are read.
        self._image = torch.zeros(0, dtype=torch.int64)
        self._attempt, self._age, self._live = self._image.clone(), self._image.clone(), self._image.bool()
        self._next_attempt, self._queue = 0, self._image.clone()

    @property
    def steps_left(self) -> int:
        """Iterations that are still to be made, if no further image falls."""
        return self._progress.left() * self._search.length - int(self._age[self._live].sum())

    def run(self, tell: Callable[[], None]) -> None:
        """To the end; `tell` is called after every iteration."""
        while self._fill():
            began = time.perf_counter()
            self._step()
            self._progress.seconds += time.perf_counter() - began
            tell()

    def _fill(self) -> bool:
        """Give free rows new attempts; False where nothing is left to do."""
        if self._state is None:
            self._grow()
        while not self._live.all() and (jobs := self._pop(int((~self._live).sum()))) is not None:
            self._load(*jobs)
        if self._live.any() and len(self._live) - int(self._live.sum()) >= self._chunk:
            self._shrink()
        return bool(self._live.any())

    def _pop(self, count: int) -> tuple[int, Tensor] | None:
        """Up to `count` images for one attempt, or None. The first attempt at every image comes before any second."""
        progress = self._progress
        while True:
            self._queue = self._queue[~progress.broken[self._queue]]
            if len(self._queue):
                images, self._queue = self._queue[:count], self._queue[count:]
                return self._next_attempt - 1, images
            if self._next_attempt == len(progress.tried):
                return None
            self._queue = (progress.surviving & ~progress.tried[self._next_attempt]).nonzero().squeeze(1)
            self._next_attempt += 1

    def _init(self, attempt: int, images: Tensor) -> AttackStateT:
        subject, where = self._subject, images.to(self._subject.places.device)
        index = subject.places[where]
        x, y = subject.images.batch(index)
        target = targets(self._search, attempt, self._ranked[where], y)
        return self._search.init(x, y, target, attempt, IndexNoise(subject.seed, index))

    def _grow(self) -> None:
        """As many rows as there is work for, free at first."""
        rows = min(self._rows, self._whole_chunks(self._progress.left()))
        if rows and (jobs := self._pop(1)) is not None:
            attempt, images = jobs
            self._queue = torch.cat([images, self._queue])
            self._image, self._attempt = images.repeat(rows), torch.full((rows,), attempt)
            self._age, self._live = torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, dtype=torch.bool)
            self._state = self._init(attempt, self._image)

    def _load(self, attempt: int, images: Tensor) -> None:
        free = (~self._live).nonzero().squeeze(1)[: len(images)]
        assert self._state is not None
        self._state.put(free.to(self._ranked.device), self._init(attempt, images))
        self._image[free], self._attempt[free], self._age[free], self._live[free] = images, attempt, 0, True

    def _whole_chunks(self, count: int) -> int:
        return -(-count // self._chunk) * self._chunk

    def _shrink(self) -> None:
        """Keep the busy rows, and free ones up to a whole chunk."""
        order = (~self._live).int().argsort(stable=True)[: self._whole_chunks(int(self._live.sum()))]
        assert self._state is not None
        self._state = self._state.take(order.to(self._ranked.device))
        self._image, self._attempt, self._age, self._live = (
            values[order] for values in (self._image, self._attempt, self._age, self._live)
        )

    def _step(self) -> None:
        state, progress, device = self._state, self._progress, self._ranked.device
        assert state is not None
        if not self._live.all():
            # Free rows go through the network too; their age stays one that a schedule knows.
            state.age.masked_fill_(~self._live.to(device), 0)
        noise = IndexNoise(self._subject.seed, self._subject.places[self._image.to(device)])
        asked = torch.where(self._live, self._image, len(progress.entering)).to(device)
        with searching(self._subject.precision), self._watched.about(asked):
            seen = self._search.step(self._network, state, noise)
        self._age += 1
        hits = succeeds(self._search, state, seen, self._live.to(device)).cpu().nonzero().squeeze(1)
        if len(hits):
            rows = hits.to(device)
            self._judge(self._image[hits], seen.points[rows], state.x[rows], state.y[rows])
            self._live &= ~progress.broken[self._image]
        over = self._live & (self._age >= self._search.length)
        if over.any():
            # No later than the attempts are noted, since they are not made again.
            progress.nonfinite |= self._watched.nonfinite[:-1].cpu()
            progress.tried[self._attempt[over], self._image[over]] = True
            self._live &= ~over

    def _judge(self, images: Tensor, points: Tensor, x: Tensor, y: Tensor) -> None:
        """Count a success only where the network itself is wrong at the point, in fp32 and at the shape of a chunk."""
        norms = distance(points, x, self._search.norm).cpu()
        wrong = ~self._confirmed_right(points, y).cpu()
        self._progress.fell(images[wrong], norms[wrong])
        self._progress.unconfirmed[images[~wrong]] = True

    def _confirmed_right(self, points: Tensor, y: Tensor) -> Tensor:
        if self._subject.decided_by_search():
            return torch.zeros_like(y, dtype=torch.bool)
        count = len(points)
        padded = torch.arange(self._whole_chunks(count), device=points.device).clamp_max(count - 1)
        logits = ChunkedModel(self._subject.model, self._chunk).logits(points[padded])[:count]
        return is_right(logits, y)


@dataclass
class AttackSequence:
    """One attack made of searches, on one set of images.

    Args:
        attack: a search, or AutoAttack.
        subject: what is attacked.
        chunk: rows of every forward; halved, and recorded, when memory runs out.
        in_flight: chunks in flight.
        ledger: where the records are kept.
        name: the attack's name there.
        callback: told of every search and iteration.
    """

    attack: Attack
    subject: AttackTarget
    chunk: int
    in_flight: int
    state: EvaluationState
    name: str
    callback: EvaluationCallback

    def run(self, clean: Tensor) -> tuple[Verdicts, Json]:
        """Attack the images that are right without an attack.

        Args:
            clean: (n,) bool.
        Returns:
            Verdicts after all searches, and the attack's row of the result.
        """
        searches = stepwise_attacks(self.attack)
        ranked, classes = self._ranked(searches)
        survivors, nonfinite, stages, rows, notes = clean, torch.zeros_like(clean), [], [], []
        for number, search in enumerate(searches):
            note = search.note(classes)
            if note:
                self.callback.on_note(note)
                notes.append(note)
            name = f"{self.name}: {number + 1}. {search.name}" if len(searches) > 1 else self.name
            progress = AttackProgress(self.state.progress(name), survivors, search.attempts(classes))
            self._run(name, search, ranked, progress)
            survivors, nonfinite = progress.surviving, nonfinite | progress.nonfinite
            stages.append(progress)
            rows.append(record(search) | _row(Verdicts.after(survivors, nonfinite)) | progress.row())
        self.state.write_note(done(self.name), True)
        unconfirmed = torch.stack([progress.unconfirmed for progress in stages]).any(dim=0) & survivors
        found = Verdicts.after(survivors, nonfinite)
        row = record(self.attack) | _row(found) | _together(rows) | {"unconfirmed": int(unconfirmed.sum())}
        return found, row | {"notes": notes} | ({"searches": rows} if len(rows) > 1 else {})

    def _ranked(self, searches: tuple[StepwiseAttack[Any], ...]) -> tuple[Tensor, int]:
        """The other classes of each image, likeliest first, as many as searches aim at, (n, k) int64; and C."""
        network, found, classes = ChunkedModel(self.subject.attacked_model), [], 0
        for chunk in chunks(self.subject.images, self.subject.places, self.chunk):
            logits = network.logits(chunk.x)
            classes = logits.shape[1]
            aims = (search.target_rank(attempt) for search in searches for attempt in range(search.attempts(classes)))
            found.append(ranked_targets(logits, chunk.y)[: chunk.valid, : max(aims) + 1])
        return torch.cat(found), classes

    def _run(self, name: str, search: StepwiseAttack[Any], ranked: Tensor, progress: AttackProgress) -> None:
        """Run or continue one search."""
        self.callback.on_search(name, int(progress.surviving.sum()), progress.left() * search.length)
        while True:
            progress.chunk = self.chunk
            sweep = BatchedSearch(search, self.subject, ranked, progress, self.chunk, self.chunk * self.in_flight)
            try:
                sweep.run(lambda: self._tell(sweep, progress))  # noqa: B023 - not called after this turn
                return
            except torch.OutOfMemoryError:
                if self.chunk == 1:
                    raise
            finally:
                progress.write()
            # Outside the handler's frame the failed tensors are freed. What is finished stays.
            del sweep
            self.chunk = max(1, self.chunk // 2)

    def _tell(self, sweep: BatchedSearch[Any], progress: AttackProgress) -> None:
        self.callback.on_steps(sweep.steps_left, int(progress.surviving.sum()) / len(progress.entering))
        if progress.changed:
            progress.write()
            self.state.save()


def done(name: str) -> str:
    """Under which name the ledger notes that all searches of an attack are over."""
    return f"{name}: done"


def _row(verdicts: Verdicts) -> Json:
    return verdicts.accuracy() | verdicts.bits()


def _together(rows: list[Json]) -> Json:
    """What the searches have done, as one."""
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
