"""Projected ascent on parts of a batch: the same images, whatever is cut."""

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks.parts import AscentInParts, rows_in_cache, usual_ascent
from advdpnp.attacks.projected_ascent import AscentLoss, Budget, ascend, cross_entropy, kl_divergence
from advdpnp.noise import IndexNoise
from advdpnp.threat import ThreatModel

N = 7
X = torch.rand(N, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0])
NOISE = IndexNoise(3, torch.arange(N))


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)).double()


def budget(start: str = "uniform") -> Budget:
    return Budget(ThreatModel("linf", 0.1), 4, 0.03, start)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
# At the image itself the divergence has no gradient.
@pytest.mark.parametrize(
    ("start", "loss"),
    [("uniform", cross_entropy), ("none", cross_entropy), ("uniform", kl_divergence), ("normal", kl_divergence)],
)
def test_each_image_is_attacked_as_in_the_whole_batch(rows: int, start: str, loss: AscentLoss) -> None:
    model = network()
    reference = (Y,) if loss is cross_entropy else (model(X).detach(),)
    whole = ascend(model, loss, X, reference, budget=budget(start), noise=NOISE)
    parts = AscentInParts(rows)(model, loss, X, reference, budget=budget(start), noise=NOISE)
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_row_i_of_per_step_reaches_iteration_i_of_each_part() -> None:
    seen = []

    def loss(output: Tensor, reference: tuple[Tensor, ...], row: tuple[Tensor, ...]) -> Tensor:
        seen.append((len(output), row[0].item()))
        return output.sum(dim=1)

    AscentInParts(4)(network(), loss, X, (Y,), (torch.arange(4.0),), budget=budget(), noise=NOISE)
    assert seen == [(4, 0.0), (4, 1.0), (4, 2.0), (4, 3.0), (3, 0.0), (3, 1.0), (3, 2.0), (3, 3.0)]


@pytest.mark.parametrize(
    ("reference", "per_step"), [((torch.zeros(2, 3),), ()), ((Y,), (torch.zeros(4, N),))], ids=["reference", "rows"]
)
def test_what_is_not_a_number_of_each_image_is_not_cut(
    reference: tuple[Tensor, ...], per_step: tuple[Tensor, ...]
) -> None:
    seen = []

    def loss(output: Tensor, reference: tuple[Tensor, ...], row: tuple[Tensor, ...]) -> Tensor:
        seen.append((len(output), *(tuple(values.shape) for values in (*reference, *row))))
        return output.sum(dim=1)

    AscentInParts(2)(network(), loss, X, reference, per_step, budget=budget(), noise=NOISE)
    shapes = (tuple(reference[0].shape), *(tuple(values.shape[1:]) for values in per_step))
    assert seen == [(N, *shapes)] * 4


@pytest.mark.parametrize(
    ("channels", "dtype", "rows"),
    # 32 * 32 * 4 bytes of each channel: 16 channels of an image are 64 KiB, of which 2 MiB hold 32.
    [(16, torch.float32, 32), (8, torch.float32, 64), (17, torch.float32, None), (8, torch.float64, 32)],
)
def test_a_part_is_what_two_mebibytes_hold_of_the_largest_activation(
    channels: int, dtype: torch.dtype, rows: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.MaxPool2d(2), nn.Flatten()).to(dtype)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert rows_in_cache(layers, (3, 32, 32)) == rows
    assert usual_ascent(layers, (3, 32, 32)) == (AscentInParts(rows) if rows else ascend)
    assert all(not module._forward_hooks for module in layers.modules())


def test_each_thread_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Conv2d(3, 12, 3, padding=1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    # 48 KiB an image: 42 fit, of which the power of two is 32.
    assert rows_in_cache(layer, (3, 32, 32)) == 3 * 32
