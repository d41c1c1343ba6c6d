"""Logits that saturate: which attacks mind, which are added, and what the result says."""

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp import api
from advdpnp.attacks import APGDCE, APGDDLR, ATTACKS, PGD, CarliniWagner, Objective, Suite, suite, suite_names
from advdpnp.attacks.attack import is_scale_free
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.defenses import AT
from advdpnp.evaluation import Evaluation, evaluate, paired_test
from advdpnp.evaluation.saturation import added_attacks
from advdpnp.losses import is_right
from advdpnp.models.classifier import Classifier, Head, logits_saturate
from advdpnp.noise import IndexNoise
from advdpnp.progress import result_text
from advdpnp.results import read_evaluation
from advdpnp.runs import Json, Run
from advdpnp.training.recipe import InnerAttack
from advdpnp.training.validation import validate
from attacks.robust import digits
from training.small import small_experiment

N = 48
CROSS_ENTROPY = Objective("at", AT().objective)
# Budgets for which a test has time.
SHORT = {
    "pgd": {"steps": 10},
    # A radius of 0.1 in l1 breaks nothing.
    "slide": {"steps": 20, "eps": 2.0},
    "apgd-ce": {"steps": 10},
    "apgd-dlr": {"steps": 10},
    "apgd-t": {"steps": 10, "targets": 3},
    "fab-t": {"steps": 10, "targets": 3},
    "square": {"steps": 100},
    "margin-pgd": {"steps": 10, "targets": 3},
    "adaptive-pgd": {"steps": 10, "objective": CROSS_ENTROPY},
    "adaptive-apgd": {"steps": 10, "objective": CROSS_ENTROPY},
    "min-eps": {"steps": 2, "boundary_steps": 6, "bisections": 2, "targets": 2},
    "cw-l2": {"eps": 0.5, "steps": 20, "bisections": 6, "learning_rate": 0.05},
    "deepfool": {"steps": 5, "targets": 3},
}


class Steep(Head):
    """Another head whose logits are multiplied."""

    def __init__(self, head: Head, factor: float) -> None:
        super().__init__()
        self.head, self.factor = head, factor

    def forward(self, embedding: Tensor) -> Tensor:
        return self.factor * self.head(embedding)

    def class_centers(self) -> Tensor:
        return self.head.class_centers()


class Declared(Steep):
    """The same, and it says so."""

    saturates = True


@functools.cache
def subject(kind: type[Steep] = Steep, factor: float = 1.0) -> tuple[Classifier, Tensor, Tensor]:
    model, x, y = digits(N)
    assert isinstance(model, Classifier)
    return Classifier(model.backbone, kind(model.head, factor)).eval(), x, y  # type: ignore[arg-type]


def withstood(attack: Any, factor: float) -> Tensor:
    model, x, y = subject(Steep, factor)
    with torch.no_grad():
        return is_right(model(attack(model, x, y, noise=IndexNoise(0, torch.arange(N)))), y)


@pytest.mark.parametrize("name", [name for name in ATTACKS if not name.startswith("autoattack")])
def test_only_attacks_on_the_cross_entropy_mind_logits_times_a_million(name: str) -> None:
    attack = ATTACKS[name](**{"eps": 0.1} | SHORT.get(name, {}))
    plain, steep = (int(withstood(attack, factor).sum()) for factor in (1.0, 1e6))
    assert is_scale_free(attack) == (steep <= plain + 2), (plain, steep)
    on_likelihoods = ("fgsm", "bim", "mi-fgsm", "pgd", "apgd-ce", "slide", "adaptive-pgd", "adaptive-apgd")
    assert is_scale_free(attack) == (name not in on_likelihoods)


def test_autoattack_is_scale_free_as_its_parts_are_and_what_says_nothing_is_not() -> None:
    assert is_scale_free(ATTACKS["autoattack"]()) and is_scale_free(ATTACKS["autoattack-quick"]())

    class Unknown:
        name = "unknown"

    assert not is_scale_free(Unknown())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "balls"),
    [("pgd20", 1), ("text", 1), ("curve", 8), ("quick", 0), ("fsr", 0), ("demo", 0), ("clean", 0), ("autoattack", 0),
     ("autoattack-quick", 0), ("min-eps", 0), ("autoattack-plus", 0), ("corruptions", 0),
     ("norms", 3), ("small-eps", 3), ("steps", 1),
     ("restarts", 1), ("objective", 1), ("curve-pgd", 10), ("curve-fgsm", 10)],
)  # fmt: skip
def test_a_suite_without_a_scale_free_attack_gets_one_in_each_of_its_balls(name: str, balls: int) -> None:
    asked = suite(name, 0.1, 64)
    found = added_attacks(asked, subject(Declared)[0])
    assert len(found) == balls
    assert all(isinstance(attack, APGDDLR if attack.norm == "l1" else CarliniWagner) for attack in found)
    if found:
        assert [(a.norm, a.eps) for a in found] == list(dict.fromkeys((a.norm, a.eps) for a in asked.attacks))
    assert added_attacks(asked, subject(Steep)[0]) == () == added_attacks(asked, nn.Identity())


def test_every_suite_is_in_the_table_above() -> None:
    assert len(suite_names()) == 19


def test_an_attack_at_a_class_gets_one_at_the_same_class() -> None:
    asked = Suite("aimed", "", (PGD(eps=0.1, target=3), PGD(eps=0.1, target=4)), features=None)
    found = added_attacks(asked, subject(Declared)[0])
    assert found == (CarliniWagner(eps=0.1, target=3), CarliniWagner(eps=0.1, target=4))


def test_in_l1_it_is_one_that_is_strong_there() -> None:
    asked = Suite("l1", "", (APGDCE(norm="l1", eps=2.0, steps=2),), features=None)
    assert added_attacks(asked, subject(Declared)[0]) == (APGDDLR(eps=2.0, norm="l1"),)


