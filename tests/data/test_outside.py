"""Images from outside in a network's shape: conversions with known answers, and noise of known moments."""

import pytest
import torch

from advdpnp.data import Images
from advdpnp.data.outside import OutsideImages, OutsideNoise, conversion_text, converted

CPU = torch.device("cpu")


def test_gray_becomes_three_equal_colors_and_colors_their_gray_level() -> None:
    gray = torch.rand(2, 1, 4, 4)
    assert torch.equal(converted(gray, (3, 4, 4)), gray.repeat(1, 3, 1, 1))
    color = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    expected = 0.299 * 1 + 0.587 * 0.5 + 0.114 * 0.25
    torch.testing.assert_close(converted(color, (1, 2, 2)), torch.full((1, 1, 2, 2), expected))


def test_a_size_is_halved_with_the_antialiased_triangle() -> None:
    # Half the size: a triangle of weights 1, 3, 3, 1 over 8; at the border its outer part is left out.
    row = torch.tensor([0.0, 0.1, 0.9, 0.3, 0.7, 0.5])
    x = row.expand(1, 1, 6, 6)
    middle = (0.1 + 3 * 0.9 + 3 * 0.3 + 0.7) / 8
    left, right = (3 * 0.0 + 3 * 0.1 + 0.9) / 7, (0.3 + 3 * 0.7 + 3 * 0.5) / 7
    expected = torch.tensor([left, middle, right]).expand(1, 1, 3, 3)
    torch.testing.assert_close(converted(x, (1, 3, 3)), expected, atol=1e-6, rtol=0)


def test_a_wide_image_is_cut_in_the_middle() -> None:
    x = torch.zeros(1, 1, 4, 12)
    x[..., 4:8] = 1
    assert torch.equal(converted(x, (1, 4, 4)), torch.ones(1, 1, 4, 4))


def test_what_is_done_is_said() -> None:
    assert conversion_text((1, 28, 28), (3, 32, 32)) == "resized from 28x28 to 32x32, gray made color"
    assert conversion_text((3, 32, 32), (3, 32, 32)) == ""
    images = Images(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
    outside = OutsideImages("photos", images, (1, 28, 28))
    assert outside.conversion == "resized from 32x32 to 28x28, color made gray"
    assert outside.batch(torch.tensor([2, 0])).shape == (2, 1, 28, 28)


def test_noise_has_the_moments_of_its_distribution() -> None:
    index = torch.arange(200)
    uniform = OutsideNoise("uniform-noise", (3, 16, 16), 200, CPU).batch(index)
    assert (float(uniform.mean()), float(uniform.var())) == pytest.approx((0.5, 1 / 12), abs=0.003)
    gaussian = OutsideNoise("gaussian-noise", (3, 16, 16), 200, CPU).batch(index)
    # Of a normal variable of mean 1/2 and variance 1, P(z < -1/2) = 0.30854 is cut to 0, and as much to 1.
    for end in (0.0, 1.0):
        assert float((gaussian == end).float().mean()) == pytest.approx(0.30854, abs=0.004)


def test_noise_is_a_function_of_the_position() -> None:
    outside = OutsideNoise("gaussian-noise", (1, 8, 8), 10, CPU)
    whole = outside.batch(torch.arange(10))
    assert torch.equal(outside.batch(torch.tensor([7, 2])), whole[[7, 2]])
    assert not torch.equal(whole[0], whole[1])


def test_a_noise_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="uniform-noise, gaussian-noise"):
        OutsideNoise("pink-noise", (1, 8, 8), 10, CPU)  # type: ignore[arg-type]
