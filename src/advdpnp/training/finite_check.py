"""Watches for non-finite losses without making the device wait at every step."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class NonFiniteLossError(ValueError):
    """A loss term or the weights became NaN or infinite."""


class FiniteCheck:
    """Remembers the first (step, term) that was not finite, in a tensor on the device.

    Args:
        device: where the losses live.
        steadier: what may help besides a lower rate, as `Defense.steadier` gives it.
    """

    def __init__(self, device: torch.device, steadier: str = "") -> None:
        self._cure = "lower recipe.lr" + (f", or try {steadier}" if steadier else "")
        self._first = torch.full((), -1, dtype=torch.int64, device=device)

    def watch(self, values: Tensor, step: int) -> None:
        """Look at the loss terms (T,) of one step; no host read."""
        bad = ~values.isfinite()
        code = step * len(values) + bad.int().argmax()
        self._first = torch.where((self._first < 0) & bad.any(), code, self._first)

    def check_losses(self, terms: Sequence[str], steps_per_epoch: int) -> None:
        """Read the tensor; raise NonFiniteLossError naming epoch, step and term."""
        code = int(self._first)
        if code >= 0:
            step, term = divmod(code, len(terms))
            epoch, step = divmod(step, steps_per_epoch)
            self._fail(f"loss term {terms[term]} became non-finite in epoch {epoch + 1}, step {step + 1}")

    def check_weights(self, *networks: Mapping[str, Tensor]) -> None:
        """Raise NonFiniteLossError if a weight is bad: a finite loss can have a gradient that is not.

        Args:
            networks: state dicts of the network that is trained, and of those that are stored.
        """
        for weights in networks:
            for name, weight in weights.items():
                if weight.is_floating_point() and not weight.isfinite().all():
                    self._fail(f"weights {name} became non-finite while the losses were still finite")

    def _fail(self, what: str) -> None:
        raise NonFiniteLossError(f"{what}: training stopped and the last good checkpoint is kept; {self._cure}")
