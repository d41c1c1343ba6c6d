"""Which numbers of rows a network may be called on at once.

A verdict may depend on the rounding of a forward, and that on how many rows it has. So stepwise attacks promise the
verdicts of forwards of one shape, the chunk. Where a network is small, calls of few rows cost more than what is in
them; and most networks round a row alike in batches of many sizes, which then say what their chunks would say.
"""

import torch
from torch import Tensor, nn

from advdpnp import noise
from advdpnp.attacks.monitored_model import MonitoredModel


class ForwardShapes:
    """How many rows are called on together: as many as there are, where that changes no bit of any row's answers.

    A number of rows is tried when it is first asked for, on random images: logits and an input gradient, beside those
    of the chunks. Libraries choose how they add up by the shape of a batch and not by what is in it, so what agrees
    there agrees everywhere. It depends on the network, the machine and the number of threads alone, and not on which
    images are attacked.

    Args:
        network: what attacks compute on, on a CPU.
        image_shape: (channels, H, W).
        chunk: rows that are always allowed.
        most: rows, at least `chunk`.
    """

    def __init__(self, network: nn.Module, image_shape: tuple[int, ...], chunk: int, most: int) -> None:
        self._network, self._image_shape = network, image_shape
        self._chunk, self.most = chunk, most - most % chunk
        self._alike: dict[int, bool] = {chunk: True}
        self._reference: tuple[Tensor, ...] | None = None

    def __call__(self, left: int) -> int:
        """Rows of the next forward, where so many are left; the chunk if more would not do.

        Args:
            left: a multiple of the chunk.
        """
        wanted = max(min(left, self.most), self._chunk)
        return wanted if self.agrees(wanted) else self._chunk

    def agrees(self, rows: int) -> bool:
        """Whether the answers of so many rows, a multiple of the chunk, are those of its chunks, bit for bit."""
        if rows not in self._alike:
            # Networks that draw random numbers never agree, and what they would have drawn next is left as it was.
            with torch.random.fork_rng(devices=[]):
                self._alike[rows] = self._compared(rows)
        return self._alike[rows]

    def _compared(self, rows: int) -> bool:
        x = noise.uniform(0, "forward shapes", 0, torch.arange(self.most), self._image_shape)
        if self._reference is None:
            parts = [self._answers(part) for part in torch.split(x, self._chunk)]
            self._reference = tuple(torch.cat(values) for values in zip(*parts, strict=True))
        found = self._answers(x[:rows])
        return all(torch.equal(value, wanted[:rows]) for value, wanted in zip(found, self._reference, strict=True))

    def _answers(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits without and with a graph, and the gradient of a loss, where there is one."""
        network = MonitoredModel(self._network, len(x), x.device)
        with torch.no_grad():
            alone = network(x)
        leaf = x.clone().requires_grad_()
        with torch.enable_grad():
            logits = network(leaf)
            if not logits.requires_grad:
                return alone, logits
            (gradient,) = torch.autograd.grad(logits.logsumexp(dim=1).sum(), leaf, allow_unused=True)
        return alone, logits.detach(), torch.zeros_like(x) if gradient is None else gradient
