"""Each corruption against a slow reference, or what is known of it in closed form."""

import colorsys
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, stats
from scipy.signal import convolve2d

from advdpnp.data.corruptions import blurs, colors, corrupt, files, noises, warps, weather
from advdpnp.data.corruptions.draws import Array

from .conftest import draws, photos


def gray(value: float, n: int = 4, side: int = 64) -> Array:
    return np.full((n, 3, side, side), value, np.float32)


# Noise: 49,152 values, so that a mean is known to 0.5 % of the deviation, and a variance to 0.65 % of itself.


def test_gaussian_noise_has_its_deviation_whatever_the_pixel() -> None:
    for value in (0.1, 0.9):
        added = noises.gaussian_noise(gray(value), draws(4), 0.08).astype(np.float64) - value
        assert abs(added.mean()) < 4 * 0.08 / np.sqrt(added.size)
        assert added.std() == pytest.approx(0.08, rel=0.015)
        assert stats.kstest(added.ravel() / 0.08, "norm").pvalue > 1e-3


def test_speckle_noise_has_a_deviation_in_proportion_to_the_pixel() -> None:
    for value in (0.0, 0.25, 1.0):
        added = noises.speckle_noise(gray(value), draws(4), 0.2).astype(np.float64) - value
        assert added.std() == pytest.approx(0.2 * value, rel=0.015, abs=1e-9)


@pytest.mark.parametrize(("photons", "value"), [(500, 128 / 255), (60, 1.0), (3, 51 / 255), (5, 0.0)])
def test_shot_noise_counts_photons(photons: float, value: float) -> None:
    counts = np.rint(photons * noises.shot_noise(gray(value), draws(4), photons)).astype(int)
    mean = photons * value
    assert counts.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / counts.size) + 1e-9)
    assert counts.var() == pytest.approx(mean, rel=0.03, abs=1e-9)
    for quantile in (0.1, 0.5, 0.9, 0.999):
        below = stats.poisson.cdf(k := stats.poisson.ppf(quantile, mean), mean) if mean else 1.0
        assert (counts <= (k if mean else 0)).mean() == pytest.approx(below, abs=0.01)


def test_shot_noise_is_the_quantile_of_its_uniform_number() -> None:
    x, u = photos(1, 1, 8).numpy(), draws(1).uniform("values", 1, 8, 8)
    wanted = [stats.poisson.ppf(p, 25 * value) for p, value in zip(u.ravel(), x.ravel(), strict=True)]
    assert np.rint(25 * noises.shot_noise(x, draws(1), 25)).ravel().tolist() == wanted


def test_impulse_noise_makes_its_share_black_and_white_and_leaves_the_rest() -> None:
    found = noises.impulse_noise(gray(0.5), draws(4), 0.07)
    assert set(np.unique(found)) == {0.0, 0.5, 1.0}
    for extreme in (0.0, 1.0):
        assert (found == extreme).mean() == pytest.approx(0.035, abs=0.003)
    # Channels by themselves.
    assert ((found == 1).any(axis=1) & ~(found == 1).all(axis=1)).any()


# Blurs.


@pytest.mark.parametrize("sigma", [0.4, 1.0, 3.0])
@pytest.mark.parametrize(("mode", "truncate"), [("nearest", 4.0), ("reflect", 3.0)])
def test_smoothing_is_scipys_gaussian_filter(x: Array, sigma: float, mode: str, truncate: float) -> None:
    wanted = ndimage.gaussian_filter(x.astype(np.float64), (0, 0, sigma, sigma), mode=mode, truncate=truncate)
    assert np.allclose(blurs.smoothed(x, sigma, mode, truncate), wanted, atol=2e-6)


@pytest.mark.parametrize(("radius", "rim"), [(0.3, 0.4), (1, 0.2), (1.5, 0.1), (3, 0.1), (10, 0.5)])
def test_disks_sum_to_1_and_have_the_pixels_of_a_disk(radius: float, rim: float) -> None:
    kernel = blurs.disk(radius, rim)
    assert kernel.sum() == pytest.approx(1, abs=1e-12) and np.allclose(kernel, kernel[::-1, ::-1])
    if rim <= 0.1:
        # Nearly no blur: a pixel is in it if its middle is.
        reach = len(kernel) // 2
        inside = [
            (i, j) for i in range(-reach, reach + 1) for j in range(-reach, reach + 1) if i * i + j * j <= radius**2
        ]
        assert (kernel > 1e-9).sum() == len(inside)
        assert kernel.max() == pytest.approx(1 / len(inside), rel=1e-6)


def test_defocus_is_the_convolution_with_its_disk(x: Array) -> None:
    kernel = blurs.disk(1.5, 0.5)
    reach = len(kernel) // 2
    padded = np.pad(x[0, 1].astype(np.float64), reach, mode="reflect")
    wanted = convolve2d(padded, kernel, mode="valid")
    assert np.allclose(blurs.defocus_blur(x, draws(6), 1.5, 0.5)[0, 1], wanted, atol=1e-6)


