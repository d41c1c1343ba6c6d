"""Who is ranked with whom, by which number, how sure."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from advdpnp.report.ranking import Ranking, rankings
from advdpnp.report.read import read_runs
from report.conftest import wilson, write_json

MakeRun = Callable[..., Path]


def autoattack(make_run: MakeRun, robust: float, defense: str = "at", eps: str = "0.1", **options: object) -> Path:
    made = {"suite": "autoattack", "attacks": (("autoattack", eps, None, None),), "robust": (robust,)}
    return make_run(defense, **made | options)


def ranked(*folders: Path) -> list[Ranking]:
    return rankings(read_runs(list(dict.fromkeys(folders))))


def names(ranking: Ranking) -> list[list[tuple[int, str]]]:
    return [[(line.rank, line.run.method) for line in group.lines] for group in ranking.groups]


def test_methods_stand_in_the_order_of_their_accuracy_under_autoattack(make_run: MakeRun) -> None:
    (ranking,) = ranked(
        autoattack(make_run, 0.4),
        autoattack(make_run, 0.6, "trades"),
        autoattack(make_run, 0.4, "mart", clean=0.95),
        autoattack(make_run, 0.1, "st"),
    )
    assert (ranking.title, ranking.head) == ("digits, ℓ∞ 0.1", "AutoAttack")
    # Of equal ones that with the higher clean accuracy comes first; they share the rank.
    assert names(ranking) == [[(1, "TRADES"), (2, "MART"), (2, "AT"), (4, "ST")]]
    assert ranking.groups[0].title == "AutoAttack, 360 test images"


def test_seeds_are_one_line_with_the_interval_of_their_mean(make_run: MakeRun) -> None:
    folders = [autoattack(make_run, robust, seed=seed, n=200) for seed, robust in enumerate((0.24, 0.18))]
    (ranking,) = ranked(*folders)
    (line,) = ranking.groups[0].lines
    assert line.robust.value == pytest.approx(0.21) and line.extremes == (0.18, 0.24)
    assert [line.robust.low, line.robust.high] == pytest.approx(wilson(0.21, 200))
    assert [seed.result.run.seed for seed in line.seeds] == [0, 1]


def test_the_interval_of_one_seed_is_the_stored_one(make_run: MakeRun) -> None:
    (ranking,) = ranked(autoattack(make_run, 0.4, n=200))
    (line,) = ranking.groups[0].lines
    assert [line.robust.low, line.robust.high] == pytest.approx(wilson(0.4, 200)) and line.extremes is None


def test_what_autoattack_did_not_attack_stands_below_under_its_strongest_attack(make_run: MakeRun) -> None:
    (ranking,) = ranked(
        autoattack(make_run, 0.4),
        make_run("trades", robust=(0.7, 0.6, 0.65)),
        make_run("mart", robust=(0.7, 0.66, 0.64)),
    )
    assert ranking.head == "Robust"
    assert names(ranking) == [[(1, "AT")], [(1, "MART"), (2, "TRADES")]]
    assert ranking.groups[1].title == "No AutoAttack: the strongest of C&W-30, FGSM and PGD-40, 360 test images"
    # 0.64 under C&W, 0.6 under PGD: each under the attack that leaves the least.
    assert [line.key and line.key.label for line in ranking.groups[1].lines] == ["C&W-30", "PGD-40"]


def test_the_same_images_attacked_in_two_suites_count_together(make_run: MakeRun) -> None:
    make_run("at", robust=(0.7, 0.6, 0.65))
    folder = make_run("at", suite="more", attacks=(("pgd", "0.1", 100, "0.01"),), robust=(0.55,))
    (ranking,) = ranked(folder)
    (line,) = ranking.groups[0].lines
    assert line.key is not None and line.key.label == "PGD-100" and line.robust.value == 0.55


def test_other_images_other_attacks_and_other_precision_are_never_ranked_together(make_run: MakeRun) -> None:
    folders = [
        autoattack(make_run, 0.4, "at", n=200),
        autoattack(make_run, 0.3, "trades", n=360),
        autoattack(make_run, 0.5, "mart", n=360),
        make_run("st", attacks=(("pgd", "0.1", 20, "0.01"),), robust=(0.8,)),
        make_run("alp", attacks=(("pgd", "0.1", 40, "0.01"),), robust=(0.9,)),
    ]
    path = folders[2] / "eval/autoattack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"search_precision": "tf32"}))
    (ranking,) = ranked(*folders)
    assert sorted(map(len, names(ranking))) == [1] * 5
    assert ranking.groups[1].title == "AutoAttack, 360 test images, attacks searched in tf32"


def test_a_method_is_ranked_again_on_fewer_images_only_beside_others(make_run: MakeRun) -> None:
    both = [autoattack(make_run, 0.4, n=360), autoattack(make_run, 0.45, n=200, suite="small")]
    (alone,) = ranked(*both)
    assert names(alone) == [[(1, "AT")]] and alone.groups[0].n == 360
    (beside,) = ranked(*both, autoattack(make_run, 0.5, "trades", n=200))
    assert names(beside) == [[(1, "AT")], [(1, "TRADES"), (2, "AT")]]


def test_each_data_set_and_threat_model_has_a_ranking_and_autoattack_comes_first(make_run: MakeRun) -> None:
    found = ranked(
        make_run("at", data="mnist", attacks=(("pgd", "0.3", 40, "0.01"),), robust=(0.9,)),
        autoattack(make_run, 0.4, eps="0.2"),
        autoattack(make_run, 0.5, "trades", eps="0.1"),
        autoattack(make_run, 0.5, "mart", eps="0.1"),
    )
    assert [ranking.title for ranking in found] == ["digits, ℓ∞ 0.1", "digits, ℓ∞ 0.2", "mnist, ℓ∞ 0.3"]


def test_what_was_never_attacked_is_ranked_by_itself(make_run: MakeRun) -> None:
    clean = make_run("st", attacks=(), robust=(), suite="clean", clean=0.95)
    attacked, never = ranked(autoattack(make_run, 0.4), clean)
    assert (attacked.title, never.title) == ("digits, ℓ∞ 0.1", "digits, no attack")
    assert never.finding == "ST has 95.0 % [92.2, 96.8] without an attack." and never.groups[0].lines[0].key is None
    assert rankings([]) == []


def test_images_of_another_network_and_aimed_attacks_are_no_robust_accuracy(make_run: MakeRun) -> None:
    folder = autoattack(make_run, 0.4)
    path = folder / "eval/autoattack.json"
    stored = json.loads(path.read_text())
    crafted = {"transfer": {"source": "runs/other", "weights": ""}, "suite": "moved"}
    row = stored["attacks"][0] | {"robust_accuracy": 0.01, "interval95": wilson(0.01, 360)}
    stored |= {"worst_case_accuracy": 0.01, "worst_case_interval95": wilson(0.01, 360)}
    write_json(folder / "eval/moved.json", stored | crafted | {"attacks": [row]})
    aimed = row | {"targeted": {"class": 3, "images": 300, "success": 0.9, "interval95": [0.8, 0.95]}}
    write_json(folder / "eval/aimed.json", stored | {"suite": "aimed", "attacks": [aimed]})
    (ranking,) = ranked(folder)
    assert [line.robust.value for group in ranking.groups for line in group.lines] == [0.4]


def test_autoattack_within_more_than_it_counts_as_autoattack(make_run: MakeRun) -> None:
    folder = make_run("at", suite="plus", attacks=(("autoattack-plus", "0.1", None, None),), robust=(0.35,))
    path = folder / "eval/plus.json"
    stored = json.loads(path.read_text())
    stored["attacks"][0]["tiers"] = [{"name": "autoattack", "robust_accuracy": 0.36, "interval95": wilson(0.36, 360)}]
    path.write_text(json.dumps(stored))
    (ranking,) = ranked(folder)
    assert ranking.groups[0].standard and ranking.groups[0].lines[0].robust.value == 0.36


def with_verdicts(folder: Path, right: int) -> Path:
    """The first so many of the images are right under AutoAttack."""
    path = folder / "eval/autoattack.json"
    stored = json.loads(path.read_text())
    bits = np.packbits(np.arange(stored["n"]) < right)
    # A result whose bits and accuracy differ is damaged.
    stored["attacks"][0]["robust_accuracy"] = right / stored["n"]
    stored["attacks"][0]["verdicts"] = base64.b64encode(bits.tobytes()).decode()
    path.write_text(json.dumps(stored))
    return folder


def test_the_finding_says_whether_the_first_is_told_apart_from_the_second(make_run: MakeRun) -> None:
    at, trades = autoattack(make_run, 0.5, n=200), autoattack(make_run, 0.52, "trades", n=200)
    assert ranked(at, trades)[0].finding == (
        "TRADES is first with 52.0 % [45.1, 58.8] under AutoAttack and 90.0 % clean, then AT (50.0 %)."
    )
    # Four images that only one gets right: p = 2 / 2^4 = 0.125.
    with_verdicts(at, 100), with_verdicts(trades, 104)
    assert "not told apart from AT (50.0 %) by McNemar's test on the same images." in ranked(at, trades)[0].finding
    # Eight: p = 2 / 2^8 = 0.0078.
    with_verdicts(trades, 108)
    assert ", told apart from AT" in ranked(at, trades)[0].finding


def test_extra_data_and_warnings_are_told(make_run: MakeRun) -> None:
    plain, tuned = autoattack(make_run, 0.4), autoattack(make_run, 0.5, "trades")
    config = json.loads((tuned / "config.json").read_text())
    (tuned / "config.json").write_text(json.dumps(config | {"initial": {"weights": "pretrained"}}))
    path = plain / "eval/autoattack.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"warnings": ["logits saturate"]}))
    (ranking,) = ranked(plain, tuned)
    lines = {line.run.method: line for line in ranking.groups[0].lines}
    assert (lines["AT"].extra_data, lines["TRADES"].extra_data) == ("no", "pretrained")
    assert ranking.warnings == ["logits saturate"]
    assert (ranking.warned(lines["AT"]), ranking.warned(lines["TRADES"])) == ((0,), ())
