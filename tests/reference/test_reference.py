"""The references themselves: closed forms, other libraries, and central differences for the gradients by hand."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
from numpy.typing import NDArray

from reference import attacks, losses, schedule

Array = NDArray[np.float64]

WEIGHTS = {"alpha": 4.0, "lambda_dpp": 0.3, "lambda_dnp": 0.7, "lambda_dfa": 2.4}
NO_WEIGHTS = {"alpha": 4.0, "lambda_dpp": 0.0, "lambda_dnp": 0.0, "lambda_dfa": 0.0}


def example(seed: int = 0) -> tuple[Array, Array, Array, list[int]]:
    """f (6, 5), f' (6, 5), prototypes (4, 5) of length 4, labels with a repeated and an absent class."""
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(4, 5))
    prototypes *= 4.0 / np.linalg.norm(prototypes, axis=1, keepdims=True)
    return rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), prototypes, [0, 2, 2, 1, 0, 2]


def central_difference(function: Callable[[Array], float], at: Array, h: float = 1e-5) -> Array:
    gradient = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        above, below = at.copy(), at.copy()
        above[place] += h
        below[place] -= h
        gradient[place] = (function(above) - function(below)) / (2 * h)
    return gradient


def test_uniform_logits_cost_log_c_and_diverge_by_nothing() -> None:
    assert losses.cross_entropy(np.zeros((2, 7)), [0, 6]) == pytest.approx(math.log(7))
    assert losses.kl_divergence(np.zeros((2, 7)), np.ones((2, 7))) == pytest.approx(0, abs=1e-15)


def test_cross_entropy_and_kl_agree_with_scipy() -> None:
    rng = np.random.default_rng(0)
    z, w = 30 * rng.normal(size=(5, 4)), 30 * rng.normal(size=(5, 4))
    y = [0, 1, 2, 3, 0]
    log_p, log_q = scipy.special.log_softmax(z, axis=1), scipy.special.log_softmax(w, axis=1)
    assert losses.cross_entropy(z, y) == pytest.approx(-log_p[range(5), y])
    assert losses.kl_divergence(z, w) == pytest.approx(scipy.special.rel_entr(np.exp(log_p), np.exp(log_q)).sum(1))


def test_margin_is_positive_exactly_where_misclassified_and_kappa_clips_it() -> None:
    logits = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
    assert losses.margin(logits, [0, 0]).tolist() == [-1.0, 5.0]
    assert losses.carlini_wagner(logits, [0, 0], kappa=50.0).tolist() == [-51.0, -45.0]
    assert losses.carlini_wagner(logits, [0, 0], kappa=2.0).tolist() == [-3.0, 0.0]


def test_trades_without_a_perturbation_is_cross_entropy() -> None:
    z = np.random.default_rng(0).normal(size=(3, 4))
    assert losses.trades(z, z, [0, 1, 2], beta=6.0) == pytest.approx(losses.cross_entropy(z, [0, 1, 2]).mean())


def test_alignment_by_mean_is_alignment_by_sum_over_d() -> None:
    f, _, prototypes, y = example()
    by_sum = losses.prototype_alignment(f, prototypes, y, "sum")
    assert by_sum == pytest.approx(np.linalg.norm(f - prototypes[y], axis=1) ** 2)
    assert losses.prototype_alignment(f, prototypes, y, "mean") == pytest.approx(by_sum / 5)


def test_nearest_rival_is_another_class_and_the_lowest_of_a_tie() -> None:
    assert losses.nearest_rival(np.array([[0.0], [1.0], [3.0], [2.0]])) == [1, 0, 3, 1]
    assert losses.nearest_rival(np.eye(4)) == [1, 0, 0, 0]


def test_repulsion_of_two_prototypes_is_minus_their_half_norm() -> None:
    prototypes = np.array([[9.0, 0.0], [0.0, -4.0]])
    assert losses.prototype_repulsion(prototypes, smoothing=0.0) == pytest.approx(-5)
    assert losses.prototype_repulsion(prototypes) == pytest.approx(-5, abs=1e-6)


def test_all_weights_zero_leave_half_of_each_cross_entropy() -> None:
    f, f_adv, prototypes, y = example()
    terms = losses.adv_dpnp_terms(f, f_adv, prototypes, y, **NO_WEIGHTS, alignment="mean")
    clean = losses.cross_entropy(f @ prototypes.T / 4, y).mean()
    adversarial = losses.cross_entropy(f_adv @ prototypes.T / 4, y).mean()
    assert sum(terms.values()) == pytest.approx((clean + adversarial) / 2)


def test_equal_branches_have_no_consistency_term_and_equal_halves() -> None:
    f, _, prototypes, y = example()
    terms = losses.adv_dpnp_terms(f, f, prototypes, y, **WEIGHTS, alignment="sum")
    assert terms["dfa"] == pytest.approx(0, abs=1e-15)
    assert terms["ce_clean"] == terms["ce_adversarial"]
    assert terms["dpp_clean"] == terms["dpp_adversarial"]


@pytest.mark.parametrize("alignment", ["sum", "mean"])
@pytest.mark.parametrize("seed", range(3))
def test_gradients_by_hand_equal_central_differences(alignment: str, seed: int) -> None:
    f, f_adv, prototypes, y = example(seed)

    def loss(f: Array, f_adv: Array, moved: Array) -> float:
        terms = losses.adv_dpnp_terms(f, f_adv, moved, y, **WEIGHTS, alignment=alignment, prototypes_adv=prototypes)
        return sum(terms.values())

    gradients = losses.adv_dpnp_gradients(f, f_adv, prototypes, y, **WEIGHTS, alignment=alignment)
    numeric = {
        "f": central_difference(lambda moved: loss(moved, f_adv, prototypes), f),
        "f_adv": central_difference(lambda moved: loss(f, moved, prototypes), f_adv),
        "prototypes": central_difference(lambda moved: loss(f, f_adv, moved), prototypes),
    }
    assert gradients.keys() == numeric.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, numeric[name], rtol=1e-6, atol=1e-8, err_msg=name)


