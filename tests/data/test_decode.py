"""Image files of every odd kind, against pixels that are known or computed another way."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, features

from advdpnp.data.folder.decode import ENDINGS, decode, decode_all, is_image

RED, GREEN, BLUE, GREY = (200, 20, 20), (20, 200, 20), (20, 20, 200), (128, 128, 128)


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    """A picture without fine detail, as photographs are when they are made small."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def quadrants(side: int = 40) -> Image.Image:
    """Red, green; blue, grey."""
    image = Image.new("RGB", (side, side), RED)
    half = side // 2
    for color, place in ((GREEN, (half, 0)), (BLUE, (0, half)), (GREY, (half, half))):
        image.paste(color, (*place, place[0] + half, place[1] + half))
    return image


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """Colors in the middles of the four quarters: upper left, upper right, lower left, lower right."""
    quarter = pixels.shape[1] // 4
    near, far = quarter, pixels.shape[1] - 1 - quarter
    return [tuple(pixels[:, row, column].tolist()) for row in (near, far) for column in (near, far)]


def saved(image: Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


def png(width: int, height: int) -> bytes:
    """A black and white PNG of any claimed size, with no more than its header and a little data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.ppm"])
def test_an_image_of_the_wanted_size_keeps_its_bytes(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    pixels = decode(saved(Image.fromarray(noise), tmp_path / name, **options), 32)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, noise.transpose(2, 0, 1))


@pytest.mark.parametrize(("width", "height"), [(64, 64), (101, 67), (67, 101), (640, 200), (333, 1000), (24, 16)])
@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_crop_then_resize_is_resize_then_crop(tmp_path: Path, width: int, height: int, ending: str) -> None:
    image = smooth(width, height)
    pixels = decode(saved(image, tmp_path / f"a.{ending}", quality=100, subsampling=0), 32)
    scale = 32 / min(width, height)
    whole = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - 32) // 2, (whole.height - 32) // 2
    expected = np.asarray(whole.crop((left, top, left + 32, top + 32))).transpose(2, 0, 1)
    difference = np.abs(pixels.astype(int) - expected)
    # Half a pixel of the small image is what the two orders may be apart.
    slope = max(np.abs(np.diff(expected.astype(int), axis=axis)).max() for axis in (1, 2))
    assert difference.max() <= 2 + slope / 2
    assert difference.mean() < 2


def test_a_square_is_the_mean_over_blocks_where_it_shrinks_by_a_whole_factor_of_constant_blocks(tmp_path: Path) -> None:
    blocks = np.random.default_rng(1).integers(0, 256, (2, 2, 3), np.uint8)
    large = np.kron(blocks, np.ones((400, 400, 1), np.uint8))
    pixels = decode(saved(Image.fromarray(large), tmp_path / "a.png"), 32)
    assert corners(pixels) == [tuple(color) for color in blocks.reshape(4, 3).tolist()]


@pytest.mark.parametrize("size", [(120, 40), (40, 120)])
def test_the_square_is_cut_from_the_center(tmp_path: Path, size: tuple[int, int]) -> None:
    image = Image.new("RGB", size, "black")
    image.paste(quadrants(40), ((size[0] - 40) // 2, (size[1] - 40) // 2))
    assert corners(decode(saved(image, tmp_path / "a.png"), 16)) == [RED, GREEN, BLUE, GREY]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [RED, GREEN, BLUE, GREY]),
        (2, [GREEN, RED, GREY, BLUE]),
        (3, [GREY, BLUE, GREEN, RED]),
        (4, [BLUE, GREY, RED, GREEN]),
        (5, [RED, BLUE, GREEN, GREY]),
        (6, [BLUE, RED, GREY, GREEN]),
        (7, [GREY, GREEN, BLUE, RED]),
        (8, [GREEN, GREY, RED, BLUE]),
        (9, [RED, GREEN, BLUE, GREY]),
    ],
)
def test_the_orientation_in_exif_is_applied(
    tmp_path: Path, ending: str, orientation: int, expected: list[tuple[int, ...]]
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options: dict[str, object] = {"quality": 100, "subsampling": 0} if ending == "jpg" else {}
    pixels = decode(saved(quadrants(), tmp_path / f"a.{ending}", exif=exif.tobytes(), **options), 16)
    np.testing.assert_allclose(corners(pixels), expected, atol=12 if ending == "webp" else 3)


def test_the_center_is_found_after_turning(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 121), "black")
    image.paste(quadrants(40), (0, 40))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned = decode(saved(image, tmp_path / "a.png", exif=exif.tobytes()), 40)
    upright = decode(saved(image.transpose(Image.Transpose.ROTATE_270), tmp_path / "b.png"), 40)
    np.testing.assert_array_equal(turned, upright)


def test_damaged_exif_is_as_none(tmp_path: Path) -> None:
    path = saved(
        quadrants(), tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage", quality=100, subsampling=0
    )
    np.testing.assert_allclose(corners(decode(path, 16)), [RED, GREEN, BLUE, GREY], atol=3)


def wide_grey(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels.astype(np.uint16))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: Image.new("1", (9, 7), 1), (255, 255, 255)),
        (lambda: Image.new("L", (9, 7), 77), (77, 77, 77)),
        (lambda: wide_grey(np.full((7, 9), 77 * 256 + 13)), (77, 77, 77)),
        (lambda: wide_grey(np.full((7, 9), 65535)), (255, 255, 255)),
        (lambda: Image.new("LA", (9, 7), (77, 255)), (77, 77, 77)),
        (lambda: Image.new("LA", (9, 7), (77, 0)), (255, 255, 255)),
        (lambda: Image.new("RGBA", (9, 7), (10, 20, 30, 255)), (10, 20, 30)),
        (lambda: Image.new("RGBA", (9, 7), (0, 0, 0, 102)), (153, 153, 153)),
        (lambda: Image.new("RGB", (9, 7), (10, 20, 30)).quantize(), (10, 20, 30)),
        (lambda: Image.new("RGB", (1, 1), (10, 20, 30)), (10, 20, 30)),
        (lambda: Image.new("RGB", (1, 3000), (10, 20, 30)), (10, 20, 30)),
        (lambda: Image.new("RGB", (3000, 1), (10, 20, 30)), (10, 20, 30)),
    ],
)
def test_any_mode_and_shape_of_png_becomes_color(
    tmp_path: Path, make: Callable[[], Image.Image], expected: tuple[int, ...]
) -> None:
    pixels = decode(saved(make(), tmp_path / "a.png"), 8)
    assert pixels.shape == (3, 8, 8)
    assert (pixels == np.array(expected)[:, None, None]).all()


@pytest.mark.parametrize("byteorder", ["<u2", ">u2"])
def test_16_bits_of_a_tiff_are_read_in_its_byte_order(tmp_path: Path, byteorder: str) -> None:
    mode = "I;16" if byteorder == "<u2" else "I;16B"
    image = Image.frombytes(mode, (9, 7), np.full((7, 9), 77 * 256, byteorder).tobytes())
    assert set(decode(saved(image, tmp_path / "a.tif"), 8).flatten().tolist()) == {77}


def test_transparent_palette_entries_are_white(tmp_path: Path) -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([*RED, *BLUE])
    image.paste(1, (0, 20, 40, 40))
    for name, transparency in (("a.png", 0), ("b.gif", 0), ("c.png", b"\x00\xff")):
        pixels = decode(saved(image, tmp_path / name, transparency=transparency), 16)
        assert corners(pixels) == [(255, 255, 255)] * 2 + [BLUE] * 2


def test_a_transparent_color_without_alpha_is_white(tmp_path: Path) -> None:
    pixels = decode(saved(quadrants(), tmp_path / "a.png", transparency=GREEN), 16)
    assert corners(pixels) == [RED, (255, 255, 255), BLUE, GREY]


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_cmyk_becomes_color(tmp_path: Path, ending: str) -> None:
    path = saved(quadrants().convert("CMYK"), tmp_path / f"a.{ending}", quality=100)
    np.testing.assert_allclose(corners(decode(path, 16)), [RED, GREEN, BLUE, GREY], atol=4)


@pytest.mark.parametrize("ending", ["gif", "png", "webp", "tif"])
def test_of_an_animation_the_first_frame_counts(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (20, 20), color) for color in (RED, GREEN, BLUE)]
    options = {"lossless": True} if ending == "webp" else {}
    path = saved(frames[0], tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:], **options)
    assert set(corners(decode(path, 8))) == {RED}


@pytest.mark.parametrize("ending", [*sorted(ENDINGS), ".PNG", ".Jpg"])
def test_every_ending_that_counts_as_an_image_can_be_read(tmp_path: Path, ending: str) -> None:
    if ending == ".avif" and not features.check("avif"):
        pytest.skip("this build of Pillow lacks the optional AVIF codec, so no such image can be made or read")
    modes = {".pgm": "L", ".pbm": "1", ".gif": "P"}
    path = tmp_path / f"a name, ü{ending}"
    image = Image.new("RGB", (30, 20), "white").convert(modes.get(ending.lower(), "RGB"))
    image.save(path, {".jpe": "JPEG", ".dib": "DIB"}.get(ending))
    assert is_image(path)
    assert decode(path, 8).min() >= 250


def test_what_counts_as_an_image_is_told_by_the_ending() -> None:
    assert not any(is_image(Path(name)) for name in ("a.txt", "png", ".png", "a.png.gz", "a.pdf", "a.eps", "Thumbs.db"))


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp", "tif", "ppm"])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, ending: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8))
    path = cut(saved(noise, tmp_path / f"cat.{ending}"), share)
    with pytest.raises(ValueError, match=rf"cat\.{ending} must be an image that can be read; got: .+"):
        decode(path, 32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no image of a known kind"),
        (b"dear diary", "no image of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no image of a known kind"),
        (png(8, 8)[:40], "."),
        (png(30_000, 30_000), "too large, more than 89,478,485 pixels"),
        (png(10_000, 10_000), "too large, more than 89,478,485 pixels"),
        (png(0, 5), "."),
    ],
)
def test_what_is_no_image_is_refused_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"a.png must be an image that can be read; got: .*{reason}"):
        decode(path, 32)


def test_a_folder_a_missing_file_and_unknown_ranges_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.png"):
        with pytest.raises(ValueError, match=r"must be an image that can be read; got: (Is a dir|No such)"):
            decode(path, 8)
    with pytest.raises(ValueError, match="which one is white is not known"):
        decode(saved(Image.new("F", (9, 9), 0.5), tmp_path / "a.tif"), 8)
    with pytest.raises(ValueError, match="more than 16 bits"):
        decode(saved(Image.new("I", (9, 9), 1 << 20), tmp_path / "b.tif"), 8)


def test_damaged_bytes_never_escape_as_another_error_or_warning(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    picture = smooth(60, 50)
    for ending in ("png", "jpg", "gif", "bmp", "webp", "tif", "ppm", "jp2"):
        sound = saved(picture, tmp_path / f"a.{ending}").read_bytes()
        for _ in range(40):
            damaged = bytearray(sound)
            for position in draw.integers(0, min(len(sound), 300), 6):
                damaged[position] = draw.integers(256)
            (tmp_path / f"b.{ending}").write_bytes(damaged)
            try:
                pixels = decode(tmp_path / f"b.{ending}", 8)
            except ValueError as error:
                assert "\n" not in str(error)
            else:
                assert pixels.shape == (3, 8, 8)


@pytest.mark.slow
def test_broken_files_and_bombs_spill_nothing_on_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(12_000, 12_000))
    cut(saved(smooth(90, 90), tmp_path / "half.tif", compression="tiff_lzw"), 0.5)
    cut(saved(smooth(90, 90), tmp_path / "jpeg.tif", compression="jpeg"), 0.6)
    code = (
        "import sys; from pathlib import Path; from advdpnp.data.folder.decode import decode_all\n"
        "paths = sorted(Path(sys.argv[1]).iterdir()); print(len(decode_all(paths, 8, print)[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("3\n", "")


def test_a_large_jpeg_is_decoded_at_a_fraction_within_a_grey_level_or_two(tmp_path: Path) -> None:
    image = smooth(1600, 1200)
    small = decode(saved(image, tmp_path / "a.jpg", quality=95), 32)
    exact = decode(saved(image, tmp_path / "a.png"), 32)
    assert np.abs(small.astype(int) - exact).max() <= 3


def test_decoding_in_parallel_gives_the_bytes_of_decoding_in_turn(tmp_path: Path) -> None:
    paths = [
        saved(smooth(40 + k % 7, 50, seed=k), tmp_path / f"{k:03}.{'jpg' if k % 2 else 'png'}") for k in range(200)
    ]
    for broken in (3, 64, 199):
        paths[broken].write_bytes(b"")
    single, why = decode_all(paths, 16, print, workers=1)
    several, why_again = decode_all(paths, 16, print, workers=5)
    good = [k for k in range(200) if k not in why]
    assert sorted(why) == [3, 64, 199] and why == why_again
    np.testing.assert_array_equal(single[good], several[good])
    np.testing.assert_array_equal(single[good], np.stack([decode(paths[k], 16) for k in good]))


def test_files_are_told_about_while_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, told = saved(smooth(8, 8), tmp_path / "a.png"), []
    monkeypatch.setattr("advdpnp.data.folder.decode._TELL_SECONDS", 0)
    decode_all([path] * 64, 8, told.append)
    assert told == []
    decode_all([path] * 2100, 8, told.append)
    assert told and told[-1].startswith("2,048 of 2,100 images decoded, about ")


def test_an_interruption_ends_decoding_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read = saved(smooth(8, 8), tmp_path / "a.png"), []
    monkeypatch.setattr("advdpnp.data.folder.decode._TELL_SECONDS", 0)
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: (read.append(0), real(*a, **k))[1])

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_all([path] * 20_000, 8, interrupt, workers=1)
    assert len(read) < 5000
