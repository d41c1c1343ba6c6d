"""The attacks of an audit, in rounds: what of the images that one leaves standing does the next one break?"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack
from advdpnp.auditing.subject import Subject
from advdpnp.callbacks import EvaluationCallback


@dataclass
class Rounds:
    """Which images are still standing, after which attacks.

    Args:
        subject: the network on its images.
        callback: told of each attack.
        standing: (n,) bool, right under every attack so far.
        alone: what single attacks left standing, by name.
        points: adversarial images that were found, a few of each attack, and the logits there.
    """

    subject: Subject
    callback: EvaluationCallback
    standing: Tensor
    alone: dict[str, Tensor] = field(default_factory=dict)
    points: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def run(self, name: str, attack: Attack, on: Tensor, network: nn.Module | None = None, stream: int = 0) -> Tensor:
        """Attack the images `on`, (n,) bool, and note what falls.

        Returns:
            (n,) bool, those of `on` that it leaves standing.
        """
        return self.try_points(name, on, lambda rows: self.subject.attacked(attack, rows, network, stream))

    def beyond(self, name: str, attack: Attack, on: Tensor) -> Tensor:
        """As `run`, with an attack of another radius: what falls under it still stands at the audit's own."""
        standing = self.standing
        held = self.run(name, attack, on)
        self.standing = standing
        del self.alone[name]
        return held

    def try_points(self, name: str, on: Tensor, points: Callable[[Tensor], Tensor], tell: bool = True) -> Tensor:
        """As `run`, with images that a function makes of rows (k,) int64; the callback may not be told."""
        rows, held = on.nonzero().squeeze(1), on.clone()
        if tell:
            self.callback.on_attack(name, len(rows))
        if len(rows):
            x_adv = points(rows)
            logits = self.subject.logits(x_adv)
            right = (logits.argmax(dim=1) == self.subject.y[rows]) & logits.amax(dim=1).isfinite()
            held[rows[~right]] = False
            self.standing = self.standing & (held | ~on)
            self.points.append((x_adv[:8], logits[:8]))
            if tell:
                self.callback.on_images(len(rows))
        self.alone[name] = held
        return held

    def curve(self) -> dict[str, float]:
        """The share of all images that each attack left standing, of those that it was made on; clean first."""
        shares = {name: float(held.double().mean()) for name, held in self.alone.items()}
        return {
            "clean": float(self.subject.right.double().mean()),
            **shares,
            "all": float(self.standing.double().mean()),
        }

    def seen(self) -> tuple[Tensor, Tensor]:
        """Some of the points that attacks have made, and the network's logits there."""
        if not self.points:
            return self.subject.x[:0], self.subject.clean[:0]
        return torch.cat([points for points, _ in self.points]), torch.cat([logits for _, logits in self.points])