def test_glass_takes_pixels_from_nearby_one_after_the_other() -> None:
    x, reach, rounds = photos(2, 1, 9).numpy(), 2, 2
    shifts = np.floor(2 * reach * draws(2).uniform("shifts", rounds, 9, 9, 2)).astype(int) - reach
    wanted = x.copy()
    for image in range(2):
        for turn in range(rounds):
            for row in range(9 - reach, reach, -1):
                for column in range(9 - reach, reach, -1):
                    down, right = shifts[image, turn, row, column]
                    wanted[image, :, row, column] = wanted[image, :, row + down, column + right]
    assert np.array_equal(blurs.glass_blur(x, draws(2), 0, reach, rounds), wanted)


def test_the_authors_swap_of_two_pixels_of_an_rgb_array_is_a_copy() -> None:
    # As in their glass blur; of a gray array, whose pixels are numbers, it would be a swap.
    x = np.arange(6.0).reshape(1, 2, 3)
    x[0, 0], x[0, 1] = x[0, 1], x[0, 0]
    assert np.array_equal(x, [[[3, 4, 5], [3, 4, 5]]])


def test_a_trail_is_a_mean_of_shifted_copies_with_the_weights_of_half_a_gaussian() -> None:
    x = np.zeros((2, 1, 21, 21), np.float32)
    x[:, 0, 10, 10] = 1
    found = blurs.trail(x, 3, 1.5, np.array([0.0, 90.0]))
    weights = np.exp(-(np.arange(7) ** 2) / (2 * 1.5**2))
    assert found.sum(axis=(1, 2, 3)) == pytest.approx([1, 1], abs=1e-6)
    # The pixel at distance k from the point sees it k steps along the line: to the right, and downwards.
    assert np.allclose(found[0, 0, 10, 10:3:-1], weights / weights.sum(), atol=1e-6)
    assert np.allclose(found[1, 0, 10:3:-1, 10], weights / weights.sum(), atol=1e-6)
    constant = np.full((1, 3, 8, 8), 0.3, np.float32)
    assert np.allclose(blurs.motion_blur(constant, draws(1), 9, 2.5), 0.3, atol=1e-6)


