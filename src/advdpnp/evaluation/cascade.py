"""Searches over a data set, each on the images that withstood those before it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from advdpnp.attacks import Attack, record
from advdpnp.attacks.autoattack import stages_of
from advdpnp.attacks.search import Network, Search, ranked_rivals
from advdpnp.evaluation.chunks import chunks
from advdpnp.evaluation.ledger import Ledger
from advdpnp.evaluation.listener import Listener
from advdpnp.evaluation.stage import Stage
from advdpnp.evaluation.sweep import Subject, Sweep
from advdpnp.evaluation.verdicts import Verdicts
from advdpnp.runs import Json


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
