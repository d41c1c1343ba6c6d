"""What holds for every corruption: range, 8 bits, noise keyed by the image, any size, growing severity."""

import re
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.data.corruptions import CORRUPTIONS, corrupt
from advdpnp.data.corruptions.constants import CONSTANTS

from .conftest import photos

# Of these the authors' own constants do not grow with the severity: of the affine part of the elastic transformation
# they shrink; glass blur at 3 takes pixels once, at 4 twice; saturation falls, then rises; water becomes mud; and frost
# gets thicker on an image that it leaves less of.
_NOT_GROWING = {"elastic_transform", "glass_blur", "saturate", "spatter", "frost"}
DRAWN = set(CORRUPTIONS) - {
    *(
        "defocus_blur",
        "zoom_blur",
        "gaussian_blur",
        "brightness",
        "contrast",
        "saturate",
        "pixelate",
        "jpeg_compression",
    )
}


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_images_stay_in_range_at_8_bits_and_change(corruption: str) -> None:
    x = photos(4)
    for severity in (1, 5):
        found = corrupt(x, corruption, severity)
        assert found.shape == x.shape and found.dtype == torch.float32
        assert found.min() >= 0 and found.max() <= 1
        assert torch.equal((255 * found).round() / 255, found) and not torch.equal(found, x)


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_an_image_is_corrupted_alike_in_every_batch_and_order(corruption: str) -> None:
    x, index = photos(5), torch.tensor([7, 3, 9, 0, 4])
    whole = corrupt(x, corruption, 3, index=index)
    order = torch.tensor([4, 1, 0, 3, 2])
    assert torch.equal(corrupt(x[order], corruption, 3, index=index[order]), whole[order])
    for place in range(2):
        assert torch.equal(corrupt(x[[place]], corruption, 3, index=index[[place]]), whole[[place]])


@pytest.mark.parametrize("corruption", sorted(DRAWN))
def test_another_index_and_another_seed_draw_anew(corruption: str) -> None:
    x = photos(2)[[0, 0]]
    found = corrupt(x, corruption, 5)
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(corrupt(x, corruption, 5, seed=1), found)


@pytest.mark.parametrize("corruption", sorted(set(CORRUPTIONS) - _NOT_GROWING))
def test_the_distance_from_the_clean_image_grows_with_the_severity(corruption: str) -> None:
    x = photos(24)
    far = [(corrupt(x, corruption, severity) - x).abs().mean().item() for severity in range(1, 6)]
    # Of motion blur 3 and 4 differ in the end of the trail alone; and angles and drops are drawn anew at each severity.
    assert all(later > 0.97 * earlier for earlier, later in pairwise(far)) and far[4] > 1.1 * far[0] > 0


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 20, 33), (2, 9, 9), (3, 1, 1)])
def test_images_of_any_size_and_number_of_channels(shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    x = photos(2, channels, max(height, width))[..., :height, :width]
    for corruption in CORRUPTIONS:
        found = corrupt(x, corruption, 5)
        assert found.shape == x.shape and found.isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("side", [96, 224])
def test_larger_images(side: int) -> None:
    x = photos(1, 3, side)
    for corruption in CORRUPTIONS:
        assert corrupt(x, corruption, 1).shape == x.shape


def test_gray_images_are_corrupted_as_equal_channels_are() -> None:
    gray = photos(3, 1)
    for corruption in (
        "brightness",
        "contrast",
        "gaussian_blur",
        "defocus_blur",
        "zoom_blur",
        "pixelate",
        "fog",
        "motion_blur",
    ):
        found = corrupt(gray, corruption, 4)
        assert torch.allclose(corrupt(gray.repeat(1, 3, 1, 1), corruption, 4)[:, :1], found, atol=1.01 / 255)


def test_no_images_give_no_images_and_the_dtype_is_float32() -> None:
    assert corrupt(torch.zeros(0, 3, 8, 8), "fog", 1).shape == (0, 3, 8, 8)
    assert corrupt(photos(1).double(), "fog", 1).dtype == torch.float32


@pytest.mark.parametrize(
    ("x", "corruption", "severity", "options", "message"),
    [
        (photos(1), "mist", 1, {}, "unknown corruption 'mist'; nearest: "),
        (photos(1), "fog", 0, {}, "a severity is an integer from 1 to 5; got 0"),
        (photos(1), "fog", 6, {}, "a severity is an integer from 1 to 5; got 6"),
        (photos(1), "fog", 2.0, {}, "a severity is an integer from 1 to 5; got 2.0"),
        (255 * photos(1), "fog", 1, {}, "images must be in [0, 1]; got values from "),
        (photos(1)[0], "fog", 1, {}, "images must be (B, channels, H, W) floats; got (3, 32, 32)"),
        (photos(1) > 0, "fog", 1, {}, "images must be (B, channels, H, W) floats; got (1, 3, 32, 32) torch.bool"),
        (photos(1) * torch.nan, "fog", 1, {}, "images must be in [0, 1]; got values from nan"),
        (photos(1).numpy(), "fog", 1, {}, "images must be a tensor of torch; got a ndarray"),
        (photos(1), "fog", 1, {"index": torch.arange(2)}, "index must be (1,) int64, one for each image; got (2,)"),
        (photos(1), "fog", 1, {"seed": 0.5}, "seed must be a whole number"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    x: Any, corruption: str, severity: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)) as refusal:
        corrupt(x, corruption, severity, **options)
    assert "\n" not in str(refusal.value)


def test_constants_are_those_of_the_nearer_size_and_lengths_grow_with_the_side() -> None:
    assert set(CONSTANTS) == set(CORRUPTIONS)
    for constants in CONSTANTS.values():
        assert len(constants.cifar) == len(constants.imagenet) == 5
    blur, noise = CONSTANTS["gaussian_blur"], CONSTANTS["gaussian_noise"]
    assert blur.of(5, 32) == (1,) and blur.of(5, 64) == (2,) and blur.of(5, 8) == (1,)
    assert blur.of(5, 224) == (6,) and blur.of(5, 112) == (3,) and blur.of(5, 448) == (12,)
    assert [noise.of(1, side) for side in (8, 84, 85, 500)] == [(0.04,), (0.04,), (0.08,), (0.08,)]
    # The authors' own ones: alpha = 0.1 x 32 and 2 x 244 pixels.
    elastic = CONSTANTS["elastic_transform"]
    assert elastic.of(5, 32)[0] * 32 == pytest.approx(3.2) and elastic.of(1, 224)[0] * 224 == pytest.approx(488)


def test_what_is_corrupted_has_no_history() -> None:
    x: Tensor = photos(1).requires_grad_()
    assert not corrupt(x, "fog", 1).requires_grad
