"""Watches for non-finite losses without making the device wait at every step."""

import torch
from torch import Tensor, nn


class NonFiniteLossError(ValueError):
    """A loss term or the weights became NaN or infinite."""


class FiniteGuard:
    """Remembers the first (step, term) that was not finite, in a tensor on the device.

    Args:
        device: where the losses live.
    """

    def __init__(self, device: torch.device) -> None:
        self._first = torch.full((), -1, dtype=torch.int64, device=device)
        self._terms: list[str] = []

    def watch(self, terms: dict[str, Tensor], step: int) -> None:
        """Look at the scalar terms of one step; no host read."""
        self._terms = list(terms)
        bad = ~torch.stack([term.detach() for term in terms.values()]).isfinite()
        code = step * len(terms) + bad.int().argmax()
        self._first = torch.where((self._first < 0) & bad.any(), code, self._first)

    def check_losses(self, steps_per_epoch: int) -> None:
        """Read the tensor; raise NonFiniteLossError naming epoch, step and term."""
        code = int(self._first)
        if code >= 0:
            step, term = divmod(code, len(self._terms))
            epoch, step = divmod(step, steps_per_epoch)
            self._fail(f"loss term {self._terms[term]} became non-finite in epoch {epoch + 1}, step {step + 1}")

    def check_weights(self, model: nn.Module) -> None:
        """Raise NonFiniteLossError if a weight is bad: a finite loss can have a gradient that is not."""
        for name, weight in model.state_dict().items():
            if weight.is_floating_point() and not weight.isfinite().all():
                self._fail(f"weights {name} became non-finite while the losses were still finite")

    @staticmethod
    def _fail(what: str) -> None:
        raise NonFiniteLossError(
            f"{what}: training stopped and the last good checkpoint is kept. Lower recipe.lr, or see docs/decisions.md "
            "for the switches that steady the prototypes (renormalize=step)"
        )