def result_of(model: nn.Module, asked: Any) -> Json:
    _, x, y = subject()
    return evaluate(
        model,
        Images(x, y, 1),
        Evaluation(suite=asked, n=N, facts={"data": "d", "checkpoint": "last", "precision": "fp32"}),
        Silent(),
    )


def test_the_result_says_what_was_added_and_why_and_its_worst_case_counts_it() -> None:
    asked = suite("pgd20", 0.1, 64)
    plain, found = (result_of(subject(kind, 1e6)[0], asked) for kind in (Steep, Declared))
    assert "warnings" not in plain and [row["name"] for row in plain["attacks"]] == ["pgd"]
    assert [row["name"] for row in found["attacks"]] == ["pgd", "cw"]
    assert "added" not in found["attacks"][0] and found["attacks"][1]["added"] is True
    # PGD has no gradient there.
    assert found["attacks"][0]["robust_accuracy"] == plain["attacks"][0]["robust_accuracy"] > 0.9
    expected = withstood(CarliniWagner(eps=0.1), 1e6).double().mean().item()
    assert found["attacks"][1]["robust_accuracy"] == expected == found["worst_case_accuracy"] < 0.9
    text = result_text(found)
    assert "added, since the logits of this network saturate" in text and "warning: the logits" in text
    assert found["warnings"] == [line.removeprefix("warning: ") for line in text.splitlines() if "warning" in line]
    assert "trust cw more" in found["warnings"][0]
    read = read_evaluation(found)
    assert read.rows[1].added and not read.rows[0].added and read.warnings == found["warnings"]


def test_a_suite_with_a_scale_free_attack_stays_as_it_is_and_names_it() -> None:
    found = result_of(subject(Declared)[0], suite("demo", 0.1, 64))
    assert [row["name"] for row in found["attacks"]] == ["fgsm", "pgd", "cw"] and "trust cw more" in found["warnings"][
        0
    ]
    assert "warnings" not in result_of(subject(Declared)[0], suite("clean", 0.1, 64))


def test_a_paired_test_is_on_the_attacks_that_both_were_asked_for() -> None:
    asked = suite("pgd20", 0.1, 64)
    first, second = result_of(subject(Declared)[0], asked), result_of(subject(Steep)[0], asked)
    pairs = paired_test(first, second)
    assert [pair["name"] for pair in pairs] == ["clean", "pgd-20 linf 0.1", "worst case"]
    assert all(pair["only_first"] == pair["only_second"] == 0 for pair in pairs)


def test_networks_in_memory_get_the_attack_and_the_warning_too() -> None:
    _, x, y = subject()
    with pytest.warns(UserWarning, match="has no gradient"):
        found = api.evaluate(subject(Declared, 1e6)[0], x, y, suite="pgd20", eps=0.1)
    assert [row["name"] for row in found["attacks"]] == ["pgd", "cw"] and "saturate" in found["warnings"][-1]
    assert "has no gradient" in found["warnings"][0]


def test_a_stored_run_with_an_attack_of_its_own_is_evaluated_twice_alike(tmp_path: Path) -> None:
    run = api.train(small_experiment("oc", "recipe.epochs=1"), tmp_path, device="cpu")
    options: dict[str, Any] = {"suite_name": "mine", "limit": 20, "device": "cpu"}
    results = [api.evaluate(run.folder, ["pgd:steps=2"], **options) for _ in range(2)]
    assert results[0]["attacks"][1]["name"] == "cw" and results[0]["warnings"] == results[1]["warnings"]
    assert Run(run.folder).eval_path("mine.json").is_file()
    with pytest.raises(ValueError, match="holds other attacks"):
        api.evaluate(run.folder, ["pgd:steps=3"], **options)


def test_shards_of_such_a_network_make_the_result_of_the_whole(tmp_path: Path) -> None:
    run = api.train(small_experiment("oc", "recipe.epochs=1"), tmp_path, device="cpu")
    options: dict[str, Any] = {"suite_name": "mine", "limit": 20, "device": "cpu"}
    whole = api.evaluate(run.folder, ["pgd:steps=2"], **options)
    for part in ("1/2", "2/2"):
        merged = api.evaluate(run.folder, ["pgd:steps=2"], shard=part, **options)
    assert merged["warnings"] == whole["warnings"]
    for found, expected in zip(merged["attacks"], whole["attacks"], strict=True):
        assert found["verdicts"] == expected["verdicts"] and found.get("added") == expected.get("added")


def test_weights_are_not_chosen_by_an_attack_without_a_gradient() -> None:
    _, x, y = subject()
    attack = InnerAttack(eps=0.1, step_size=0.025, steps=10)
    accuracy = {
        (kind, factor): validate(subject(kind, factor)[0], Images(x, y, 1), attack, 16).accuracy["robust_accuracy"]
        for kind in (Steep, Declared)
        for factor in (1.0, 1e6)
    }
    # PGD on the cross-entropy takes every image for robust; on the margin it finds what it finds on logits as they are.
    assert accuracy[Steep, 1e6] > 0.9 > accuracy[Declared, 1e6]
    assert abs(accuracy[Declared, 1e6] - accuracy[Declared, 1.0]) <= 2 / N


def test_which_networks_saturate() -> None:
    assert logits_saturate(small_experiment("oc").build())
    for defense in ("at", "at-he", "adv-dpnp", "pcl"):
        assert not logits_saturate(small_experiment(defense).build())
    assert not logits_saturate(nn.Identity()) and not logits_saturate(Classifier(nn.Identity(), nn.Identity()))  # type: ignore[arg-type]


def test_pgd_itself_is_as_it_was() -> None:
    assert not is_scale_free(PGD())
