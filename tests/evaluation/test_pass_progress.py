"""Verdicts of one pass over the images, as they are added chunk by chunk."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from advdpnp.evaluation import state
from advdpnp.evaluation.state import PassProgress
from advdpnp.metrics import accuracy, unpack
from advdpnp.runs import Json


def drawn(n: int, seed: int) -> Tensor:
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5


def added(content: Json, chunks: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Right, not finite and reached of chunks that are added to a progress."""
    progress = PassProgress(content, lambda: None)
    whole = tuple(drawn(chunks * rows, seed) for seed in range(3))
    for right, nonfinite, reached in zip(*(bits.split(rows) for bits in whole), strict=True):
        progress.add(right, nonfinite, torch.ones(rows), 0.0, reached)
    return whole  # type: ignore[return-value]


def test_what_was_added_in_chunks_is_there_as_a_whole() -> None:
    content = deepcopy(state._NOTHING)
    whole = added(content, 5, 7)
    assert content["n"] == 35 and content["sum"] == 35.0
    for name, bits in zip(("verdicts", "hindered", "reached"), whole, strict=True):
        assert torch.equal(unpack(content[name], 35), bits)


def test_a_progress_of_an_earlier_version_goes_on() -> None:
    content = deepcopy(state._NOTHING)
    right, _, _ = added(content, 3, 10)
    del content["hindered"], content["reached"]
    PassProgress(content, lambda: None).add(right[:4], right[:4], torch.ones(4), 0.0, right[:4])
    for name in ("hindered", "reached"):
        assert torch.equal(unpack(content[name], 34), torch.cat([torch.zeros(30, dtype=torch.bool), right[:4]]))


def test_a_chunk_costs_the_same_after_many_images_as_after_few(monkeypatch: pytest.MonkeyPatch) -> None:
    content, sizes = deepcopy(state._NOTHING), []

    def noted(text: str, n: int) -> Tensor:
        sizes.append(n)
        return unpack(text, n)

    for module in (state, accuracy):
        monkeypatch.setattr(module, "unpack", noted)
    added(content, 20, 128)
    assert max(sizes) < 24
