"""What an evaluation has found so far, on disk, so that an interrupted one goes on where it was."""

import glob
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import torch
from torch import Tensor

from advdpnp.metrics import append, pack, unpack
from advdpnp.radii import pack_radii, unpack_radii
from advdpnp.result_files import Verdicts
from advdpnp.result_parts import check_packed
from advdpnp.runs import Json, checked, read_json, write_json
from advdpnp.stored_values import check_value, differences

# Saving takes at most this share of the time: with a file of some kilobytes, a kill loses less than a second's work
# beside what is in flight.
SAVE_SHARE = 0.02


class _Pass(TypedDict):
    """Of one pass of an attack; what is not required, partial results of an earlier version lack."""

    n: int
    verdicts: str
    sum: float
    seconds: float
    hindered: NotRequired[str]
    finite: NotRequired[int]
    others: NotRequired[dict[str, int]]
    reached: NotRequired[str]


class _Search(TypedDict):
    """Of one stepwise attack."""

    tried: list[str]
    broken: str
    unconfirmed: str
    largest: float
    total: float
    seconds: float
    chunk: int
    hindered: NotRequired[str]
    radii: NotRequired[str]


class _Partial(TypedDict):
    protocol: dict[str, Any]
    entries: dict[str, _Pass]
    stages: dict[str, dict[str, Any]]
    notes: dict[str, Any]


_AGAIN = "run without --resume"
_NOTHING: Json = {"n": 0, "verdicts": "", "hindered": "", "sum": 0.0, "finite": 0, "others": {}, "seconds": 0.0}


