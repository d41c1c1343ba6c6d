"""Where a score lies among those of the test images: bounds by hand, and against all scores of a run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import api, data
from advdpnp.evaluation.scores import Scorer
from advdpnp.explaining import Score
from advdpnp.explaining.places import placed
from advdpnp.ood_results import AcceptRow, OodResult, OutsideRow, ScoreAccepting, ScoreAgainst
from advdpnp.runs import read_json, write_json
from explaining.networks import QUICK


def result(*histograms: dict[str, list[float]]) -> OodResult:
    against = [
        ScoreAgainst(auroc=0.5, auroc_interval95=[0, 1], fpr95=0.5, fpr95_interval95=[0, 1], roc=[], histogram=one)
        for one in histograms
    ]
    values: dict[str, Any] = {"aurc": 0, "best_aurc": 0, "coverage": [], "accuracy_of_accepted": []}
    accepting = ScoreAccepting(**values, threshold=-2.0, accepted=0.95, accepted_right=0.9, accepted_wrong=0.05)
    return OodResult(
        schema=1,
        data="digits",
        n=10,
        indices="0-9",
        checkpoint="last",
        precision="fp32",
        chunk=16,
        seed=0,
        scores=["angle"],
        outside=[
            OutsideRow(name=f"set {number}", n=10, conversion="", scores={"angle": one}, seconds=0)
            for number, one in enumerate(against)
        ],
        accepting=[AcceptRow(attack=None, accuracy=0.9, interval95=[0, 1], scores={"angle": accepting}, seconds=0)],
    )


COARSE = {"edges": [-4.0, -2.0, 0.0], "inside": [0.25, 0.75], "outside": [1.0, 0.0]}
SHIFTED = {"edges": [-3.0, -1.0, 1.0], "inside": [0.5, 0.5], "outside": [1.0, 0.0]}


@pytest.mark.parametrize(
    ("value", "histograms", "below"),
    [
        (-3.0, [COARSE], (0.0, 0.25)),
        (-1.5, [COARSE], (0.25, 1.0)),
        # The second histogram has half of the images below -1.
        (-1.5, [COARSE, SHIFTED], (0.25, 0.5)),
        (-0.5, [COARSE, SHIFTED], (0.5, 1.0)),
        # Beyond the ends: in the first and the last bin.
        (-9.0, [COARSE], (0.0, 0.25)),
        (9.0, [COARSE, SHIFTED], (0.5, 1.0)),
    ],
)
def test_histograms_bound_the_place(
    value: float, histograms: list[dict[str, list[float]]], below: tuple[float, float]
) -> None:
    found = placed("angle", value, result(*histograms))
    assert found.below == pytest.approx(below)
    assert found.threshold == -2.0 and found.accepted == (value >= -2.0)


def test_nothing_is_known_without_results_or_without_that_score() -> None:
    assert placed("angle", -1.0, None) == Score(-1.0)
    assert placed("energy", -1.0, result(COARSE)) == Score(-1.0)
    assert placed("angle", -1.0, result()) == Score(-1.0, -2.0)


def test_the_bounds_hold_the_share_of_all_scores_of_the_run(scored: Path) -> None:
    x, _ = data.load("digits", "test").batch(torch.arange(200))
    scores, _ = Scorer(api.load(scored))(x)
    found = api.explain(scored, "test:3,50", attack=QUICK, neighbors=0)
    for position, image in zip((3, 50), found.explained):
        assert set(image.scores) == {"distance", "angle", "max-softmax", "max-logit", "energy"}
        for name, score in image.scores.items():
            share = (scores[name] < scores[name][position]).double().mean().item()
            assert score.value == pytest.approx(scores[name][position].item(), rel=1e-4, abs=1e-5)
            # An edge is stored with six digits: one image may be on its other side.
            assert score.below is not None and score.below[0] - 0.005 <= share <= score.below[1] + 0.005
            # 95 % of the 200 images are at or above it.
            assert int((scores[name] >= score.threshold - 1e-5).sum()) in range(190, 193)


def test_scores_of_other_weights_are_not_taken(scored: Path) -> None:
    path = scored / "eval/ood/ood.json"
    stored = read_json(path)
    try:
        write_json(path, stored | {"weights": "0" * 64})
        found = api.explain(scored, "test:3", attack=QUICK, neighbors=0)
        assert found.explained[0].scores["angle"].threshold is None
        assert any("of other weights" in note for note in found.notes)
        path.write_text("{")
        damaged = api.explain(scored, "test:3", attack=QUICK, neighbors=0)
        assert any("ood.json is damaged" in note for note in damaged.notes)
    finally:
        write_json(path, stored)