def test_the_stop_gradient_changes_the_gradient_of_the_prototypes() -> None:
    f, f_adv, prototypes, y = example()

    def loss(moved: Array) -> float:
        return sum(losses.adv_dpnp_terms(f, f_adv, moved, y, **WEIGHTS, alignment="mean").values())

    gradient = losses.adv_dpnp_gradients(f, f_adv, prototypes, y, **WEIGHTS, alignment="mean")["prototypes"]
    assert np.abs(gradient - central_difference(loss, prototypes)).max() > 1e-2


def linear_model(seed: int = 0) -> tuple[Array, Array, Array, list[int]]:
    """Weight (3, 8), bias (3,), images (4, 8) in [0, 1], labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(3, 8)), rng.normal(size=3), rng.uniform(size=(4, 8)), [0, 1, 2, 1]


@pytest.mark.parametrize(
    ("gradient", "loss"),
    [
        (attacks.linear_cross_entropy_gradient, losses.cross_entropy),
        (attacks.linear_margin_gradient, losses.margin),
    ],
)
@pytest.mark.parametrize("label", range(3))
def test_gradients_of_the_linear_model_equal_central_differences(
    gradient: Callable[[Array, Array], attacks.Gradient], loss: Callable[[Array, list[int]], Array], label: int
) -> None:
    weight, bias, x, _ = linear_model()
    numeric = central_difference(lambda v: float(loss((weight @ v + bias)[None], [label])[0]), x[0])
    np.testing.assert_allclose(gradient(weight, bias)(x[0], label), numeric, atol=1e-8)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.3), ("l2", 0.2), ("l2", 0.9), ("l2", 50.0)])
def test_no_point_of_ball_and_box_beats_the_linear_optimum(norm: str, eps: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        w, x = rng.normal(size=8), rng.uniform(size=8)
        w[3] = 0.0
        best = attacks.linear_optimum(w, x, norm, eps)
        length = np.abs(best - x).max() if norm == "linf" else np.linalg.norm(best - x)
        assert length <= eps + 1e-12
        assert best.min() >= 0
        assert best.max() <= 1
        delta = rng.normal(size=(500, 8))
        radius = np.abs(delta).max(1) if norm == "linf" else np.linalg.norm(delta, axis=1)
        others = np.clip(x + eps * delta / radius[:, None], 0, 1)
        assert (others @ w).max() <= best @ w + 1e-12
        # Small moves from the optimum, put back into the set, do not improve it either.
        near = np.clip(best + 1e-3 * delta, 0, 1) - x
        if norm == "linf":
            near = np.clip(near, -eps, eps)
        else:
            near *= np.minimum(1, eps / np.linalg.norm(near, axis=1))[:, None]
        assert ((x + near) @ w).max() <= best @ w + 1e-12


def test_the_l2_optimum_away_from_the_box_is_eps_along_the_gradient() -> None:
    w = np.array([3.0, 0.0, -4.0])
    best = attacks.linear_optimum(w, np.full(3, 0.5), "l2", 0.1)
    assert best == pytest.approx(np.array([0.56, 0.5, 0.42]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pgd_on_two_classes_reaches_the_linear_optimum(norm: str) -> None:
    weight, bias, x, _ = linear_model()
    x, y, eps = 0.4 + 0.2 * x, [0, 1, 0, 1], 0.1
    noise = np.random.default_rng(1).uniform(-0.02, 0.02, size=x.shape)
    for gradient in (attacks.linear_cross_entropy_gradient, attacks.linear_margin_gradient):
        x_adv = attacks.pgd(gradient(weight[:2], bias[:2]), x, y, norm, eps, 0.04, 300, x + noise)
        for image, label, reached in zip(x, y, x_adv, strict=True):
            optimum = attacks.linear_optimum(weight[1 - label] - weight[label], image, norm, eps)
            assert reached == pytest.approx(optimum, abs=1e-8)


def test_pgd_stays_where_the_gradient_is_zero() -> None:
    x = np.full((1, 4), 0.5)
    for norm in ("linf", "l2"):
        assert attacks.pgd(lambda image, _: 0 * image, x, [0], norm, 0.1, 0.05, 3, x).tolist() == x.tolist()


def test_fgsm_is_a_sign_step_cut_to_the_box() -> None:
    def gradient(image: Array, _: int) -> Array:
        return np.array([5.0, -0.1, 0.0, 2.0])

    x = np.array([[0.5, 0.5, 0.5, 0.9]])
    assert attacks.fgsm(gradient, x, [0], 0.25)[0] == pytest.approx([0.75, 0.25, 0.5, 1.0])


def test_the_scaled_schedule_of_110_epochs_is_the_papers() -> None:
    for step in range(110 * 391):
        t = Fraction(step, 391)
        assert schedule.learning_rate(t, 110) == schedule.paper_learning_rate(float(t))


def test_a_shorter_run_decays_at_the_same_fractions() -> None:
    assert [schedule.learning_rate(t, 22) for t in (0, 19.99, 20, 20.99, 21, 21.99)] == [
        0.1,
        0.1,
        0.01,
        0.01,
        0.001,
        0.001,
    ]
