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
from advdpnp.results import AttackKey, attack_of, evaluations, read_evaluation, result_files, result_name
from advdpnp.runs import Run, write_json
from report.conftest import attack, evaluation

ROOT = Path(__file__).parents[1]
STORED = sorted(path for path in (ROOT / "results").rglob("eval/*.json") if not is_audit(path))
MEASURED = {"robust_accuracy": 0.5, "interval95": [0.4, 0.6], "seconds": 1.0, "verdicts": "", "mean_cross_entropy": 1.0}


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
        result = of_rows(row, row | {"robust_accuracy": 0.1})
    assert [found.value for found in result.attacks.values()] == [0.6]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"interval95": [0.1]}, "no pair of numbers"),
        ({"interval95": [0.1, 0.2, 0.3]}, "no pair of numbers"),
        ({"notes": "text"}, "notes is 'text'"),
        ({"eps": "8/0"}, "a budget is a number or a fraction"),
        ({"robust_accuracy": 1.5}, "no fraction in"),
    ],
)
def test_a_row_that_is_not_what_it_must_be_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises((ValueError, TypeError), match=problem):
        of_rows(attack("pgd", "0.1", 40, "0.01", 0.6, 360) | change)


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
