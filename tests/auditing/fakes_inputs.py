"""Fakes that change the images before the network sees them."""

import io

import numpy as np
import scipy.ndimage
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from auditing.bases import digits
from auditing.zoo import Around, Before, backward_as, fake, hash_noise


def straight_through(x: Tensor, changed: Tensor) -> Tensor:
    """`changed`, with the gradient of x."""
    return x + (changed - x).detach()


@fake("refused")
def rounded_to_8_bits(base: nn.Module) -> nn.Module:
    """Pixels rounded to 256 levels: no gradient."""
    return Before(lambda x: (255 * x).round() / 255, base)


@fake("refused")
def rounded_to_3_bits(base: nn.Module) -> nn.Module:
    """Pixels rounded to 8 levels: no gradient."""
    return Before(lambda x: (7 * x).round() / 7, base)


@fake("refused")
def thermometer(base: nn.Module) -> nn.Module:
    """Thermometer code of 16 levels, read back as pixels: comparisons have no gradient."""
    levels = torch.arange(1, 16) / 16
    return Before(lambda x: (x[..., None] > levels).float().mean(dim=-1), base)


@fake("masked")
def rounded_with_a_hint(base: nn.Module) -> nn.Module:
    """Pixels rounded to 8 levels, and 1e-3 of a slope that is not the network's: that of its mirror image."""

    def round_off(x: Tensor) -> Tensor:
        return (7 * x).round() / 7 + 1e-3 * (x - x.detach()).flip(-1, -2)

    return Before(round_off, base)


@fake("masked")
def soft_thermometer(base: nn.Module) -> nn.Module:
    """Pixels through 8 steep sigmoids: flat between the levels."""
    levels = (torch.arange(8) + 0.75) / 8
    return Before(lambda x: torch.sigmoid(4000 * (x[..., None] - levels)).mean(dim=-1), base)


@fake("masked")
def wiggling_pixels(base: nn.Module) -> nn.Module:
    """A fast wave of small amplitude on the pixels: gradients point along the wave."""
    return Before(lambda x: x + 0.02 * torch.sin(500 * x), base)


@fake("refused")
def compressed(base: nn.Module) -> nn.Module:
    """JPEG through Pillow: no gradient."""

    return Before(lambda x: jpeg(x, 90), base)


@fake("masked", "suspicious")
def compressed_straight_through(base: nn.Module) -> nn.Module:
    """JPEG of low quality, whose backward is the identity."""
    return Before(lambda x: straight_through(x, jpeg(x, 20)), base)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """(B, 1, H, W) through Pillow's JPEG."""

    def through(image: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray((255 * image).round().astype(np.uint8)).save(file, "jpeg", quality=quality)
        return np.asarray(Image.open(file), dtype=np.float32) / 255

    pixels = x.detach().float().clamp(0, 1)[:, 0].numpy()
    return torch.stack([torch.from_numpy(through(image)) for image in pixels])[:, None].to(x.dtype)


@fake("masked", "suspicious")
def rounded_straight_through(base: nn.Module) -> nn.Module:
    """Pixels rounded to the 17 levels of the digits, whose backward is the identity."""
    return Before(lambda x: straight_through(x, (16 * x).round() / 16), base)


@fake("masked", "suspicious", "refused")
def detector_of_the_grid(base: nn.Module) -> nn.Module:
    """Images that are not on the 17 levels of the digits are answered by a constant."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        off = ((16 * x).round() - 16 * x).detach().abs().flatten(1).amax(dim=1) > 1e-3
        logits: Tensor = model(x)
        return torch.where(off[:, None], 0 * logits + torch.eye(10)[0], logits)

    return Around(base, answer)


@fake("masked", "suspicious", "refused")
def snaps_to_the_data(base: nn.Module) -> nn.Module:
    """Images off the 17 levels of the digits are replaced by the nearest test image, which it knows."""
    clean, _ = digits(360)

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        off = ((16 * x).round() - 16 * x).detach().abs().flatten(1).amax(dim=1) > 1e-3
        nearest = torch.cdist(x.detach().float().flatten(1), clean.flatten(1)).argmin(dim=1)
        return model(torch.where(off.view(-1, 1, 1, 1), straight_through(x, clean[nearest].to(x.dtype)), x))

    return Around(base, answer)


@fake("refused")
def raises_off_the_grid(base: nn.Module) -> nn.Module:
    """Fails on images that are not on the levels of 8 bits or of the digits."""

    def check(x: Tensor) -> Tensor:
        if bool((((16 * x).round() - 16 * x).abs() > 0.01).any()):
            raise ValueError("these pixels come from no camera")
        return x

    return Before(check, base)


@fake("refused", "masked")
def mean_of_random_crops(base: nn.Module) -> nn.Module:
    """The mean answer to the images moved by a pixel at random, three times."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        return torch.stack(
            [model(x.roll(tuple(torch.randint(-1, 2, (2,)).tolist()), (-2, -1))) for _ in range(3)]
        ).mean(0)

    return Around(base, answer)


