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
from advdpnp.metrics import pack, wilson
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

    def run(self, clean: Tensor) -> tuple[Tensor, Json]:
        """Attack the images that are right without an attack.

        Args:
            clean: (n,) bool.
        Returns:
            (n,) bool, True for the images that withstood all searches; and the attack's row of the result.
        """
        rivals, survivors = self._rivals(), clean
        stages, rows, notes = [], [], []
        for number, search in enumerate(stages_of(self.attack)):
            note = search.note(rivals.shape[1] + 1)
            if note:
                self.listener.on_note(note)
                notes.append(note)
            stage = self._run(f"{self.name}: {number + 1}. {search.name}", search, rivals, survivors)
            survivors = stage.surviving
            stages.append(stage)
            rows.append(record(_as_attack(search)) | _accuracy(survivors) | stage.row())
        unconfirmed = torch.stack([stage.unconfirmed for stage in stages]).any(dim=0) & survivors
        row = record(self.attack) | _accuracy(survivors) | _together(rows) | {"unconfirmed": int(unconfirmed.sum())}
        return survivors, row | {"notes": notes} | ({"searches": rows} if len(rows) > 1 else {})

    def _rivals(self) -> Tensor:
        """(n, C - 1) int64: the other classes of each image, likeliest first."""
        network, found = Network(self.subject.surface), []
        for chunk in chunks(self.subject.images, self.subject.places, self.chunk):
            found.append(ranked_rivals(network.logits(chunk.x), chunk.y)[: chunk.valid])
        return torch.cat(found)

    def _run(self, name: str, search: Search[Any], rivals: Tensor, entering: Tensor) -> Stage:
        """Run or continue one search."""
        stage = Stage(self.ledger.stage(name), entering, search.attempts(rivals.shape[1] + 1))
        self.listener.on_search(name, int(stage.surviving.sum()), stage.left() * search.length)
        while True:
            stage.chunk = self.chunk
            sweep = Sweep(search, self.subject, rivals, stage, self.chunk, self.chunk * self.in_flight)
            try:
                sweep.run(lambda: self._tell(sweep, stage))  # noqa: B023 - not called after this turn
                return stage
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


def _as_attack(search: Search[Any]) -> Attack:
    attack: Any = search
    return attack  # type: ignore[no-any-return]


def _accuracy(verdicts: Tensor) -> Json:
    right, n = int(verdicts.sum()), len(verdicts)
    return {"robust_accuracy": right / n, "interval95": list(wilson(right, n)), "verdicts": pack(verdicts)}


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
