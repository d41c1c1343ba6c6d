"""Smallest radii as results hold them, counted by hand."""

import numpy as np
import pytest

from advdpnp.attack_words import radii_texts
from advdpnp.radii import accuracy_within, pack_radii, radius_fields, unpack_radii

INF = float("inf")


def array(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_packed_radii_are_the_same_to_the_bit() -> None:
    radii = array(0.0, 0.1, 3.25, INF, 1e-30)
    text = pack_radii(radii)
    assert np.array_equal(unpack_radii(text, 5), radii) and len(text) == 28
    with pytest.raises(ValueError, match="radii of 6 images take 24 bytes; got 20"):
        unpack_radii(text, 6)


def test_accuracy_at_a_radius_is_the_share_that_takes_more() -> None:
    radii = array(0.0, 0.1, 0.2, INF)
    assert [accuracy_within(radii, eps) for eps in (0.0, 0.05, 0.1, 0.15, 0.2, 9.0)] == [
        0.75,
        0.75,
        0.5,
        0.5,
        0.25,
        0.25,
    ]


def test_the_summary_counts_censored_images_as_beyond() -> None:
    # Five right images, of which one is not broken up to 0.4, and one wrong one.
    found = radius_fields(array(0.3, 0.0, INF, 0.1, 0.2, 0.4), 0.4)["smallest_eps"]
    assert (found["correct"], found["censored"]) == (5, 1)
    assert found["median"] == pytest.approx(0.3)
    assert found["mean"] == pytest.approx((0.1 + 0.2 + 0.3 + 0.4 + 0.4) / 5)
    assert found["quantiles"]["0.05"] == pytest.approx(0.1) and found["quantiles"]["0.95"] is None
    assert found["quantiles"]["0.25"] == pytest.approx(0.2) and found["quantiles"]["0.75"] == pytest.approx(0.4)
    curve = dict(zip(found["curve"]["eps"], found["curve"]["robust_accuracy"], strict=True))
    assert curve[0.0] == 5 / 6 and curve[0.2] == 3 / 6 and curve[0.4] == 1 / 6


def test_a_radius_above_eps_by_rounding_is_eps() -> None:
    stored = radius_fields(array(0.1000004), 0.1)
    assert unpack_radii(stored["radii"], 1)[0] == np.float32(0.1)
    assert stored["smallest_eps"]["curve"]["robust_accuracy"][-1] == 0.0


def test_the_median_of_mostly_censored_images_is_beyond() -> None:
    row = {"norm": "linf", "eps": "32/255", **radius_fields(array(0.02, INF, INF), 32 / 255)}
    first, second, third = radii_texts(row)
    assert first.startswith("smallest eps found, median beyond 32/255, mean at least 0.0903 (23/255), 5 % to 95 %")
    assert second == "of 3 right images; each is an upper bound: the true one may be smaller"
    assert third == "2 of them were not broken up to 32/255: censored, not measured"


def test_no_right_image_has_no_radius() -> None:
    row = {"norm": "l2", "eps": "1", **radius_fields(array(0.0, 0.0), 1.0)}
    assert row["smallest_eps"]["median"] is None and row["smallest_eps"]["mean"] is None
    assert radii_texts(row) == ["smallest eps: no image is right without an attack"]
    assert radii_texts({"norm": "l2", "eps": "1"}) == []
