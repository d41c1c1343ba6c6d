"""AUROC, FPR at 95 % TPR and AURC against closed forms and counts by hand; inside is positive, higher is inside."""

import itertools

import numpy as np
import pytest
from scipy.stats import binom

from advdpnp.metrics.detection import accept_curve, auroc, auroc_interval, roc_at, threshold_at


def test_separable_scores_have_auroc_1_and_no_false_positive() -> None:
    inside, outside = np.arange(10.0) + 100, np.arange(7.0)
    assert auroc(inside, outside) == 1.0
    assert threshold_at(inside, outside).false_positive_rate == 0.0


def test_the_inside_is_positive_and_scores_higher() -> None:
    inside, outside = np.array([3.0, 2.0]), np.array([1.0, 0.0])
    assert (auroc(inside, outside), auroc(outside, inside)) == (1.0, 0.0)


@pytest.mark.parametrize("values", [np.arange(30.0), np.zeros(30)])
def test_equal_distributions_have_auroc_one_half(values: np.ndarray) -> None:
    assert auroc(values, values.copy()) == pytest.approx(0.5, abs=1e-12)


def test_auroc_counts_pairs_and_half_of_the_ties() -> None:
    random = np.random.default_rng(0)
    inside, outside = random.integers(0, 5, 23).astype(float), random.integers(0, 4, 17).astype(float)
    pairs = [1.0 * (a > b) + 0.5 * (a == b) for a, b in itertools.product(inside, outside)]
    assert auroc(inside, outside) == pytest.approx(np.mean(pairs), abs=1e-12)


def test_a_roc_made_by_hand() -> None:
    # 20 inside images score 1 to 20. At least 95 % of them, 19, are accepted by the threshold 2, and not by 2.5.
    inside = np.arange(1.0, 21.0)
    outside = np.array([0.5, 1.5, 1.9, 2.0, 2.5, 7.0, 30.0, 0.1])
    found = threshold_at(inside, outside)
    # Of the outside 2.0, 2.5, 7.0 and 30.0 are accepted: 4 of 8.
    assert (found.value, found.true_positive_rate, found.false_positive_rate) == (2.0, 0.95, 0.5)
    # Wilson's interval of 4 of 8, from the textbook.
    assert found.interval95 == pytest.approx((0.2152, 0.7848), abs=1e-4)
    # 0 accepted: none; 1 (the 20): 30.0 scores higher; all: 7 and 6 of those at or above 1.
    assert roc_at(inside, outside, [0, 0.05, 1]).tolist() == [0, 1 / 8, 6 / 8]


def test_tied_images_are_accepted_together() -> None:
    # 19 of 20 cannot be accepted without the 20th, which has the score of four others.
    inside = np.array([1.0] * 5 + [2.0] * 15)
    found = threshold_at(inside, np.array([1.0, 0.0, 2.0, 0.5]))
    assert (found.value, found.true_positive_rate, found.false_positive_rate) == (1.0, 1.0, 0.5)


def test_aurc_by_hand() -> None:
    # In the order of the scores: right, wrong, right, right. Risks of 1, 2, 3, 4 accepted: 0, 1/2, 1/3, 1/4.
    scores, right = np.array([0.4, 0.9, 0.8, 0.1]), np.array([True, True, False, True])
    found = accept_curve(scores, right, points=4)
    assert found.coverage == [0.25, 0.5, 0.75, 1.0]
    assert found.accuracy == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4])
    assert found.aurc == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    # The wrong one last: 0, 0, 0, 1/4.
    assert found.best == pytest.approx(1 / 16)


def test_aurc_of_ties_is_the_mean_over_all_orders() -> None:
    scores = np.array([3.0, 1.0, 1.0, 1.0, 0.0])
    right = np.array([True, False, True, True, False])
    of_orders = []
    for order in itertools.permutations([1, 2, 3]):
        wrong = ~right[[0, *order, 4]]
        of_orders.append(np.mean(np.cumsum(wrong) / np.arange(1, 6)))
    assert accept_curve(scores, right).aurc == pytest.approx(np.mean(of_orders))


def test_nothing_depends_on_the_order_of_the_images() -> None:
    random = np.random.default_rng(1)
    scores, right = random.integers(0, 6, 40).astype(float), random.random(40) < 0.7
    order = random.permutation(40)
    assert accept_curve(scores, right) == accept_curve(scores[order], right[order])


def test_without_wrong_answers_the_risk_is_0_and_without_right_ones_1() -> None:
    scores = np.arange(5.0)
    assert accept_curve(scores, np.ones(5, bool)).aurc == accept_curve(scores, np.ones(5, bool)).best == 0.0
    assert accept_curve(scores, np.zeros(5, bool)).aurc == accept_curve(scores, np.zeros(5, bool)).best == 1.0


def test_the_interval_covers_where_the_variance_is_the_largest() -> None:
    # A share of the outside below all of the inside, the rest above: A is that share, of variance A (1 - A) / n.
    n, truth = 200, 0.7
    inside = np.full(500, 0.5)
    covered = 0.0
    for below in range(n + 1):
        found = auroc(inside, np.array([0.0] * below + [1.0] * (n - below)))
        low, high = auroc_interval(found, len(inside), n)
        covered += binom.pmf(below, n, truth) * (low <= truth <= high)
    assert covered == pytest.approx(0.95, abs=0.01)


def test_the_interval_of_separated_scores_has_a_length() -> None:
    assert auroc_interval(1.0, 60, 90) == pytest.approx((60 / (60 + 1.959964**2), 1.0))


@pytest.mark.parametrize("bad", [[np.nan, 1.0], [np.inf], [], [[1.0]]])
def test_scores_that_are_no_numbers_are_refused_in_a_line(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="scores must be finite numbers") as error:
        auroc(np.array(bad), np.array([1.0]))
    assert "\n" not in str(error.value)
