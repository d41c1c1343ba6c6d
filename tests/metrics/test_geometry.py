import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from advdpnp.metrics import (
    FEATURE_METRICS,
    Gathering,
    afs,
    class_sums,
    fdr,
    mean_pairwise_angle_degrees,
    mean_separation_degrees,
    measured,
    min_separation_degrees,
    scr,
    scr_floor,
)
from peaks import LiveTensors
from reference import geometry as reference

CLASSES = 5


def simplex(classes: int, radius: float = 40.0) -> Tensor:
    """(C, C) float64: C equally distant points on the sphere of that radius around 0."""
    corners = torch.eye(classes, dtype=torch.float64) - 1 / classes
    return radius * corners / corners.norm(dim=1, keepdim=True)


def crosses(means: Tensor, arm: float) -> tuple[Tensor, Tensor]:
    """Around every mean, 2D samples at +-arm along each axis: features (C * 2D, D), labels."""
    classes, width = means.shape
    arms = arm * torch.cat([torch.eye(width), -torch.eye(width)]).double()
    return (means[:, None] + arms).flatten(0, 1), torch.arange(classes).repeat_interleave(2 * width)


def clusters(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy classes of unequal size with a mean far from 0: features (N, 6), labels, centers (C, 6), float64."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat_interleave(torch.tensor([3, 9, 4, 12, 5]))
    centers = 2 * torch.randn(CLASSES, 6, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), 6, generator=generator, dtype=torch.float64)
    order = torch.randperm(len(labels), generator=generator)
    return (centers[labels] + noise + 1)[order], labels[order], centers


