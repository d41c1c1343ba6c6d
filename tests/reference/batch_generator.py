"""The random numbers of the official AutoAttack code, so that its verdicts can be compared with ours per image."""

import torch
from torch import Tensor


class BatchGeneratorNoise:
    """Replays the draws of the official AutoAttack code for one batch; a `Noise` for our attacks.

    That code seeds PyTorch's global generator before each batch of each attack, draws for the images that are still
    right, and some numbers once for all of them. The order of the calls decides what is drawn, and the names of our
    streams tell which of these cases it is.

    Args:
        seed: of the generator of each attack.
        batch: rows B.
        unused_starts: further draws of a start that Auto-PGD in l1 makes and leaves, one for each phase.
    """

    def __init__(self, seed: int, batch: int, unused_starts: int = 0) -> None:
        self._seed, self._batch, self._unused_starts = seed, batch, unused_starts
        # Shared by the noise of some rows, and of other steps: one generator for each attack; and the step of Square at
        # which the last start was drawn.
        self._generators: dict[str, torch.Generator] = {}
        self._started: dict[str, Tensor] = {}
        self._step = torch.zeros(batch, dtype=torch.int64)

    def uniform(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32 in [0, 1); of some streams every row is the same."""
        if stream.startswith(("stripes", "tile")):
            self._started["step"] = self._step[:1]
        elif stream in ("square", "sign") and torch.equal(self._step[:1], self._started["step"]):
            # Before the first square ours draws one that it does not use.
            return torch.zeros((self._batch, *shape), dtype=torch.float32)
        if stream == "square" or stream.endswith("/turn"):
            # One number is drawn as a vector of one there.
            once = torch.rand(shape or (1,), generator=self._generator(stream), dtype=torch.float32).reshape(shape)
            return once.expand(self._batch, *shape)
        return torch.rand((self._batch, *shape), generator=self._generator(stream), dtype=torch.float32)

    def normal(self, stream: str, shape: tuple[int, ...]) -> Tensor:
        """(B, *shape) float32, standard normal."""
        drawn = [
            torch.randn((self._batch, *shape), generator=self._generator(stream), dtype=torch.float32)
            for _ in range(1 + self._unused_starts)
        ]
        return drawn[0]

    def rows(self, rows: Tensor) -> "BatchGeneratorNoise":
        """For these rows (k,) int64 of the batch, from the same generators."""
        return self._with(self._step[rows])

    def at(self, step: Tensor) -> "BatchGeneratorNoise":
        """At another step, (B,) int64, from the same generators."""
        return self._with(step)

    def _with(self, step: Tensor) -> "BatchGeneratorNoise":
        other = BatchGeneratorNoise(self._seed, len(step), self._unused_starts)
        other._generators, other._started, other._step = self._generators, self._started, step
        return other

    def _generator(self, stream: str) -> torch.Generator:
        """That of the attack which draws from the stream."""
        if "/start-" in stream:
            attack = stream.partition("/start-")[0]
        else:
            attack = "fab-t" if stream.startswith("fab-") else "square"
        return self._generators.setdefault(attack, torch.Generator().manual_seed(self._seed))
