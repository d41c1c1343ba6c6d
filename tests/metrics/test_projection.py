"""Projections of points whose plane of largest variance is known."""

import numpy as np
import pytest

from advdpnp.metrics.projection import neighbor_map, perplexity, principal_plane


def test_the_plane_of_points_along_three_axes() -> None:
    # Around (1, 2, 3): pairs at distance 4, 2 and 1 along axes 2, 0 and 1; squares 32, 8, 2 of 42 in all.
    pairs = np.array([[0, 0, 4], [0, 0, -4], [2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0]], dtype=np.float32)
    plane = principal_plane(pairs + np.array([1, 2, 3], dtype=np.float32))
    assert plane.mean == pytest.approx([1, 2, 3])
    assert plane.explained == pytest.approx([32 / 42, 8 / 42])
    # Axes point where their largest entry is positive.
    assert plane.axes == pytest.approx(np.array([[0, 0, 1], [1, 0, 0]]), abs=1e-9)
    assert plane.project(np.array([[1.0, 7.0, 5.0]])) == pytest.approx(np.array([[2, 0]]), abs=1e-9)


def test_its_sign_does_not_depend_on_the_order_of_the_points() -> None:
    points = np.random.default_rng(0).normal(size=(30, 6)) * np.arange(1, 7)
    for order in (slice(None), slice(None, None, -1)):
        axes = principal_plane(points[order]).axes
        assert axes == pytest.approx(principal_plane(points).axes)
        assert all(axis[np.abs(axis).argmax()] > 0 for axis in axes)


def test_points_that_are_one_have_no_plane() -> None:
    with pytest.raises(ValueError, match="all points are the same"):
        principal_plane(np.ones((5, 3)))


def test_few_points_have_as_many_neighbors_as_there_are() -> None:
    assert perplexity(4) == 1 and perplexity(1000) == 30


def test_tsne_keeps_two_groups_apart_and_is_the_same_twice() -> None:
    random = np.random.default_rng(0)
    points = np.concatenate([random.normal(0, 0.1, (15, 8)), random.normal(5, 0.1, (15, 8))])
    first, second = neighbor_map(points), neighbor_map(points)
    assert np.array_equal(first, second) and first.shape == (30, 2)
    # The nearest neighbor of each point is of its own group.
    distance = np.linalg.norm(first[:, None] - first, axis=2) + 1e9 * np.eye(30)
    assert np.array_equal(distance.argmin(axis=1) // 15, np.arange(30) // 15)
