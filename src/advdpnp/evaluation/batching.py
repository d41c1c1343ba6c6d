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
from advdpnp.attacks.autoattack import stages_of
from advdpnp.attacks.monitored_model import Watched
from advdpnp.attacks.stepwise import Network, Search, StateT, ranked_rivals, succeeds, targets
from advdpnp.data import Images
from advdpnp.evaluation.listener import Listener
from advdpnp.evaluation.single_pass import SearchPrecision, chunks, searching
from advdpnp.evaluation.state import Ledger, Stage
from advdpnp.evaluation.verdicts import Verdicts
from advdpnp.losses import is_right
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json
from advdpnp.threat import distance


@dataclass(frozen=True)
class Subject:
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
    surface: nn.Module
    images: Images
    places: Tensor
    seed: int
    precision: SearchPrecision = "fp32"

    def judged_by_search(self) -> bool:
        """Whether the search asks the very network that gives the verdicts, as the verdicts want it."""
        return self.surface is self.model and self.precision == "fp32"


class Sweep(Generic[StateT]):
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
        self, search: Search[StateT], subject: Subject, rivals: Tensor, stage: Stage, chunk: int, rows: int
    ) -> None:
        self._search, self._subject, self._rivals, self._stage = search, subject, rivals, stage
        self._chunk, self._rows = chunk, rows
        # One place more than images, for rows that are free: what is asked about them is about no image.
        self._watched = Watched(subject.surface, len(subject.places) + 1, subject.places.device)
        self._network = Network(self._watched, chunk)
        self._state: StateT | None = None
        # Of each row: its image, its attempt, its iterations, and whether it counts. On the CPU, where they are read.
        self._image = torch.zeros(0, dtype=torch.int64)
        self._attempt, self._age, self._live = self._image.clone(), self._image.clone(), self._image.bool()
        self._next_attempt, self._queue = 0, self._image.clone()

    @property
    def steps_left(self) -> int:
        """Iterations that are still to be made, if no further image falls."""
        return self._stage.left() * self._search.length - int(self._age[self._live].sum())

    def run(self, tell: Callable[[], None]) -> None:
        """To the end; `tell` is called after every iteration."""
        while self._fill():
            began = time.perf_counter()
            self._advance()
            self._stage.seconds += time.perf_counter() - began
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
        stage = self._stage
        while True:
            self._queue = self._queue[~stage.broken[self._queue]]
            if len(self._queue):
                images, self._queue = self._queue[:count], self._queue[count:]
                return self._next_attempt - 1, images
            if self._next_attempt == len(stage.tried):
                return None
            self._queue = (stage.surviving & ~stage.tried[self._next_attempt]).nonzero().squeeze(1)
            self._next_attempt += 1

    def _begin(self, attempt: int, images: Tensor) -> StateT:
        subject, where = self._subject, images.to(self._subject.places.device)
        index = subject.places[where]
        x, y = subject.images.batch(index)
        target = targets(self._search, attempt, self._rivals[where], y)
        return self._search.begin(x, y, target, attempt, IndexNoise(subject.seed, index))

    def _grow(self) -> None:
        """As many rows as there is work for, free at first."""
        rows = min(self._rows, self._whole_chunks(self._stage.left()))
        if rows and (jobs := self._pop(1)) is not None:
            attempt, images = jobs
            self._queue = torch.cat([images, self._queue])
            self._image, self._attempt = images.repeat(rows), torch.full((rows,), attempt)
            self._age, self._live = torch.zeros(rows, dtype=torch.int64), torch.zeros(rows, dtype=torch.bool)
            self._state = self._begin(attempt, self._image)

    def _load(self, attempt: int, images: Tensor) -> None:
        free = (~self._live).nonzero().squeeze(1)[: len(images)]
        assert self._state is not None
        self._state.put(free.to(self._rivals.device), self._begin(attempt, images))
        self._image[free], self._attempt[free], self._age[free], self._live[free] = images, attempt, 0, True

    def _whole_chunks(self, count: int) -> int:
        return -(-count // self._chunk) * self._chunk

    def _shrink(self) -> None:
        """Keep the busy rows, and free ones up to a whole chunk."""
        order = (~self._live).int().argsort(stable=True)[: self._whole_chunks(int(self._live.sum()))]
        assert self._state is not None
        self._state = self._state.take(order.to(self._rivals.device))
        self._image, self._attempt, self._age, self._live = (
            values[order] for values in (self._image, self._attempt, self._age, self._live)
        )

    def _advance(self) -> None:
        state, stage, device = self._state, self._stage, self._rivals.device
        assert state is not None
        if not self._live.all():
            # Free rows go through the network too; their age stays one that a schedule knows.
            state.age.masked_fill_(~self._live.to(device), 0)
        noise = IndexNoise(self._subject.seed, self._subject.places[self._image.to(device)])
        asked = torch.where(self._live, self._image, len(stage.entering)).to(device)
        with searching(self._subject.precision), self._watched.about(asked):
            seen = self._search.advance(self._network, state, noise)
        self._age += 1
        hits = succeeds(self._search, state, seen, self._live.to(device)).cpu().nonzero().squeeze(1)
        if len(hits):
            rows = hits.to(device)
            self._judge(self._image[hits], seen.points[rows], state.x[rows], state.y[rows])
            self._live &= ~stage.broken[self._image]
        over = self._live & (self._age >= self._search.length)
        if over.any():
            # No later than the attempts are noted, since they are not made again.
            stage.hindered |= self._watched.hindered[:-1].cpu()
            stage.tried[self._attempt[over], self._image[over]] = True
            self._live &= ~over

    def _judge(self, images: Tensor, points: Tensor, x: Tensor, y: Tensor) -> None:
        """Count a success only where the network itself is wrong at the point, in fp32 and at the shape of a chunk."""
        norms = distance(points, x, self._search.norm).cpu()
        wrong = ~self._confirmed_right(points, y).cpu()
        self._stage.fell(images[wrong], norms[wrong])
        self._stage.unconfirmed[images[~wrong]] = True

    def _confirmed_right(self, points: Tensor, y: Tensor) -> Tensor:
        if self._subject.judged_by_search():
            return torch.zeros_like(y, dtype=torch.bool)
        count = len(points)
        padded = torch.arange(self._whole_chunks(count), device=points.device).clamp_max(count - 1)
        logits = Network(self._subject.model, self._chunk).logits(points[padded])[:count]
        return is_right(logits, y)


@dataclass
class Cascade:
    """One attack made of searches, on one set of images.

    Args:
        attack: a search, or AutoAttack.
        subject: what is attacked.
        chunk: rows of every forward; halved, and recorded, when memory runs out.
        in_flight: chunks in flight.
        ledger: where the records are kept.
        name: the attack's name there.
        listener: told of every search and iteration.
    """

    attack: Attack
    subject: Subject
    chunk: int
    in_flight: int
    ledger: Ledger
    name: str
    listener: Listener

    def run(self, clean: Tensor) -> tuple[Verdicts, Json]:
        """Attack the images that are right without an attack.

        Args:
            clean: (n,) bool.
        Returns:
            Verdicts after all searches, and the attack's row of the result.
        """
        searches = stages_of(self.attack)
        rivals, classes = self._rivals(searches)
        survivors, hindered, stages, rows, notes = clean, torch.zeros_like(clean), [], [], []
        for number, search in enumerate(searches):
            note = search.note(classes)
            if note:
                self.listener.on_note(note)
                notes.append(note)
            name = f"{self.name}: {number + 1}. {search.name}" if len(searches) > 1 else self.name
            stage = Stage(self.ledger.stage(name), survivors, search.attempts(classes))
            self._run(name, search, rivals, stage)
            survivors, hindered = stage.surviving, hindered | stage.hindered
            stages.append(stage)
            rows.append(record(search) | _row(Verdicts.after(survivors, hindered)) | stage.row())
        self.ledger.write_note(done(self.name), True)
        unconfirmed = torch.stack([stage.unconfirmed for stage in stages]).any(dim=0) & survivors
        found = Verdicts.after(survivors, hindered)
        row = record(self.attack) | _row(found) | _together(rows) | {"unconfirmed": int(unconfirmed.sum())}
        return found, row | {"notes": notes} | ({"searches": rows} if len(rows) > 1 else {})

    def _rivals(self, searches: tuple[Search[Any], ...]) -> tuple[Tensor, int]:
        """The other classes of each image, likeliest first, as many as searches aim at, (n, k) int64; and C."""
        network, found, classes = Network(self.subject.surface), [], 0
        for chunk in chunks(self.subject.images, self.subject.places, self.chunk):
            logits = network.logits(chunk.x)
            classes = logits.shape[1]
            aims = (search.rival(attempt) for search in searches for attempt in range(search.attempts(classes)))
            found.append(ranked_rivals(logits, chunk.y)[: chunk.valid, : max(aims) + 1])
        return torch.cat(found), classes

    def _run(self, name: str, search: Search[Any], rivals: Tensor, stage: Stage) -> None:
        """Run or continue one search."""
        self.listener.on_search(name, int(stage.surviving.sum()), stage.left() * search.length)
        while True:
            stage.chunk = self.chunk
            sweep = Sweep(search, self.subject, rivals, stage, self.chunk, self.chunk * self.in_flight)
            try:
                sweep.run(lambda: self._tell(sweep, stage))  # noqa: B023 - not called after this turn
                return
            except torch.OutOfMemoryError:
                if self.chunk == 1:
                    raise
            finally:
                stage.write()
            # Outside the handler's frame the failed tensors are freed. What is finished stays.
            del sweep
            self.chunk = max(1, self.chunk // 2)

    def _tell(self, sweep: Sweep[Any], stage: Stage) -> None:
        self.listener.on_steps(sweep.steps_left, int(stage.surviving.sum()) / len(stage.entering))
        if stage.changed:
            stage.write()
            self.ledger.save()


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
