"""Accuracy of what else a classifier could answer, recorded beside its own on the same images."""

from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import data
from advdpnp.attacks import PGD, Suite
from advdpnp.callbacks import Silent
from advdpnp.evaluation import Evaluation, evaluate, merge_shards
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Classifier
from advdpnp.noise import IndexNoise
from advdpnp.progress import result_text
from advdpnp.results import read_evaluation
from advdpnp.runs import Json

N = 100
FACTS = {"data": "digits", "checkpoint": "last", "precision": "fp32"}
SUITE = Suite("one", "a short attack", (PGD(eps=0.1, steps=2),), None)


def many_headed() -> Classifier:
    """Heads that differ much, so that head 0 and the mean disagree."""
    model = experiment("digits/tiny/dio", settings=["defense.heads=3"]).build()
    with torch.no_grad():
        model.head.weight.mul_(20)  # type: ignore[union-attr, operator]
    return model.eval()


def result(**fields: Any) -> Json:
    evaluation = Evaluation(suite=SUITE, n=N, facts=FACTS, chunk=40, **fields)
    return evaluate(many_headed(), data.load("digits", "test"), evaluation, Silent())


def test_head_0_of_dio_is_right_as_a_plain_loop_finds_it() -> None:
    found, model = result(), many_headed()
    x, y = data.load("digits", "test").batch(torch.arange(N))
    # Attacked is the mean of the heads.
    x_adv = SUITE.attacks[0](model, x, y, noise=IndexNoise(0, torch.arange(N)))
    expected = [
        (model.embed(points) @ model.head.weight[0].T).argmax(dim=1).eq(y).double().mean().item()  # type: ignore[union-attr, index]
        for points in (x, x_adv)
    ]
    stored = [found["clean_other_answers"], found["attacks"][0]["other_answers"]]
    assert stored == [{"head 0": pytest.approx(value)} for value in expected]
    assert expected[0] != pytest.approx(found["clean_accuracy"])
    read = read_evaluation(found)
    assert read.clean_other_answers == stored[0] and read.rows[0].other_answers == stored[1]
    # It is no setting of the attack.
    assert read.rows[0].key.settings == ()
    clean_line, attacked_line = (f"  head 0 alone, on the same images{value:>18.2%}" for value in expected)
    lines = result_text(found).splitlines()
    assert lines[2] == clean_line and lines[4] == attacked_line


def test_parts_and_interrupted_evaluations_find_the_same(tmp_path: Path) -> None:
    whole = result()
    merged = merge_shards([result(shard=(part, 3)) for part in (1, 2, 3)])
    partial = tmp_path / "one.partial.json"

    class Impatient(Silent):
        left = 3

        def on_images(self, count: int) -> None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    evaluation = Evaluation(suite=SUITE, n=N, facts=FACTS, chunk=40, partial=partial)
    with pytest.raises(KeyboardInterrupt):
        evaluate(many_headed(), data.load("digits", "test"), evaluation, Impatient())
    resumed = result(partial=partial, resume=True)
    for other in (merged, resumed):
        assert other["clean_other_answers"] == whole["clean_other_answers"]
        assert other["attacks"][0]["other_answers"] == whole["attacks"][0]["other_answers"]


def test_accuracies_of_parts_weigh_by_their_images() -> None:
    parts = [result(shard=(part, 3)) for part in (1, 2, 3)]
    assert [part["n"] for part in parts] == [34, 33, 33]
    for part, share in zip(parts, (17 / 34, 33 / 33, 0.0), strict=True):
        part["clean_other_answers"] = part["attacks"][0]["other_answers"] = {"head 0": share}
    merged = merge_shards(parts)
    assert merged["clean_other_answers"] == merged["attacks"][0]["other_answers"] == {"head 0": 50 / 100}


def test_a_classifier_with_one_answer_has_nothing_to_add() -> None:
    model = experiment("digits/tiny/at").build().eval()
    assert model.other_answers(torch.rand(2, 1, 8, 8)) == {}
    found = evaluate(model, data.load("digits", "test"), Evaluation(suite=SUITE, n=20, facts=FACTS), Silent())
    assert "clean_other_answers" not in found and "other_answers" not in found["attacks"][0]
