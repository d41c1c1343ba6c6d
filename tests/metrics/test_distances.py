"""Distances and angles against closed forms."""

import math

import pytest
import torch

from advdpnp.metrics.distances import angles_degrees, distances, or_none


def test_an_embedding_on_its_prototype_has_distance_and_angle_zero() -> None:
    prototypes = torch.randn(10, 64, generator=torch.Generator().manual_seed(0)) * 40
    assert distances(prototypes, prototypes).tolist() == [0.0] * 10
    assert angles_degrees(prototypes, prototypes).tolist() == [0.0] * 10


def test_angles_do_not_depend_on_length_and_distances_do() -> None:
    f, c = torch.tensor([3.0, 0.0, 0.0]), torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [-5.0, 0.0, 0.0]])
    assert angles_degrees(f, c).tolist() == [0.0, pytest.approx(90, abs=1e-12), 180.0]
    assert distances(f, c).tolist() == [2.0, math.sqrt(13), 8.0]


@pytest.mark.parametrize("angle", [1e-6, 1e-3, 1.0, 60.0, 179.0])
def test_small_angles_keep_their_digits(angle: float) -> None:
    radians = math.radians(angle)
    f = torch.tensor([math.cos(radians), math.sin(radians)], dtype=torch.float64)
    assert float(angles_degrees(7 * f, torch.tensor([40.0, 0.0]))) == pytest.approx(angle, rel=1e-8)


def test_a_zero_embedding_has_distances_but_no_angle() -> None:
    c = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert distances(torch.zeros(2), c).tolist() == [5.0, 0.0]
    assert [or_none(angle) for angle in angles_degrees(torch.zeros(2), c).tolist()] == [None, None]
