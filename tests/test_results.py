"""The schema of a stored evaluation: what makes an attack, what is read, and in which words."""

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from advdpnp.attacks import ATTACKS, record
from advdpnp.audit_files import is_audit
from advdpnp.result_files import corruption_fields
from advdpnp.results import AttackKey, attack_of, evaluations, read_evaluation, result_files, result_name
from advdpnp.runs import Run, write_json
from report.conftest import attack, evaluation

ROOT = Path(__file__).parents[1]
STORED = sorted(path for path in (ROOT / "results").rglob("eval/*.json") if not is_audit(path))
MEASURED = {"robust_accuracy": 0.5, "interval95": [0.4, 0.6], "seconds": 1.0, "verdicts": "", "mean_cross_entropy": 1.0}


TARGETED = {"class": 3, "images": 300, "reached": 270, "success": 0.9, "interval95": [0.86, 0.93]}
QUANTILES = {"0.05": 0.01, "0.25": 0.02, "0.5": 0.05, "0.75": None, "0.95": None}
SMALLEST = {"correct": 300, "censored": 100, "median": 0.05, "mean": 0.06, "quantiles": QUANTILES}


def of_rows(*rows: dict[str, Any]) -> Any:
    return read_evaluation(evaluation("mine", "digits", 360, 0.9, list(rows)))


@pytest.mark.parametrize("path", STORED, ids=[str(path.relative_to(ROOT)) for path in STORED])
def test_every_stored_evaluation_is_read_whole(path: Path) -> None:
    stored = json.loads(path.read_text())
    result = read_evaluation(stored, path)
    assert (result.n, result.suite, result.clean.value) == (stored["n"], stored["suite"], stored["clean_accuracy"])
    assert [found.value for found in result.attacks.values()] == [row["robust_accuracy"] for row in stored["attacks"]]
    assert [found.low for found in result.attacks.values()] == [row["interval95"][0] for row in stored["attacks"]]


def test_there_are_stored_evaluations() -> None:
    assert len(STORED) >= 100


@pytest.mark.parametrize("kind", ATTACKS.values(), ids=ATTACKS)
def test_a_row_tells_its_attack_from_what_was_measured_under_it(kind: Any) -> None:
    described = record(kind(eps=0.1))
    assert attack_of(described | MEASURED | {"notes": [], "searches": [], "chunk": 64}) == described
    key = AttackKey.read(described | MEASURED)
    assert (key.name, key.eps, key.settings) == (described["name"], "0.1", ())


@pytest.mark.parametrize("kind", ATTACKS.values(), ids=ATTACKS)
def test_every_field_of_every_attack_is_part_of_its_key_and_of_its_words(kind: Any) -> None:
    usual = AttackKey.read(record(kind(eps=0.1)))
    for name in {field.name for field in fields(kind)} - {field.name for field in fields(AttackKey)}:
        other = AttackKey.read(record(kind(eps=0.1)) | {name: 0.25})
        assert other != usual and len(other.settings_texts) == 1 and other.details != usual.details


def test_settings_that_no_version_knows_are_named_by_their_field() -> None:
    row = attack("mi-fgsm", "0.1", 10, "0.01", 0.5, 360)
    key = AttackKey.read(row | {"decay": 0.5, "targets": 3, "multi_eps": True, "kernel": [3, "gauss"], "flip": False})
    assert key.settings_texts == [
        "decay = 0.5", "3 targets", "radii 3ε, 2ε and ε", "kernel = (3, 'gauss')", "flip = False",
    ]  # fmt: skip
    assert key.label == "MI-FGSM-10" and key.details.endswith(", decay = 0.5, 3 targets, radii 3ε, 2ε and ε, "
                                                              "kernel = (3, 'gauss'), flip = False")  # fmt: skip


def test_attacks_that_differ_in_a_setting_alone_are_two_and_equal_numbers_are_one() -> None:
    row = attack("mi-fgsm", "0.1", 10, "0.01", 0.5, 360)
    keys = [AttackKey.read(row | {"decay": decay}) for decay in (0.5, 1, 1.0)]
    assert keys[0] != keys[1] == keys[2]
    assert len({keys[0], AttackKey.read(row | {"decay": 0.5000001})}) == 2


