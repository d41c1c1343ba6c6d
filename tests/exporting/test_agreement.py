import pytest
import torch
from torch import Tensor

from advdpnp.exporting.agreement import agreement, reference_logits


def first_pixels(x: Tensor) -> Tensor:
    return 10 * x.flatten(1)[:, :4]


@pytest.fixture
def noise() -> Tensor:
    return torch.rand(300, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_batches_are_of_one_seven_and_128_images(noise: Tensor) -> None:
    sizes = []

    def watch(x: Tensor) -> Tensor:
        sizes.append(len(x))
        return first_pixels(x)

    same = agreement(watch, reference_logits(first_pixels, noise, "images"), "file")  # type: ignore[arg-type]
    assert sizes == [1, 7, 128, 128, 36]
    assert (same.images, same.same_class, same.largest, same.relative) == (300, 300, 0.0, 0.0)


def test_a_difference_is_measured_against_the_largest_logit(noise: Tensor) -> None:
    seen = reference_logits(first_pixels, noise, "images")  # type: ignore[arg-type]
    found = agreement(lambda x: first_pixels(x) + 1e-5, seen, "file")
    assert found.largest == pytest.approx(1e-5, rel=0.1)
    assert found.relative == pytest.approx(found.largest / first_pixels(noise).max().item())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: first_pixels(x) + 0.1,
        lambda x: first_pixels(x).flip(1),
        lambda x: first_pixels(x) * torch.nan,
        lambda x: first_pixels(x[:1]).expand(len(x), -1),
    ],
    ids=["shifted", "other class", "nan", "one image for all"],
)
def test_another_classifier_is_refused(noise: Tensor, wrong: object) -> None:
    with pytest.raises(ValueError, match=r"model\.x would not be the same classifier"):
        agreement(wrong, reference_logits(first_pixels, noise, "images"), "model.x")  # type: ignore[arg-type]
