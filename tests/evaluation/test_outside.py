"""Scores of single images in closed form, and what they tell apart on networks that are made by hand."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp.attacks import PGD, Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.data.outside import OutsideImages
from advdpnp.evaluation import Evaluation
from advdpnp.evaluation.outside import OutsideMeasurement
from advdpnp.evaluation.scores import scores_of
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.heads import PrototypeHead
from advdpnp.ood_results import OodResult, ood_text, read_ood


def test_scores_of_logits_in_closed_form() -> None:
    logits = torch.tensor([[math.log(0.7), math.log(0.2), math.log(0.1)], [3.0, 3.0, -40.0]])
    found = scores_of(logits)
    assert list(found) == ["max-softmax", "max-logit", "energy"]
    assert found["max-softmax"].tolist() == pytest.approx([math.log(0.7), -math.log(2)], rel=1e-6)
    assert found["max-logit"].tolist() == pytest.approx([math.log(0.7), 3.0], rel=1e-6)
    assert found["energy"].tolist() == pytest.approx([0.0, 3 + math.log(2)], abs=1e-6)


def test_a_softmax_that_rounds_to_1_keeps_its_order() -> None:
    found = scores_of(torch.tensor([[60.0, 0.0], [90.0, 0.0], [500.0, 0.0]]))["max-softmax"]
    assert found.tolist()[:2] == pytest.approx([-math.exp(-60), -math.exp(-90)], rel=1e-9, abs=0)
    assert found[0] < found[1] < found[2]


def test_distance_and_angle_to_the_nearest_center() -> None:
    centers = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    embedding = torch.tensor([[1.0, 1.0], [0.0, 4.0], [0.0, 0.0]])
    found = scores_of(torch.zeros(3, 2), embedding, centers)
    assert found["distance"].tolist() == pytest.approx([-math.sqrt(2), -1.0, -2.0])
    # An embedding that is 0 has no direction.
    assert found["angle"].tolist() == pytest.approx([-45.0, 0.0, -90.0])


class Mean(Backbone):
    """Of each image the means of its left and its right half."""

    features = 2

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[3] // 2
        return torch.stack([x[..., :half].mean(dim=(1, 2, 3)), x[..., half:].mean(dim=(1, 2, 3))], dim=1)


def network() -> Classifier:
    """Prototypes (1, 0) and (0, 1): which half of the image is brighter."""
    head = PrototypeHead(2, 2, alpha=1.0)
    head.prototypes.data.copy_(torch.eye(2))
    return Classifier(Mean(), head).eval()


def halves(bright: list[tuple[float, float]], labels: list[int]) -> Images:
    left, right = torch.tensor(bright).T
    pixels = torch.cat([side.view(-1, 1, 1, 1).expand(-1, 1, 4, 2) for side in (left, right)], dim=3)
    return Images(pixels, torch.tensor(labels), levels=1)


INSIDE = halves([(0.9, 0.1), (0.8, 0.0), (0.0, 0.8), (0.3, 0.6), (0.6, 0.4)], [0, 0, 1, 1, 1])


def measured(attacks: tuple[PGD, ...] = ()) -> OutsideMeasurement:
    evaluation = Evaluation(Suite("ood", "", attacks, None), len(INSIDE), {}, chunk=4)
    return OutsideMeasurement(network(), INSIDE, evaluation, Silent())


def test_outside_images_by_hand() -> None:
    outside = OutsideImages("gray", halves([(0.5, 0.5), (0.45, 0.15), (0.02, 0.02)], [0, 0, 0]), (1, 4, 4))
    row = measured().against(outside, 3, [])
    # Distances to the nearer prototype: inside .141, .2, .2, .5, .566; outside .707, .570, .980: all further away.
    assert (row.scores["distance"].auroc, row.scores["distance"].fpr95) == (1.0, 0.0)
    # Angles: inside 6.3, 0, 0, 26.6, 33.7 degrees; outside 45, 18.4, 45. Of 15 pairs all but two are in order.
    assert row.scores["angle"].auroc == pytest.approx(13 / 15)
    # 95 % of five images are five, of which the last has 33.7 degrees: one of three outside ones passes.
    assert row.scores["angle"].fpr95 == pytest.approx(1 / 3)
    assert (row.n, row.conversion, set(row.scores)) == (
        3,
        "",
        {"distance", "angle", "max-softmax", "max-logit", "energy"},
    )


def test_accepted_test_images_by_hand() -> None:
    row = measured().clean
    # Only the last image is wrong, and its distance is the largest: risks 0, 0, 0, 0, 1/5.
    assert row.accuracy == 0.8 and row.label == "clean"
    assert row.scores["distance"].aurc == row.scores["distance"].best_aurc == pytest.approx(0.2 / 5)
    assert row.scores["distance"].coverage == [0.2, 0.4, 0.6, 0.8, 1.0]
    assert row.scores["distance"].accuracy_of_accepted == pytest.approx([1, 1, 1, 1, 0.8])
    assert (row.scores["distance"].accepted_right, row.scores["distance"].accepted_wrong) == (0.8, 0.2)


def test_under_attack_scores_are_those_of_the_attacked_images() -> None:
    # The exact attack of a linear classifier: 0.2 less in the half of the class, and 0.2 more in the other.
    attack = PGD(eps=0.2, steps=4, step_size=0.1, random_start=False)
    row = measured().under(attack)
    moved = halves([(0.7, 0.3), (0.6, 0.2), (0.2, 0.6), (0.5, 0.4), (0.8, 0.2)], [0, 0, 1, 1, 1])
    expected = OutsideMeasurement(
        network(), moved, Evaluation(Suite("ood", "", (), None), 5, {}, chunk=4), Silent()
    ).clean
    assert row.accuracy == expected.accuracy == 0.6
    for name, score in row.scores.items():
        assert score.aurc == pytest.approx(expected.scores[name].aurc), name
    # The threshold stays that of the clean images.
    assert row.scores["distance"].threshold == measured().clean.scores["distance"].threshold


def test_no_score_depends_on_the_chunk_or_on_how_many_images() -> None:
    outside = OutsideImages("gray", halves([(0.5, 0.5), (0.45, 0.15), (0.02, 0.02)], [0, 0, 0]), (1, 4, 4))
    wide = Evaluation(Suite("ood", "", (), None), len(INSIDE), {}, chunk=16)
    found = OutsideMeasurement(network(), INSIDE, wide, Silent()).against(outside, 3, [])
    assert replace(found, seconds=0) == replace(measured().against(outside, 3, []), seconds=0)


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        logits = x.flatten(1)[:, :2] * 1.0
        return torch.where(x.mean() > 2, logits, logits / 0)


def test_logits_that_are_not_finite_are_refused_in_a_line() -> None:
    evaluation = Evaluation(Suite("ood", "", (), None), len(INSIDE), {}, chunk=4)
    with pytest.raises(ValueError, match=r"5 of 5 images \(clean test images\) .* not finite"):
        OutsideMeasurement(Breaks().eval(), INSIDE, evaluation, Silent())


def digits(count: int = 60) -> tuple[Tensor, Tensor]:
    return advdpnp.data.load("digits", "test").batch(torch.arange(count))


def test_a_network_in_memory_and_the_orientation_of_its_scores() -> None:
    x, y = INSIDE.batch(torch.arange(len(INSIDE)))
    found = advdpnp.ood(network(), {"black": torch.zeros(4, 1, 4, 4)}, on_data=(x, y), attack="pgd:eps=0.1,steps=2")
    result = read_ood(found)
    (row,) = result.outside
    # Black images are further from the prototypes than the test images, which are the positive class.
    assert row.name == "black" and row.scores["distance"].auroc == 1.0
    assert row.scores["distance"].auroc_interval95[0] < 1
    text = ood_text(result)
    assert "against black, 4 images" in text and "FPR at 95 % TPR" in text


def test_what_has_no_class_centers_has_no_distance_and_says_so() -> None:
    x, y = INSIDE.batch(torch.arange(len(INSIDE)))

    class Plain(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return network()(x)

    result = read_ood(advdpnp.ood(Plain().eval(), "uniform-noise", on_data=(x, y), attack="pgd:eps=0.1,steps=1"))
    assert result.scores == ["max-softmax", "max-logit", "energy"]
    assert any(note.startswith("no distance and no angle: ") for note in result.notes)


def test_a_stored_result_is_read_as_it_was_written() -> None:
    x, y = INSIDE.batch(torch.arange(len(INSIDE)))
    stored = advdpnp.ood(network(), "gaussian-noise", on_data=(x, y), attack="pgd:eps=0.1,steps=1")
    result = read_ood(stored)
    assert isinstance(result, OodResult) and result.json() == stored
    histogram = result.outside[0].scores["distance"].histogram
    assert sum(histogram["inside"]) == pytest.approx(1, abs=1e-4) and len(histogram["edges"]) == 31
    assert np.all(np.diff(result.outside[0].scores["distance"].roc) >= 0)
    for where, change, problem in (
        ("outside", {"auroc": 7}, r"auroc is 7, not in \[0, 1\]"),
        ("outside", {"fpr95": -0.25}, r"fpr95 is -0.25, not in \[0, 1\]"),
        ("outside", {"auroc_interval95": [0.0, 0.0]}, "auroc_interval95 is .* around"),
        ("outside", {"roc": [2.0] * 101}, r"roc\[0\] is 2.0, not in"),
        ("accepting", {"aurc": -1}, "aurc is -1, not in"),
        ("accepting", {"accepted_right": 1.5}, "accepted_right is 1.5, not in"),
        ("accepting", {"accepted_wrong": 0.9, "accepted_right": 0.9}, "neither right nor wrong"),
    ):
        changed = copy.deepcopy(stored)
        changed[where][0]["scores"]["distance"] |= change
        with pytest.raises((TypeError, ValueError), match=problem):
            read_ood(changed)
    for broken in ({**stored, "n": "5"}, {**stored, "schema": 9}, {k: v for k, v in stored.items() if k != "scores"}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            read_ood(broken)