def test_angles_of_motion_are_uniform_within_45_degrees() -> None:
    angles = draws(4000).between("angle", -45, 45)
    assert stats.kstest((angles + 45) / 90, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("factor", [1.06, 1.25, 2.25])
@pytest.mark.parametrize("n", [8, 32, 33])
def test_magnification_is_scipys_zoom_of_the_middle(factor: float, n: int) -> None:
    image = photos(1, 1, n).numpy()[0, 0].astype(np.float64)
    kept = int(np.ceil(n / factor))
    top = (n - kept) // 2
    large = ndimage.zoom(image[top : top + kept, top : top + kept], factor, order=1)
    start = (len(large) - n) // 2
    wanted = large[start : start + n, start : start + n]
    assert np.allclose(blurs.magnified(image[None, None].astype(np.float32), factor)[0, 0], wanted, atol=1e-5)


def test_zoom_blur_is_a_mean_with_the_image_itself() -> None:
    x = photos(2).numpy()
    wanted = (2 * x + sum(blurs.magnified(x, factor) for factor in (1.01, 1.02))) / 4
    assert np.allclose(blurs.zoom_blur(x, draws(2), 3, 0.01), wanted, atol=1e-6)


# Colors.


def by_colorsys(x: Array, change: Callable[[float, float, float], tuple[float, float, float]]) -> Array:
    pixels = x.transpose(0, 2, 3, 1).reshape(-1, 3).astype(np.float64)
    changed = [colorsys.hsv_to_rgb(*change(*colorsys.rgb_to_hsv(*pixel))) for pixel in pixels]
    return np.array(changed).reshape(*x[:, 0].shape, 3).transpose(0, 3, 1, 2)


def of_all_kinds() -> Array:
    x = photos(1, 3, 16).numpy()
    x[0, :, :3, :3] = 0
    x[0, :, 3:6, :3] = 1
    x[0, :, 6:9, :3] = 0.4
    x[0, 1:, 9:12, :3] = 0
    return x


@pytest.mark.parametrize("added", [0.05, 0.3])
def test_brightness_is_added_to_the_value_of_hsv(added: float) -> None:
    x = of_all_kinds()
    wanted = by_colorsys(x, lambda h, s, v: (h, s, min(v + added, 1)))
    assert np.allclose(colors.brightness(x, draws(1), added), wanted, atol=1e-6)


@pytest.mark.parametrize(("factor", "added"), [(0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (20, 0.2)])
def test_saturation_is_that_of_hsv_times_and_plus(factor: float, added: float) -> None:
    x = of_all_kinds()
    wanted = by_colorsys(x, lambda h, s, v: (h, min(max(factor * s + added, 0), 1), v))
    assert np.allclose(colors.saturate(x, draws(1), factor, added), wanted, atol=2e-6)


def test_saturation_of_gray_images_is_the_brightness_of_the_color() -> None:
    x = photos(1, 1).numpy()
    wanted = by_colorsys(np.repeat(x, 3, axis=1), lambda h, s, v: (h, min(2.5 * s + 0.2, 1), v))
    luma = 0.299 * wanted[:, 0] + 0.587 * wanted[:, 1] + 0.114 * wanted[:, 2]
    assert np.allclose(colors.saturate(x, draws(1), 2.5, 0.2)[:, 0], luma, atol=1e-6)


def test_contrast_keeps_each_channels_mean_and_shrinks_its_deviation(x: Array) -> None:
    found = colors.contrast(x, draws(6), 0.15).astype(np.float64)
    assert np.allclose(found.mean(axis=(2, 3)), x.mean(axis=(2, 3)), atol=1e-6)
    assert np.allclose(found.std(axis=(2, 3)), 0.15 * x.std(axis=(2, 3)), atol=1e-6)


# Files.


def test_jpeg_is_pillows_at_this_quality() -> None:
    x = photos(1)
    stored = io.BytesIO()
    Image.fromarray((255 * x[0]).round().byte().permute(1, 2, 0).numpy()).save(stored, "JPEG", quality=40)
    wanted = np.asarray(Image.open(stored)).transpose(2, 0, 1)
    assert np.array_equal((255 * corrupt(x, "jpeg_compression", 5)[0]).round().byte().numpy(), wanted)


def test_pixelation_at_half_the_side_is_the_mean_of_boxes() -> None:
    x = photos(1, 1, 16).numpy()
    boxes = x.reshape(8, 2, 8, 2).mean(axis=(1, 3))
    wanted = boxes.repeat(2, axis=0).repeat(2, axis=1)
    assert np.allclose(files.pixelate(x, draws(1), 0.5)[0, 0], wanted, atol=1.01 / 255)


def test_the_small_image_of_pixelation_has_the_whole_pixels_of_its_share() -> None:
    x = np.arange(32, dtype=np.float32)[None, None, None].repeat(32, axis=2) / 255
    assert len(np.unique(files.pixelate(x, draws(1), 0.65)[0, 0, 0])) == int(0.65 * 32)


# Warps.


def test_three_points_that_stay_leave_every_pixel_where_it_is() -> None:
    assert np.allclose(warps.affine_sources(np.zeros((3, 2)), (9, 12)), np.indices((9, 12)), atol=1e-9)


def test_three_points_moved_alike_move_the_image() -> None:
    sources = warps.affine_sources(np.tile([2.0, -1.0], (3, 1)), (12, 12))
    assert np.allclose(sources, np.indices((12, 12)) - np.array([-1.0, 2.0])[:, None, None], atol=1e-9)


def test_each_point_goes_where_it_is_moved() -> None:
    moves = np.random.default_rng(0).uniform(-2, 2, (3, 2))
    sources = warps.affine_sources(moves, (33, 33))
    points = 16 + 11 * np.array([[1, 1], [1, -1], [-1, -1]])
    for point, move in zip(points, moves, strict=True):
        right, down = point + move
        found = [ndimage.map_coordinates(axis, [[down], [right]], order=1)[0] for axis in sources]
        assert found == pytest.approx([point[1], point[0]], abs=1e-9)


def test_without_moves_and_shifts_the_elastic_image_is_the_image(x: Array) -> None:
    assert np.allclose(warps.elastic_transform(x, draws(6), 0.0, 0.2, 0.0), x, atol=1e-6)


def test_elastic_shifts_are_bounded_by_their_amplitude_and_smooth() -> None:
    # On a ramp, a shift is the change of the pixel.
    ramp = np.tile(np.arange(64, dtype=np.float32) / 64, (40, 1, 64, 1))
    found = 64 * (warps.elastic_transform(ramp, draws(40), 0.1, 0.04, 0.0) - ramp)[..., 12:-12, 12:-12]
    # Of uniforms in [-1, 1], variance 1/3, under a Gaussian of sigma s: 1 / (3 4 pi s^2).
    sigma = 0.04 * 64
    assert found.std() == pytest.approx(0.1 * 64 / np.sqrt(12 * np.pi * sigma**2), rel=0.1)
    neighbors = np.corrcoef(found[..., 1:].ravel(), found[..., :-1].ravel())[0, 1]
    assert neighbors == pytest.approx(np.exp(-1 / (4 * sigma**2)), abs=0.02)


# Weather.


def slow_plasma(wobble: Array, decay: float) -> Array:
    """Diamond-square on a torus, point by point."""
    n = len(wobble)
    heights, step, size = np.zeros((n, n)), n, 1.0
    while step >= 2:
        half = step // 2
        for row in range(half, n, step):
            for column in range(half, n, step):
                around = [heights[(row + i) % n, (column + j) % n] for i in (-half, half) for j in (-half, half)]
                heights[row, column] = np.mean(around) + size * wobble[row, column]
        for row in range(0, n, half):
            for column in range((row + half) % step, n, step):
                around = [
                    heights[(row + i) % n, (column + j) % n] for i, j in ((half, 0), (-half, 0), (0, half), (0, -half))
                ]
                heights[row, column] = np.mean(around) + size * wobble[row, column]
        step, size = half, size / decay**2
    heights -= heights.min()
    return heights / heights.max()


@pytest.mark.parametrize("decay", [3, 1.75])
def test_plasma_is_diamond_square(decay: float) -> None:
    wobble = draws(2).between("plasma", -1, 1, 16, 16)
    found = weather.plasma(draws(2), (16, 16), decay)
    for image in range(2):
        assert np.allclose(found[image], slow_plasma(wobble[image].astype(np.float64), decay), atol=1e-5)


def test_fog_pulls_towards_the_brightest_pixel_and_never_beyond(x: Array) -> None:
    found = weather.fog(x, draws(6), 1.5, 2)
    assert (found.max(axis=(1, 2, 3)) <= x.max(axis=(1, 2, 3)) + 1e-6).all()
    layer = 1.5 * weather.plasma(draws(6), (32, 32), 2)[:, None]
    brightest = x.max(axis=(1, 2, 3), keepdims=True)
    assert np.allclose(found, (x + layer) * brightest / (brightest + 1.5), atol=1e-6)


def test_frost_is_a_weighted_sum_and_bluish(x: Array) -> None:
    layer = weather.frost_layer(x, draws(6))
    assert np.allclose(weather.frost(x, draws(6), 0.75, 0.45), 0.75 * x + 0.45 * layer, atol=1e-6)
    red, green, blue = layer.mean(axis=(0, 2, 3))
    assert red < green < blue and 0.3 < green < 0.8


def test_snow_without_flakes_whitens_as_its_formula_says(x: Array) -> None:
    # A mean so low that no flake is left.
    found = weather.snow(x, draws(6), -9, 0.1, 1, 0.5, 8, 3, 0.8)
    brightness = (0.299 * x[:, 0] + 0.587 * x[:, 1] + 0.114 * x[:, 2])[:, None]
    assert np.allclose(found, 0.8 * x + 0.2 * np.maximum(x, 1.5 * brightness + 0.5), atol=1e-6)


def test_flakes_are_there_twice_once_turned_by_180_degrees(x: Array) -> None:
    added = weather.snow(x, draws(6), 0.3, 0.3, 1.25, 0.65, 14, 12, 1.0) - x
    assert np.allclose(added, added[..., ::-1, ::-1], atol=1e-6) and added.max() > 0 and added.min() > -1e-6


def test_mud_hides_what_it_covers_and_leaves_the_rest(x: Array) -> None:
    found = weather.spatter(x, draws(6), 0.65, 0.1, 0.5, 0.68, 0.6, 1)
    mud = np.array([63, 42, 20])[:, None, None] / 255
    cover = np.abs(found - x).max(axis=1) > 1e-6
    assert 0.01 < cover.mean() < 0.5
    share = (found - x) / np.where(np.abs(mud - x) > 0.05, mud - x, np.inf)
    covered = np.broadcast_to(cover[:, None], x.shape) & (share != 0)
    assert share[covered].min() > 0.8 - 1e-3 and share[covered].max() < 1 + 1e-3


def test_water_adds_pale_turquoise_where_there_are_drops(x: Array) -> None:
    added = (weather.spatter(x, draws(6), 0.65, 0.3, 1, 0.69, 0.5, 0) - x).astype(np.float64)
    assert added.min() > -1e-6
    # The brightest drop of an image is as strong as the constant says.
    assert np.allclose(added[:, 1].max(axis=(1, 2)), 0.5 * 238 / 255, atol=1e-5)
    assert np.allclose(added[:, 0] * 238, added[:, 1] * 175, atol=1e-3) and np.allclose(
        added[:, 1], added[:, 2], atol=1e-6
    )
    dry = weather.spatter(x, draws(6), -9, 0.1, 1, 0.69, 0.5, 0)
    assert np.allclose(dry, x)


def test_an_untouched_image_is_rounded_to_8_bits_at_most() -> None:
    x: Any = torch.full((1, 3, 8, 8), 0.3)
    assert (corrupt(x, "gaussian_blur", 5) - x).abs().max() <= 0.5 / 255 + 1e-6