def rotation(width: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q


@pytest.mark.parametrize("seed", range(3))
def test_every_metric_equals_its_loop_over_samples(seed: int) -> None:
    features, labels, centers = clusters(seed)
    f, y, c = features.tolist(), labels.tolist(), centers.tolist()
    ratios = fdr(features, labels, CLASSES)
    assert ratios.eq8 == pytest.approx(reference.fdr_eq8(f, y), rel=1e-12)
    assert ratios.trace_ratio == pytest.approx(reference.trace_ratio(f, y), rel=1e-12)
    assert ratios.trace_ratio_per_class == pytest.approx(reference.trace_ratio(f, y) / CLASSES, rel=1e-12)
    assert afs(features, labels, CLASSES) == pytest.approx(reference.afs(f, y), rel=1e-12)
    assert scr(features, labels, centers) == pytest.approx(reference.scr(f, y, c), rel=1e-12)
    assert scr_floor(centers) == pytest.approx(reference.scr_floor(c), rel=1e-12)
    assert mean_separation_degrees(centers) == pytest.approx(reference.mean_separation_degrees(c), rel=1e-12)
    assert min_separation_degrees(centers) == pytest.approx(reference.min_separation_degrees(c), rel=1e-12)
    assert mean_pairwise_angle_degrees(centers) == pytest.approx(reference.mean_pairwise_angle_degrees(c), rel=1e-12)


def test_float32_features_are_measured_in_float64() -> None:
    features, labels, _ = clusters()
    far = (features + 1e5).float()
    assert fdr(far, labels, CLASSES).eq8 == pytest.approx(reference.fdr_eq8(far.tolist(), labels.tolist()), rel=1e-9)


def at_degrees(*degrees: float) -> Tensor:
    """(C, 2) float64: unit vectors of the plane at these angles."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


@pytest.mark.parametrize(
    "degrees, mean, smallest, pairwise",
    [
        # Nearest rivals: 10, 10 and 170 degrees.
        ((0, 10, 180), 190 / 3, 10, (10 + 180 + 170) / 3),
        # Two pairs, back to back.
        ((0, 30, 180, 210), 30, 30, (30 + 180 + 150 + 150 + 180 + 30) / 6),
        # Even in the plane: the most that C centers can have there, 360 / C.
        ((0, 72, 144, 216, 288), 72, 72, 108),
    ],
)
def test_separation_of_known_angles(degrees: tuple[float, ...], mean: float, smallest: float, pairwise: float) -> None:
    centers = at_degrees(*degrees)
    assert mean_separation_degrees(centers) == pytest.approx(mean, abs=1e-5)
    assert min_separation_degrees(centers) == pytest.approx(smallest, abs=1e-5)
    assert mean_pairwise_angle_degrees(centers) == pytest.approx(pairwise, abs=1e-5)


def test_more_centers_than_a_simplex_has_can_have_a_mean_separation_above_a_right_angle_but_no_smallest() -> None:
    # One on the axis and four at 90 + t degrees from it: 90 + t, and four times arccos(sin^2 t), in three dimensions.
    t = math.radians(3.58)
    square = torch.tensor([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=torch.float64)
    below = torch.cat([math.cos(t) * square, torch.full((4, 1), -math.sin(t), dtype=torch.float64)], dim=1)
    centers = torch.cat([below, torch.tensor([[0, 0, 1]], dtype=torch.float64)])
    mean = (90 + 3.58 + 4 * math.degrees(math.acos(math.sin(t) ** 2))) / 5
    assert mean_separation_degrees(centers) == pytest.approx(mean, rel=1e-12)
    assert min_separation_degrees(centers) < 90 < mean < math.degrees(math.acos(-1 / 4))


@pytest.mark.parametrize("classes", [2, 3, 10, 100])
def test_a_simplex_has_one_angle_and_a_known_scr_floor(classes: int) -> None:
    angle = math.degrees(math.acos(-1 / (classes - 1)))
    centers = simplex(classes)
    # The arccosine has an infinite slope at the 180 degrees of two classes.
    assert mean_separation_degrees(centers) == pytest.approx(angle, abs=1e-5)
    assert min_separation_degrees(centers) == pytest.approx(angle, abs=1e-5)
    assert mean_pairwise_angle_degrees(centers) == pytest.approx(angle, abs=1e-5)
    assert scr_floor(centers) == pytest.approx(math.sqrt(2 * classes / (classes - 1)), rel=1e-12)


def test_scr_of_zero_features_is_the_floor() -> None:
    _, labels, centers = clusters()
    assert scr(torch.zeros(len(labels), 6), labels, centers) == pytest.approx(scr_floor(centers), rel=1e-12)


def test_crosses_on_a_simplex_have_fdr_arm_squared_over_radius_squared() -> None:
    features, labels = crosses(simplex(4, radius=10.0), arm=2.0)
    ratios = fdr(features, labels, 4)
    assert ratios == pytest.approx((4 * 0.04, 0.04, 0.01, 4), rel=1e-12)


def test_gaussian_clusters_have_fdr_trace_of_the_covariance_over_radius_squared() -> None:
    means, spread = simplex(4, radius=10.0), torch.tensor([0.5, 1.0, 1.5, 2.0], dtype=torch.float64)
    labels = torch.arange(4).repeat_interleave(2500)
    generator = torch.Generator().manual_seed(0)
    features = means[labels] + spread * torch.randn(10_000, 4, generator=generator, dtype=torch.float64)
    assert fdr(features, labels, 4).trace_ratio == pytest.approx(7.5 / 100, rel=0.03)


def test_scr_of_crosses_is_the_edge_of_the_simplex_over_the_arm() -> None:
    centers = simplex(4, radius=10.0)
    features, labels = crosses(centers, arm=2.0)
    assert scr(features, labels, centers) == pytest.approx(10 * math.sqrt(8 / 3) / 2, rel=1e-12)


def test_afs_of_two_fans_is_known() -> None:
    degrees = torch.tensor([-10.0, 10.0, 80.0, 100.0], dtype=torch.float64)
    features = torch.stack([degrees.deg2rad().cos(), degrees.deg2rad().sin()], dim=1)
    expected = (1 - math.cos(math.radians(10))) / (1 - math.cos(math.radians(45)))
    assert afs(features, torch.tensor([0, 0, 1, 1]), 2) == pytest.approx(expected, rel=1e-12)


def test_metrics_do_not_depend_on_the_basis() -> None:
    features, labels, centers = clusters()
    q = rotation(6)
    assert fdr(features @ q, labels, CLASSES) == pytest.approx(fdr(features, labels, CLASSES), rel=1e-10)
    assert afs(features @ q, labels, CLASSES) == pytest.approx(afs(features, labels, CLASSES), rel=1e-10)
    assert scr(features @ q, labels, centers @ q) == pytest.approx(scr(features, labels, centers), rel=1e-10)
    assert mean_separation_degrees(centers @ q) == pytest.approx(mean_separation_degrees(centers), rel=1e-10)


def test_metrics_do_not_depend_on_the_unit_of_length() -> None:
    features, labels, centers = clusters()
    assert fdr(7 * features, labels, CLASSES) == pytest.approx(fdr(features, labels, CLASSES), rel=1e-10)
    assert afs(7 * features, labels, CLASSES) == pytest.approx(afs(features, labels, CLASSES), rel=1e-10)
    assert scr(7 * features, labels, 7 * centers) == pytest.approx(scr(features, labels, centers), rel=1e-10)


def test_fdr_does_not_depend_on_the_origin() -> None:
    features, labels, _ = clusters()
    assert fdr(features + 3, labels, CLASSES) == pytest.approx(fdr(features, labels, CLASSES), rel=1e-10)


def test_separation_does_not_depend_on_the_length_of_each_center() -> None:
    _, _, centers = clusters()
    lengths = torch.arange(1.0, 6.0)[:, None]
    assert mean_separation_degrees(lengths * centers) == pytest.approx(mean_separation_degrees(centers), rel=1e-10)
    assert min_separation_degrees(lengths * centers) == pytest.approx(min_separation_degrees(centers), rel=1e-10)


def test_equal_and_opposite_centers_are_0_and_180_degrees_apart() -> None:
    v = torch.tensor([0.1, 0.2, 0.3])
    assert mean_separation_degrees(torch.stack([v, v])) == pytest.approx(0, abs=1e-5)
    assert mean_separation_degrees(torch.stack([v, -v])) == pytest.approx(180, abs=1e-5)


def test_an_absent_class_is_left_out_and_counted() -> None:
    features, labels, centers = clusters()
    kept = labels != 2
    f, y = features[kept], labels[kept]
    dense = torch.where(y > 2, y - 1, y)
    assert fdr(f, y, CLASSES) == fdr(f, dense, CLASSES - 1)
    assert fdr(f, y, CLASSES).classes == CLASSES - 1
    assert afs(f, y, CLASSES) == afs(f, dense, CLASSES - 1)
    assert scr(f, y, centers) == pytest.approx(reference.scr(f.tolist(), y.tolist(), centers.tolist()), rel=1e-12)


def test_the_center_of_an_absent_class_is_still_a_rival() -> None:
    centers = torch.tensor([[0.0, 0.0], [10.0, 0.0], [1.0, 0.0]])
    features = torch.tensor([[0.0, 2.0], [10.0, 2.0]])
    assert scr(features, torch.tensor([0, 1]), centers) == pytest.approx((1 / 2 + 9 / 2) / 2)


def test_zero_features_have_an_afs() -> None:
    features = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Class 0 is {0, e_1} with mean e_1 / 2, class 1 is {e_2}; the global mean is (e_1 + e_2) / 3.
    expected = 1 / (3 * (1 - math.sqrt(0.5)))
    assert afs(features, torch.tensor([0, 0, 1]), 2) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("labels", [[3, 3, 3], []])
def test_fewer_than_two_classes_are_refused(labels: list[int]) -> None:
    features, y = torch.ones(len(labels), 2), torch.tensor(labels, dtype=torch.int64)
    cause = f"at least 2 classes; got {len(set(labels))}"
    with pytest.raises(ValueError, match=cause):
        fdr(features, y, 4)
    with pytest.raises(ValueError, match=cause):
        afs(features, y, 4)
    with pytest.raises(ValueError, match=cause):
        scr(features, y, torch.eye(4, 2))


def test_rounding_does_not_push_a_cosine_out_of_the_range_of_the_arccosine() -> None:
    # Some of these, normalized, have a dot product just above 1 with their own copy.
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(50, 7, generator=generator, dtype=torch.float64)
    assert min_separation_degrees(torch.cat([v, v])) == pytest.approx(0, abs=1e-5)
    assert mean_separation_degrees(torch.cat([v, v])) == pytest.approx(0, abs=1e-5)
    assert 85 < mean_pairwise_angle_degrees(torch.cat([v, v])) < 95


@pytest.mark.parametrize("angle", [mean_separation_degrees, min_separation_degrees, mean_pairwise_angle_degrees])
def test_a_single_center_is_refused_and_nan_stays_nan(angle: Callable[[Tensor], float]) -> None:
    with pytest.raises(ValueError, match="at least 2 centers; got 1"):
        angle(torch.ones(1, 3))
    assert math.isnan(angle(torch.tensor([[1.0, 0.0], [0.0, 1.0], [math.nan, 0.0]])))


def test_samples_in_blocks_give_what_all_together_give(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, centers = clusters()
    whole = measured(FEATURE_METRICS.values(), features, labels, centers)
    monkeypatch.setattr(class_sums, "_BLOCK", 7)
    assert measured(FEATURE_METRICS.values(), features, labels, centers) == pytest.approx(whole, rel=1e-12)


def test_metrics_of_features_hold_one_block_of_wide_copies_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(class_sums, "_BLOCK", 64)
    features, labels = torch.rand(4096, 32), torch.arange(4096) % 100
    with LiveTensors() as live:
        measured(FEATURE_METRICS.values(), features, labels, torch.rand(100, 32))
    # Copies, members of classes, and sums of 100 classes.
    assert live.most < (64 * (4 * 32 + 3 * 100) + 100 * 32 * 10) * 8


def two_passes(features: Tensor, labels: Tensor, centers: Tensor) -> dict[str, float]:
    """FDR, AFS and SCR of features that are all there, in float64: means first, then what is around them."""
    f, c, mu = features.double(), centers.double(), features.double().mean(dim=0)
    rows = [f[labels == j] for j in labels.unique()]
    means = [of_class.mean(dim=0) for of_class in rows]
    within = torch.stack([(r - m).square().sum() for r, m in zip(rows, means, strict=True)])
    between = torch.stack([len(r) * (m - mu).square().sum() for r, m in zip(rows, means, strict=True)])
    cosine = torch.nn.functional.cosine_similarity
    turned = sum(float((1 - cosine(r, m[None])).sum()) for r, m in zip(rows, means, strict=True))
    apart = sum(len(r) * float(1 - cosine(m, mu, dim=0)) for r, m in zip(rows, means, strict=True))
    gaps = torch.cdist(c, c, compute_mode="donot_use_mm_for_euclid_dist").fill_diagonal_(torch.inf).amin(dim=1)
    ratios = [gaps[j] / (f[labels == j] - c[j]).norm(dim=1).mean() for j in labels.unique()]
    trace = float(within.sum() / between.sum())
    return {
        "fdr_eq8": float((within / between).sum()),
        "fdr_trace_ratio": trace,
        "fdr_trace_ratio_per_class": trace / len(rows),
        "afs": turned / apart,
        "scr": float(torch.stack(ratios).mean()),
    }


@pytest.mark.parametrize("width", [0.5, 1e-3])
def test_batches_of_any_size_in_any_order_give_what_two_passes_over_all_give(width: float) -> None:
    generator = torch.Generator().manual_seed(0)
    centers = 40 * torch.nn.functional.normalize(torch.randn(7, 12, generator=generator, dtype=torch.float64))
    # No sample of class 6; a zero vector, whose cosine to everything is 0.
    labels = torch.randint(0, 6, (2000,), generator=generator)
    features = centers[labels] + width * torch.randn(2000, 12, generator=generator, dtype=torch.float64)
    features[5] = 0
    expected = two_passes(features, labels, centers)
    for order, size in (
        (torch.arange(2000), 128),
        (torch.randperm(2000, generator=generator), 1),
        (labels.argsort(), 77),
    ):
        gathering = Gathering(FEATURE_METRICS.values(), centers)
        for batch in order.split(size):
            gathering.add(features[batch], labels[batch])
        assert gathering.numbers() == pytest.approx(expected, rel=1e-12)


def test_what_is_gathered_does_not_grow_with_the_images() -> None:
    def held(batches: int) -> int:
        gathering = Gathering(FEATURE_METRICS.values(), torch.rand(10, 32))
        with LiveTensors() as live:
            for _ in range(batches):
                gathering.add(torch.rand(64, 32), torch.arange(64) % 10)
            return live.now

    # At every 2,048 samples what has come is summed.
    assert held(128) == held(32) < held(33) == held(65)