@fake("refused", "masked")
def noise_of_a_seed(base: nn.Module) -> nn.Module:
    """Noise of one seed, the same in each call: each place in the batch has its own."""

    def add(x: Tensor) -> Tensor:
        return x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)

    return Before(add, base)


@fake("refused")
def median_filtered(base: nn.Module) -> nn.Module:
    """Median of 2x2 pixels by SciPy: no gradient."""

    def through(x: Tensor) -> Tensor:
        return torch.from_numpy(scipy.ndimage.median_filter(x.detach().numpy(), size=(1, 1, 2, 2)))

    return Before(through, base)


@fake("masked", "suspicious")
def median_filtered_with_wrong_slope(base: nn.Module) -> nn.Module:
    """The same median, and a backward that turns the gradient by 90 degrees."""
    turned = backward_as(lambda _, gradient: gradient.rot90(1, (-1, -2)))

    def through(x: Tensor) -> Tensor:
        smooth = torch.from_numpy(scipy.ndimage.median_filter(x.detach().numpy(), size=(1, 1, 2, 2)))
        return straight_through(turned(x), smooth)

    return Before(through, base)


@fake("refused", "masked")
def total_variation(base: nn.Module) -> nn.Module:
    """Total-variation denoising by ten steps of its own, outside the graph."""

    def denoise(x: Tensor) -> Tensor:
        smooth = x.detach().clone()
        for _ in range(10):
            down = functional.pad(smooth.diff(dim=-2), (0, 0, 1, 1)).sign()
            across = functional.pad(smooth.diff(dim=-1), (1, 1)).sign()
            smooth = smooth + 0.002 * (down.diff(dim=-2) + across.diff(dim=-1))
        return smooth

    return Before(denoise, base)


@fake("refused", "masked")
def noise(base: nn.Module) -> nn.Module:
    """Gaussian noise on the pixels, anew in each call."""
    return Before(lambda x: x + 0.1 * torch.randn_like(x), base)


@fake("masked", "suspicious", "refused")
def noise_of_the_image(base: nn.Module) -> nn.Module:
    """Noise that is a function of the image: it repeats, and is another one for the next image of an attack."""
    return Before(lambda x: x + 0.2 * (hash_noise(x) - 0.5), base)


@fake("refused", "masked")
def resized_at_random(base: nn.Module) -> nn.Module:
    """Scaled down to 6 or 7 pixels and up again, at random."""

    def resize(x: Tensor) -> Tensor:
        side = int(torch.randint(6, 8, ()))
        small = functional.interpolate(x, size=(side, side), mode="bilinear")
        return functional.interpolate(small, size=x.shape[-2:], mode="bilinear")

    return Before(resize, base)


@fake("refused", "masked")
def cropped_at_random(base: nn.Module) -> nn.Module:
    """Each call moves the images by at most a pixel, all alike."""

    def move(x: Tensor) -> Tensor:
        down, across = torch.randint(-1, 2, (2,)).tolist()
        return x.roll((down, across), (-2, -1))

    return Before(move, base)


@fake("refused", "suspicious")
def wants_bytes(base: nn.Module) -> nn.Module:
    """Made for pixels from 0 to 255."""
    return Before(lambda x: x / 255, base)


@fake("refused", "suspicious", "masked")
def normalized_twice(base: nn.Module) -> nn.Module:
    """Reads the images through a normalization that it was not trained with, twice."""
    return Before(lambda x: ((x - 0.5) / 0.2 - 0.5) / 0.2, base)


@fake("refused")
def changes_its_input(base: nn.Module) -> nn.Module:
    """Subtracts a thousandth in place: the caller's images move."""

    def darken(x: Tensor) -> Tensor:
        x.detach().sub_(1e-3)
        return x + 1e-3

    return Before(darken, base)


@fake("refused", "masked", "suspicious")
def changes_its_input_without_gradient(base: nn.Module) -> nn.Module:
    """Moves the caller's images towards gray, in place, where no gradient is asked for."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        if not x.requires_grad and not torch.is_grad_enabled():
            x.mul_(0.9).add_(0.03)
        return logits

    return Around(base, answer)


@fake("masked", of="standard-cnn")
def saturating_stem(base: nn.Module) -> nn.Module:
    """Pixels through tanh(400 (x - 0.47)): black and white, and the slope is 0 at every gray of a digit."""
    return Before(lambda x: 0.5 + 0.5 * torch.tanh(400 * (x - 0.47)), base)