def test_a_second_row_of_the_same_attack_is_left_out_and_named() -> None:
    row = attack("pgd", "0.1", 40, "0.01", 0.6, 360)
    with pytest.warns(UserWarning, match=r"holds PGD-40: ℓ∞, ε = 0.1, .* twice: the second row is left out"):
        result = of_rows(row, attack("pgd", "0.1", 40, "0.01", 0.1, 360))
    assert [found.value for found in result.attacks.values()] == [0.6]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"interval95": [0.1]}, "no pair of numbers"),
        ({"interval95": [0.1, 0.2, 0.3]}, "no pair of numbers"),
        ({"notes": "text"}, "notes is 'text'"),
        ({"eps": "8/0"}, "a budget is a number or a fraction"),
        ({"interval95": [0.1, 0.2]}, r"interval95 is \[0.1, 0.2\], no pair of numbers in \[0, 1\] around 0.6"),
        ({"seconds": -1.0}, "seconds is -1.0, not at least 0"),
        ({"restarts": 0}, "restarts is 0, not at least 1"),
        ({"steps": -2}, "steps is -2, not at least 1"),
        ({"targeted": TARGETED | {"reached": 301}}, "301 reached of 300 images"),
        ({"targeted": TARGETED | {"success": -1.0}}, "success is -1.0, not in"),
        ({"targeted": TARGETED | {"interval95": [0.9, 0.2]}}, "targeted.interval95"),
        ({"smallest_eps": SMALLEST | {"censored": -8}}, "censored is -8, not at least 0"),
        ({"smallest_eps": SMALLEST | {"censored": 301}}, "301 censored of 300 right images, of 360"),
        ({"smallest_eps": SMALLEST | {"mean": 7.0}}, "a radius of 7.0 above 0.1"),
        ({"smallest_eps": SMALLEST | {"quantiles": dict.fromkeys(QUANTILES, -0.25)}}, "is -0.25, not at least 0"),
        ({"smallest_eps": SMALLEST | {"quantiles": QUANTILES | {"0.05": 0.09}}}, "quantiles that do not ascend"),
        ({"tiers": [{"name": "aa", "robust_accuracy": 0.5, "interval95": [0.1, 0.2]}]}, "around 0.5"),
        ({"robust_accuracy": 1.5}, r"robust_accuracy is 1.5, not in \[0, 1\]"),
    ],
)
def test_a_row_that_is_not_what_it_must_be_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        of_rows(attack("pgd", "0.1", 40, "0.01", 0.6, 360) | change)


def test_what_a_row_says_of_targets_and_radii_is_taken() -> None:
    of_rows(attack("pgd", "0.1", 40, "0.01", 0.6, 360) | {"targeted": TARGETED, "smallest_eps": SMALLEST})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"right": {"fog": [300, 361]}}, "no count of 360 images for each severity"),
        ({"right": {"fog": [300, -1]}}, r"right.fog\[1\] is -1, not at least 0"),
        ({"corruption_accuracy": {"fog": 0.0}}, "an accuracy of corruptions is 0.0; the counts under right say 0.75"),
        ({"severity_accuracy": [0.75, 0.75]}, "an accuracy of corruptions is 0.75; the counts under right say 0.83"),
        ({"mean_accuracy": 0.8}, "an accuracy of corruptions is 0.8; the counts under right say 0.75"),
        ({"interval95": [0.1, 0.2]}, "no pair of numbers"),
    ],
)
def test_accuracies_under_corruptions_are_those_of_the_counts(change: dict[str, Any], problem: str) -> None:
    whole = evaluation("corruptions", "digits", 360, 0.9, [])
    found = corruption_fields({"fog": [300, 240]}, 360)
    assert read_evaluation(whole | {"corruptions": found}).corruptions == found
    with pytest.raises((ValueError, TypeError), match=problem):
        read_evaluation(whole | {"corruptions": found | change})


def test_results_lie_under_their_suite_and_test_set(tmp_path: Path) -> None:
    assert (result_name("quick"), result_name("quick", "cifar10-c/fog/3")) == ("quick", "quick@cifar10-c-fog-3")
    run = Run(tmp_path)
    for name, data in (("b", "digits"), ("a@mnist-c", "mnist-c")):
        write_json(run.eval_path(f"{name}.json"), evaluation(name.partition("@")[0], data, 10, 0.9, []))
    write_json(run.eval_path("c.partial.json"), {})
    write_json(run.eval_path("shards/c.1-of-2.json"), {})
    assert [path.name for path in result_files(run)] == ["a@mnist-c.json", "b.json"]
    assert [path.name for path in result_files(run, finished=False)] == ["c.partial.json"]
    assert [result.path.name for result in evaluations(run, "digits")] == ["a@mnist-c.json", "b.json"]


def test_results_are_read_without_torch() -> None:
    code = "import sys, advdpnp.results, advdpnp.result_files, advdpnp.report; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
