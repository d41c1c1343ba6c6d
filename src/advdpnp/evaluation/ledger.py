"""What an evaluation has found so far, on disk, so that an interrupted one goes on where it was."""

import glob
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advdpnp.metrics import pack, unpack
from advdpnp.runs import Json, differences, read_json, write_json

# Saving takes at most this share of the time: with a file of some kilobytes, a kill loses less than a second's work
# beside what is in flight.
SAVE_SHARE = 0.02


class Ledger:
    """Finished chunks of each attack, by name.

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
            _sweep(path)
        self._content: Json = {"protocol": protocol, "entries": {}, "stages": {}, "notes": {}}
        if resume and path is not None and path.exists():
            content = read_json(path)
            found = list(differences(content["protocol"], protocol))
            if found:
                raise ValueError(f"{path} is of another protocol ({'; '.join(found)}): run without --resume")
            self._content = content

    def entry(self, name: str) -> "Entry":
        """What is known of one attack."""
        return Entry(
            self, self._content["entries"].setdefault(name, {"n": 0, "verdicts": "", "sum": 0.0, "seconds": 0.0})
        )

    def stage(self, name: str) -> Json:
        """What is known of one search, to be changed in place."""
        content: Json = self._content["stages"].setdefault(name, {})
        return content

    def note(self, name: str) -> Any:
        """A stored value that is no verdict, or None."""
        return self._content["notes"].get(name)

    def write_note(self, name: str, value: Any) -> None:
        """Store a JSON value."""
        self._content["notes"][name] = value
        self.save(now=True)

    def save(self, now: bool = False) -> None:
        """Write to disk, if it is time to."""
        began = time.monotonic()
        if self._path is not None and (now or began >= self._due):
            write_json(self._path, self._content)
            done = time.monotonic()
            self._due = done + (done - began) / SAVE_SHARE


def _sweep(path: Path) -> None:
    """Remove what writes of this file that were killed half-way left behind; nobody else writes it."""
    for torn in path.parent.glob(f".{glob.escape(path.name)}.????????"):
        torn.unlink()


class Entry:
    """Verdicts and summed cross-entropy of one attack on the first `n` images."""

    def __init__(self, ledger: Ledger, content: Json) -> None:
        self._ledger, self._content = ledger, content

    @property
    def n(self) -> int:
        return int(self._content["n"])

    @property
    def seconds(self) -> float:
        return float(self._content["seconds"])

    def verdicts(self) -> Tensor:
        """(n,) bool: True where the image is classified correctly."""
        return unpack(self._content["verdicts"], self.n)

    def mean_cross_entropy(self) -> float:
        return float(self._content["sum"]) / self.n

    def forget(self) -> None:
        """Start this attack again."""
        self._content.update(n=0, verdicts="", sum=0.0, seconds=0.0)

    def add(self, correct: Tensor, cross_entropy: Tensor, seconds: float) -> None:
        """One more chunk: (valid,) bool, (valid,) nats."""
        verdicts = torch.cat([self.verdicts(), correct.cpu()])
        self._content.update(
            n=len(verdicts),
            verdicts=pack(verdicts),
            sum=self._content["sum"] + cross_entropy.double().sum().item(),
            seconds=self.seconds + seconds,
        )
        self._ledger.save()
