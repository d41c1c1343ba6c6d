import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional as F

from advdpnp.data import Augmentation, augment
from advdpnp.data.augment import Draw
from advdpnp.noise import IndexNoise

AUGMENTATIONS = [
    Augmentation(padding, mode, flip) for padding in (0, 1, 4) for mode in ("reflect", "zero") for flip in (False, True)
]


def photos(n: int = 40, shape: tuple[int, int, int] = (3, 9, 7)) -> Tensor:
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def one_by_one(pixels: Tensor, index: Tensor, augmentation: Augmentation, draw: Draw) -> Tensor:
    """Slow reference: pad, slice and flip each image by itself."""
    p, (height, width) = augmentation.padding, pixels.shape[2:]
    crops, flips = draw("crop", (2,)), draw("flip", (1,))
    batch = []
    for image, crop, flip in zip(pixels[index].float(), crops, flips, strict=True):
        padded = F.pad(image[None], (p, p, p, p), mode="reflect" if augmentation.mode == "reflect" else "constant")[0]
        top, left = (int(u * (2 * p + 1)) for u in crop.tolist())
        out = padded[:, top : top + height, left : left + width]
        batch.append(out.flip(2) if augmentation.flip and flip.item() < 0.5 else out)
    return torch.stack(batch).to(torch.uint8)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
def test_a_batch_equals_padding_slicing_and_flipping_each_image(augmentation: Augmentation) -> None:
    pixels = photos()
    index = torch.tensor([5, 0, 39, 5, 17, 20, 21, 22, 8])
    draw = IndexNoise(3, index, step=2).uniform
    out = augment(pixels, index, augmentation, draw)
    assert out.dtype == torch.uint8
    assert torch.equal(out, one_by_one(pixels, index, augmentation, draw))


def test_without_padding_and_flip_nothing_is_drawn_and_the_batch_is_plain() -> None:
    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        raise AssertionError(f"drew {name}")

    index = torch.tensor([3, 1])
    assert torch.equal(augment(photos(), index, Augmentation(), draw), photos()[index])


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=repr)
def test_an_image_is_augmented_alike_whatever_batch_it_is_in(augmentation: Augmentation) -> None:
    pixels = photos()
    index = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    whole = augment(pixels, index, augmentation, IndexNoise(0, index).uniform)
    parts = [augment(pixels, part, augmentation, IndexNoise(0, part).uniform) for part in index.split(7)]
    assert torch.equal(whole, torch.cat(parts))


@pytest.mark.parametrize("mode", ["reflect", "zero"])
def test_offsets_and_flips_are_uniform_and_independent(mode: str) -> None:
    n, p, size = 20_000, 2, 16
    index = torch.arange(n)
    # Each pixel tells its own place, so that two pixels near the middle tell the offset and the flip.
    place = torch.arange(size * size, dtype=torch.uint8).reshape(1, 1, size, size).expand(n, -1, -1, -1)
    out = augment(place, index, Augmentation(p, mode, True), IndexNoise(0, index).uniform)[:, 0, 8].long()
    flipped = (out[:, 8] < out[:, 7]).long()
    row, column = out[:, 8] // size - 8, torch.minimum(out[:, 7], out[:, 8]) % size - 7
    assert (row.min(), row.max(), column.min(), column.max()) == (-p, p, -p, p)
    cells = (row + p) * 10 + (column + p) * 2 + flipped
    assert stats.chisquare(torch.bincount(cells, minlength=50).numpy()).pvalue > 0.01


@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("padding", range(1, 9))
def test_the_ends_of_the_unit_interval_give_the_outermost_crops(u: float, padding: int) -> None:
    pixels, index = photos(4, (1, 12, 12)), torch.arange(4)
    out = augment(pixels, index, Augmentation(padding, "zero"), lambda _, shape: torch.full((4, *shape), u))
    padded = F.pad(pixels, (padding,) * 4)
    assert torch.equal(out, padded[:, :, :12, :12] if u == 0 else padded[:, :, -12:, -12:])


def test_no_value_is_read_by_the_host() -> None:
    # Tensors on the meta device have no values: to read one is an error.
    pixels, index = photos().to("meta"), torch.empty(5, dtype=torch.int64, device="meta")

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(5, *shape, device="meta")

    for augmentation in AUGMENTATIONS:
        out = augment(pixels, index, augmentation, draw)
        assert (out.shape, out.dtype, out.device.type) == ((5, 3, 9, 7), torch.uint8, "meta")


def test_the_set_is_left_as_it_was() -> None:
    pixels, index = photos(), torch.arange(40)
    for augmentation in AUGMENTATIONS:
        augment(pixels, index, augmentation, IndexNoise(0, index).uniform).zero_()
    assert torch.equal(pixels, photos())


def test_padding_as_large_as_the_image_is_refused() -> None:
    index = torch.arange(2)
    with pytest.raises(ValueError, match=r"smaller than the image, 9 x 7; got 7"):
        augment(photos(), index, Augmentation(7), IndexNoise(0, index).uniform)


def test_an_augmentation_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"padding must be at least 0; got -1"):
        Augmentation(padding=-1)
    with pytest.raises(ValueError, match=r"mode must be one of reflect, zero; got 'wrap'"):
        Augmentation(mode="wrap")  # type: ignore[arg-type]


def test_an_augmentation_is_described_by_what_it_does() -> None:
    assert str(Augmentation(4, "zero", True)) == "crop, 4 pixels of zero padding, flip"
    assert str(Augmentation(flip=True)) == "flip"
    assert str(Augmentation()) == "none"
