"""What one search has found so far: which attempts at which images are over, and which images fell."""

import torch
from torch import Tensor

from advdpnp.metrics import pack, unpack
from advdpnp.runs import Json


class Stage:
    """The record of one search over n images.

    Args:
        content: where the record is kept as JSON; empty at first.
        entering: (n,) bool, the images that are attacked.
        attempts: attempts at each image.
    """

    def __init__(self, content: Json, entering: Tensor, attempts: int) -> None:
        n = len(entering)
        self._content, self.entering = content, entering.cpu()
        stored = content.get("tried")
        self.tried = torch.stack([unpack(bits, n) for bits in stored]) if stored else torch.zeros(attempts, n).bool()
        self.broken, self.unconfirmed = (
            unpack(content[name], n) if stored else torch.zeros(n).bool() for name in ("broken", "unconfirmed")
        )
        # Images about which an answer was not finite; records of an earlier version do not have them.
        self.hindered = unpack(content["hindered"], n) if "hindered" in content else torch.zeros(n).bool()
        # Norms of the successes.
        self.largest, self.total = float(content.get("largest", 0.0)), float(content.get("total", 0.0))
        self.seconds = float(content.get("seconds", 0.0))
        self.chunk = int(content.get("chunk", 0))
        self._written = self._sum()

    @property
    def surviving(self) -> Tensor:
        """(n,) bool: attacked and still classified correctly."""
        return self.entering & ~self.broken

    def _sum(self) -> tuple[int, int, int]:
        return int(self.tried.sum()), int(self.broken.sum()), int(self.unconfirmed.sum())

    @property
    def changed(self) -> bool:
        """Whether there is more to write."""
        return self._sum() != self._written

    def left(self) -> int:
        """Attempts that are still to be made."""
        return int((self.surviving & ~self.tried).sum())

    def fell(self, images: Tensor, norms: Tensor) -> None:
        """These images (k,) int64 are broken, by perturbations of these norms (k,)."""
        for image, norm in zip(images.tolist(), norms.tolist(), strict=True):
            if not self.broken[image]:
                self.broken[image] = True
                self.largest, self.total = max(self.largest, norm), self.total + norm

    def write(self) -> None:
        """Bring the JSON up to date."""
        self._content.update(
            tried=[pack(row) for row in self.tried],
            broken=pack(self.broken),
            unconfirmed=pack(self.unconfirmed),
            hindered=pack(self.hindered),
            largest=self.largest,
            total=self.total,
            seconds=self.seconds,
            chunk=self.chunk,
        )
        self._written = self._sum()

    def row(self) -> Json:
        """What the result says of it."""
        fallen = int(self.broken.sum())
        return {
            "attacked": int(self.entering.sum()),
            "broken": fallen,
            # Misclassified where the attack searched, but not by the network itself in fp32.
            "unconfirmed": int((self.unconfirmed & self.surviving).sum()),
            "largest_norm": self.largest,
            "mean_norm": self.total / fallen if fallen else 0.0,
            "seconds": round(self.seconds, 3),
            "chunk": self.chunk,
        }