class PassProgress:
    """What one pass of an attack has found about the first `n` images.

    Args:
        content: where it is kept as JSON; `_NOTHING` at first.
        save: called after every chunk.
    """

    def __init__(self, content: Json, save: Callable[[], None]) -> None:
        self._content, self._save = content, save

    @property
    def n(self) -> int:
        return int(self._content["n"])

    @property
    def seconds(self) -> float:
        return float(self._content["seconds"])

    def verdicts(self) -> Verdicts:
        """Of the n images."""
        return Verdicts.after(self._right(), self._nonfinite())

    def mean_cross_entropy(self, prefix: str = "mean_") -> Json:
        """Over the images where it is finite, None if there are none; their count where not all are."""
        finite = self._finite()
        mean = float(self._content["sum"]) / finite if finite else None
        return {f"{prefix}cross_entropy": mean} | ({f"{prefix}cross_entropy_images": finite} if finite < self.n else {})

    def other_answers(self, prefix: str = "") -> Json:
        """Accuracy of each of the classifier's other answers, by name; nothing where there are none."""
        shares = {name: count / self.n for name, count in self._content.get("others", {}).items()}
        return {f"{prefix}other_answers": shares} if shares else {}

    def reached(self) -> Tensor:
        """(n,) bool: the images of which the network says the class that the attack aims at."""
        return unpack(self._content.get("reached") or pack(torch.zeros(self.n, dtype=torch.bool)), self.n)

    def forget(self) -> None:
        """Start this attack again."""
        self._content.update(_NOTHING, reached="")

    def add(
        self,
        right: Tensor,
        nonfinite: Tensor,
        cross_entropy: Tensor,
        seconds: float,
        reached: Tensor | None = None,
        others: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Append one chunk.

        Args:
            right: (valid,) bool, whether the network is right in the end.
            nonfinite: (valid,) bool, whether an answer to the attack was not finite.
            cross_entropy: (valid,) nats.
            seconds: what it took.
            reached: (valid,) bool, whether the network says the class that the attack aims at; None if it does not aim.
            others: (valid,) bool, whether each other answer of the classifier is right, by name.
        """
        if reached is not None:
            known = self._content.get("reached") or pack(torch.zeros(self.n, dtype=torch.bool))
            self._content["reached"] = append(known, self.n, reached)
        counts = self._content.get("others", {})
        for name, found in (others or {}).items():
            counts = {**counts, name: counts.get(name, 0) + int((found & ~nonfinite.cpu()).sum())}
        hindered = self._content.get("hindered") or pack(self._nonfinite())
        finite = cross_entropy[cross_entropy.isfinite()]
        self._content.update(
            verdicts=append(self._content["verdicts"], self.n, right),
            hindered=append(hindered, self.n, nonfinite),
            sum=self._content["sum"] + finite.double().sum().item(),
            finite=self._finite() + len(finite),
            others=counts,
            seconds=self.seconds + seconds,
            n=self.n + len(right),
        )
        self._save()

    def _right(self) -> Tensor:
        return unpack(self._content["verdicts"], self.n)

    def _nonfinite(self) -> Tensor:
        # Partial results of an earlier version do not have it.
        bits = self._content.get("hindered", "")
        return unpack(bits, self.n) if bits else torch.zeros(self.n, dtype=torch.bool)

    def _finite(self) -> int:
        """How many images have a finite cross-entropy."""
        return int(self._content.get("finite", self.n))


class AttackProgress:
    """What one stepwise attack has done to n images.

    Args:
        content: where it is kept as JSON; empty at first.
        entering: (n,) bool, the images that are attacked.
        attempts: how many attempts the attack makes at each image.
        seeks_nearest: whether an attempt at a broken image goes on, to a smaller radius.
    """

    def __init__(self, content: Json, entering: Tensor, attempts: int, seeks_nearest: bool = False) -> None:
        n, self._seeks_nearest = len(entering), seeks_nearest
        self._content, self.entering = content, entering.cpu()
        stored = content.get("tried")
        self.tried = torch.stack([unpack(bits, n) for bits in stored]) if stored else torch.zeros(attempts, n).bool()
        self.broken, self.unconfirmed = (
            unpack(content[name], n) if stored else torch.zeros(n).bool() for name in ("broken", "unconfirmed")
        )
        # Images about which an answer was not finite; partial results of an earlier version do not have them.
        self.nonfinite = unpack(content["hindered"], n) if "hindered" in content else torch.zeros(n).bool()
        # The smallest norm of each image's successes, where the attack seeks it; inf where there is none.
        radii = unpack_radii(content["radii"], n) if "radii" in content else np.full(n, np.inf, np.float32)
        self.radii = torch.from_numpy(radii)
        # Norms of the successes.
        self.largest, self.total = float(content.get("largest", 0.0)), float(content.get("total", 0.0))
        self.seconds = float(content.get("seconds", 0.0))
        self.chunk = int(content.get("chunk", 0))
        self._written = self._counts()

    @property
    def surviving(self) -> Tensor:
        """(n,) bool: attacked and still classified correctly."""
        return self.entering & ~self.broken

    @property
    def pending(self) -> Tensor:
        """(n,) bool: images at which attempts are made that are not over yet."""
        return self.entering if self._seeks_nearest else self.surviving

    @property
    def changed(self) -> bool:
        """Whether there is more to write."""
        return self._counts() != self._written

    def left(self) -> int:
        """Attempts that are still to be made."""
        return int((self.pending & ~self.tried).sum())

    def add_broken(self, images: Tensor, norms: Tensor) -> None:
        """These images (k,) int64 are misclassified under perturbations of these norms (k,)."""
        for image, norm in zip(images.tolist(), norms.tolist(), strict=True):
            if not self.broken[image]:
                self.broken[image] = True
                self.largest, self.total = max(self.largest, norm), self.total + norm

    def add_nearer(self, images: Tensor, norms: Tensor) -> None:
        """These images (k,) int64, each once, are misclassified under smaller perturbations, of these norms (k,)."""
        self.broken[images], self.radii[images] = True, norms.to(self.radii.dtype)
        found = self.radii[self.broken]
        self.largest, self.total = found.max().item(), found.double().sum().item()

    def write(self) -> None:
        """Bring the JSON up to date."""
        if self._seeks_nearest:
            self._content["radii"] = pack_radii(self.radii.numpy())
        self._content.update(
            tried=[pack(row) for row in self.tried],
            broken=pack(self.broken),
            unconfirmed=pack(self.unconfirmed),
            hindered=pack(self.nonfinite),
            largest=self.largest,
            total=self.total,
            seconds=self.seconds,
            chunk=self.chunk,
        )
        self._written = self._counts()

    def row(self) -> Json:
        """The attack's row of the result."""
        broken = int(self.broken.sum())
        return {
            "attacked": int(self.entering.sum()),
            "broken": broken,
            # Misclassified by the attacked model, but not by the network itself in fp32.
            "unconfirmed": int((self.unconfirmed & self.surviving).sum()),
            "largest_norm": self.largest,
            "mean_norm": self.total / broken if broken else 0.0,
            "seconds": round(self.seconds, 3),
            "chunk": self.chunk,
        }

    def _counts(self) -> tuple[int, int, int]:
        return int(self.tried.sum()), int(self.broken.sum()), int(self.unconfirmed.sum())


class EvaluationState:
    """What is finished of each attack, by name.

    Args:
        path: the partial result; None keeps nothing on disk.
        protocol: what was measured with what; a partial result of another protocol is refused.
        resume: continue a partial result, if there is one.
    Raises:
        ValueError: the partial result is damaged or belongs to another protocol.
    """

    def __init__(self, path: Path | None, protocol: Json, resume: bool) -> None:
        self._path, self._due = path, 0.0
        if path is not None:
            _remove_torn(path)
        self._content: Json = {"protocol": protocol, "entries": {}, "stages": {}, "notes": {}}
        if resume and path is not None and path.exists():
            content = checked(path, _AGAIN, lambda: _partial(read_json(path)))
            found = list(differences(content["protocol"], protocol))
            if found:
                raise ValueError(f"{path} is of another protocol ({'; '.join(found)}): run without --resume")
            checked(path, _AGAIN, lambda: _check_bits(content, protocol.get("n")))
            self._content = content

    def pass_progress(self, name: str) -> PassProgress:
        """What is finished of an attack that takes one pass."""
        return PassProgress(self._content["entries"].setdefault(name, dict(_NOTHING)), self.save)

    def attack_progress(
        self, name: str, entering: Tensor, attempts: int, seeks_nearest: bool = False
    ) -> AttackProgress:
        """What is finished of a stepwise attack; arguments as of `AttackProgress`."""
        return AttackProgress(self._content["stages"].setdefault(name, {}), entering, attempts, seeks_nearest)

    def value(self, name: str) -> Any:
        """A stored value that is no verdict, or None."""
        return self._content["notes"].get(name)

    def store(self, name: str, value: Any) -> None:
        """Keep a JSON value, and write to disk."""
        self._content["notes"][name] = value
        self.save(now=True)

    def is_finished(self, name: str) -> bool:
        """Whether all stepwise attacks of an attack are over."""
        return bool(self.value(f"{name}: done"))

    def finish(self, name: str) -> None:
        """Keep that all stepwise attacks of an attack are over."""
        self.store(f"{name}: done", True)

    def save(self, now: bool = False) -> None:
        """Write to disk, if it is time to."""
        began = time.monotonic()
        if self._path is not None and (now or began >= self._due):
            write_json(self._path, self._content)
            done = time.monotonic()
            self._due = done + (done - began) / SAVE_SHARE


def _partial(content: Json) -> Json:
    """A partial result; TypeError where it is none."""
    check_value("the partial result", content, _Partial)
    for name, stage in content["stages"].items():
        # A search that has not begun has nothing.
        if stage:
            check_value(name, stage, _Search)
    return content


def _check_bits(content: Json, n: int | None) -> None:
    """ValueError unless packed verdicts are those of so many images; None where nothing says how many."""
    for name, entry in content["entries"].items():
        for bits in filter(None, (entry["verdicts"], entry.get("hindered"), entry.get("reached"))):
            check_packed(name, bits, -(-entry["n"] // 8))
    for name, stage in content["stages"].items():
        if stage and n is not None:
            for bits in (
                *stage["tried"],
                stage["broken"],
                stage["unconfirmed"],
                stage.get("hindered", stage["broken"]),
            ):
                check_packed(name, bits, -(-n // 8))


def _remove_torn(path: Path) -> None:
    """Remove what writes of this file that were killed half-way left behind; nobody else writes it."""
    for torn in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        torn.unlink()
