"""Unknown networks: what is refused, what is warned of, what passes."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.data import Images
from advdpnp.evaluation import examine
from external.networks import Plain, Wrapped, digits, trained


def test_a_sound_network_passes_without_a_word_and_stays_as_it_was() -> None:
    model = trained()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.linear.bias.requires_grad_(False)
    assert examine(model, digits(), 10) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.linear.weight.requires_grad and not model.linear.bias.requires_grad


def test_log_probabilities_are_logits() -> None:
    assert examine(Wrapped(after=lambda z: z.log_softmax(1)), digits(), 10) == []


def in_place(x: Tensor) -> Tensor:
    return x.mul_(0.5) if not x.requires_grad else x * 0.5


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy(x.detach().numpy())


def rounded(x: Tensor) -> Tensor:
    return (255 * x).round() / 255


def batch_standardized(x: Tensor) -> Tensor:
    return (x - x.mean(dim=0)) / (x.std(dim=0, correction=0) + 0.1)


def noisy(x: Tensor) -> Tensor:
    return x + 0.01 * torch.randn_like(x)


def rooted(x: Tensor) -> Tensor:
    return (x - x.detach()).abs().sqrt() + x


@pytest.mark.parametrize(
    "model, message",
    [
        (trained().train(), "training mode"),
        (nn.Sequential(Wrapped(), nn.Dropout().train()).eval().append(nn.Dropout()), "training mode (2)"),
        (Wrapped(before=lambda x: x[:, :, :7]), "cannot take images of (1, 8, 8)"),
        (Wrapped(after=lambda z: (z, z)), "a tuple of 2 (Tensor, Tensor)"),
        (Wrapped(after=lambda z: {"logits": z}), "a dict with logits"),
        (Wrapped(after=lambda z: z.argmax(1)), "(16,) torch.int64"),
        (Wrapped(after=lambda z: z[:, :1]), "C at least 2"),
        (Wrapped(after=lambda z: z.to_sparse()), "a plain, dense tensor; got one of layout torch.sparse_coo"),
        (Wrapped(after=lambda z: z.to("meta")), "a plain, dense tensor; got one without data"),
        (Wrapped(after=lambda z: z[:, :9]), "gives 9 classes, but the data set has 10: build"),
        (Wrapped(after=lambda z: z * torch.nan), "of 16 of 16 test images are not finite"),
        (Wrapped(after=lambda z: z.softmax(1)), "probabilities, not logits"),
        (Wrapped(before=in_place), "changes its input in place"),
        (Wrapped(before=noisy), "same images differently"),
        (Wrapped(after=nn.functional.dropout), "same images differently"),
        (Wrapped(before=batch_standardized), "depend on the other images"),
        (nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), Wrapped()).eval(), "depend on the other images"),
        (Wrapped(before=lambda x: x.view(16, 1, 8, 8)), "but not the same images alone"),
        (Wrapped(before=through_numpy), "no gradient"),
        (Wrapped(before=torch.Tensor.detach), "no gradient reaches the images"),
        (Wrapped(before=rounded), "no gradient reaches the images"),
        (Wrapped(before=rooted), "gradient of 16 of 16 images is not finite"),
    ],
)
def test_what_makes_numbers_meaningless_is_refused_with_the_reason(model: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as refused:
        examine(model, digits(), 10)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "wants, cure", [(lambda x: 0.3 + 0.38 * x, "--mean and --std"), (lambda x: x / 255, "--mean 0 --std 0.003922")]
)
def test_a_network_that_wants_other_pixels_is_told_by_its_accuracy(wants: Callable[[Tensor], Any], cure: str) -> None:
    class Brittle(nn.Module):
        """Right only on pixels that `wants` brings back to [0, 1], by a bias that swamps all else."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = trained()

        def forward(self, x: Tensor) -> Any:
            pixels = wants(x)
            off = (pixels.mean(dim=(1, 2, 3)) - 0.305).abs().sub(0.08).clamp_min(0)[:, None]
            return self.inner(pixels) + 1e4 * off * torch.eye(10)[3]

    with pytest.raises(ValueError, match=f"is normalization missing.*{cure}"):
        examine(Brittle().eval(), digits(), 10)


def test_weights_of_chance_are_warned_of() -> None:
    model = trained()
    shuffled = nn.Sequential(model, nn.Linear(10, 10, bias=False)).eval()
    with torch.no_grad():
        shuffled[1].weight.copy_(torch.eye(10).roll(1, 0))
    (note,) = examine(shuffled, digits(), 10)
    assert "near chance" in note and "another order" in note


def test_vanishing_cross_entropy_gradients_are_a_warning() -> None:
    (note,) = examine(Wrapped(after=lambda z: 1e5 * z), digits(), 10)
    assert "masked gradients" in note


def test_changing_buffers_are_a_warning() -> None:
    class Counting(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Any:
            self.calls += 1
            return super().forward(x)

    (note,) = examine(trained(Counting()), digits(), 10)
    assert "changes its buffers when it is called (calls)" in note


def test_half_precision_logits_are_a_warning_and_their_rounding_no_reason_to_refuse() -> None:
    class Autocast(Plain):
        def forward(self, x: Tensor) -> Any:
            with torch.autocast("cpu", torch.bfloat16):
                return super().forward(x)

    notes = examine(trained(Autocast()), digits(), 10)
    assert notes[-1].startswith("logits are torch.bfloat16")


def test_images_out_of_range_are_refused_and_gradients_are_not_needed_without_attacks() -> None:
    images = digits()
    with pytest.raises(ValueError, match=r"images must be in \[0, 1\]"):
        examine(trained(), Images(images.pixels, images.labels, levels=8), 10)
    assert examine(Wrapped(before=rounded), images, 10, attacked=False) == []
