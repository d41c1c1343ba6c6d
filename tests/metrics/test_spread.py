"""Spread of features against points whose angles and lengths are chosen, and which class is taken for which."""

import math

import pytest
import torch
from torch import Tensor

from advdpnp.metrics.confusion import confusion
from advdpnp.metrics.spread import angle_to_center_degrees, angular_spread_degrees, radial_spread


def polar(*points: tuple[float, float]) -> Tensor:
    """Points in the plane, of (length, degrees)."""
    return torch.tensor([(r * math.cos(math.radians(a)), r * math.sin(math.radians(a))) for r, a in points])


def test_the_spread_of_two_directions_is_half_of_the_angle_between_them() -> None:
    # Class 0 around 0 degrees, class 1 around 90; lengths move no direction.
    features = polar((1, -10), (3, 10), (5, 70), (1, 110))
    found = angular_spread_degrees(features, torch.tensor([0, 0, 1, 1]), 2)
    assert found.tolist() == pytest.approx([10, 20], abs=1e-4)


def test_in_the_plane_it_is_the_standard_deviation_of_the_angle() -> None:
    # Symmetric about 40 degrees: mean direction 40, mean of the squares (30^2 + 10^2) / 2 = 500.
    features = polar((2, 10), (2, 30), (2, 50), (2, 70))
    found = angular_spread_degrees(features, torch.zeros(4, dtype=torch.int64), 1)
    assert found.item() == pytest.approx(math.sqrt(500), abs=1e-4)


def test_features_on_a_cone_are_as_spread_as_it_is_wide() -> None:
    # All at 30 degrees to one axis: the standard deviation of that angle alone would be 0.
    turns = torch.arange(6) * (2 * torch.pi / 6)
    rest = torch.stack([turns.cos(), turns.sin()], dim=1) * math.sin(math.radians(30))
    features = torch.cat([torch.full((6, 1), math.cos(math.radians(30))), rest], dim=1)
    found = angular_spread_degrees(features, torch.zeros(6, dtype=torch.int64), 1)
    assert found.item() == pytest.approx(30, abs=1e-4)


def test_the_angle_to_the_center_counts_how_far_a_class_is_beside_it() -> None:
    # At 20 and 40 degrees from the center: sqrt((400 + 1600) / 2). Its length has no part.
    features, labels = polar((1, 20), (7, 40)), torch.tensor([0, 0])
    found = angle_to_center_degrees(features, labels, torch.tensor([[9.0, 0.0], [0.0, 1.0]]))
    assert found[0].item() == pytest.approx(math.sqrt(1000), abs=1e-4)
    assert found[1].isnan()


def test_the_radius_is_spread_by_its_share_of_the_mean() -> None:
    # Lengths 1 and 3: mean 2, standard deviation 1. Lengths 4 and 4: none.
    features = polar((1, 0), (3, 200), (4, 5), (4, 50))
    assert radial_spread(features, torch.tensor([0, 0, 1, 1]), 2).tolist() == pytest.approx([0.5, 0], abs=1e-6)


def test_neither_changes_with_scale_or_a_rotation() -> None:
    features, labels = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3
    turned = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))).Q
    for measure in (angular_spread_degrees, radial_spread):
        expected = measure(features, labels, 3)
        assert torch.allclose(measure(7 * features @ turned, labels, 3), expected, rtol=1e-5)


def test_what_is_not_defined_is_nan() -> None:
    # Class 0: one feature; 1: opposite ones; 2: zeros; 3: none; 4: two, and a zero without direction.
    features = torch.tensor([[1.0, 0], [1, 0], [-1, 0], [0, 0], [0, 0], [1, 0], [0, 1], [0, 0]])
    labels = torch.tensor([0, 1, 1, 2, 2, 4, 4, 4])
    angle = angular_spread_degrees(features, labels, 5)
    assert angle[:4].isnan().all() and angle[4].item() == pytest.approx(45)
    radius = radial_spread(features, labels, 5)
    assert radius[[0, 2, 3]].isnan().all() and radius[1] == 0
    centers = torch.tensor([[0.0, 1], [0, 0], [1, 0], [1, 0], [1, 0]])
    to_center = angle_to_center_degrees(features, labels, centers)
    assert to_center[0].item() == pytest.approx(90) and to_center[1:4].isnan().all()


def test_confusion_counts_by_hand() -> None:
    labels, predictions = torch.tensor([0, 0, 0, 2, 2]), torch.tensor([0, 1, 1, 2, 0])
    assert confusion(labels, predictions, 3).tolist() == [[1, 2, 0], [0, 0, 0], [1, 0, 1]]
