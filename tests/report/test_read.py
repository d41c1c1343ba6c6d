import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from advdpnp.attack_words import attack_name
from advdpnp.report.read import read_run, read_runs
from advdpnp.results import AttackKey

MakeRun = Callable[..., Path]


def test_a_run_is_read_whole(make_run: MakeRun) -> None:
    run = read_run(make_run("adv-dpnp", seed=3, everything=True))
    assert (run.data, run.backbone, run.defense, run.seed, run.recipe) == ("digits", "tiny", "adv-dpnp", 3, "default")
    assert run.name == "Adv-DPNP, seed 3" and run.place == "digits/tiny"
    assert [line["epoch"] for line in run.epochs] == [1, 2, 3, 4, 5]
    (suite,) = run.suites
    assert suite.name == "demo" and suite.seconds == 4.5 and suite.clean.value == 0.9
    assert [accuracy.value for accuracy in suite.attacks.values()] == [0.7, 0.6, 0.5]
    assert run.curve is not None and len(run.curve.attacks) == 4
    assert run.samples is not None and run.samples.clean.shape == (6, 1, 8, 8)
    assert run.embedding is not None and run.embedding.centers.shape == (10, 2)


def test_what_was_not_measured_is_empty(make_run: MakeRun) -> None:
    run = read_run(make_run(suite=None))
    assert (run.environment, run.epochs, run.suites) == ({}, [], [])
    assert run.curve is run.samples is run.embedding is None


def test_runs_come_in_the_order_of_tables_whatever_the_order_of_folders(make_run: MakeRun) -> None:
    folders = [make_run(name, seed=seed) for name, seed in [("trades", 0), ("adv-dpnp", 0), ("at", 1), ("at", 0)]]
    names = [run.name for run in read_runs(folders)]
    assert names == ["AT, seed 0", "AT, seed 1", "TRADES, seed 0", "Adv-DPNP, seed 0"]
    assert [run.name for run in read_runs(folders[::-1])] == names


@pytest.mark.parametrize(
    ("defense", "tag", "method"),
    [
        ("st", "", "ST"),
        ("dpnp", "", "DPNP"),
        ("adv-dpnp", "", "Adv-DPNP"),
        ("adv-dpnp", "literal", "Adv-DPNP (Eq. 3 as printed)"),
        ("adv-dpnp-literal", "", "Adv-DPNP (Eq. 3 as printed)"),
        ("adv-dpnp", "wide", "Adv-DPNP +wide"),
        ("awp", "", "AWP"),
    ],
)
def test_methods_have_the_names_that_people_use(make_run: MakeRun, defense: str, tag: str, method: str) -> None:
    assert read_run(make_run(defense, tag=tag)).method == method


@pytest.mark.parametrize(
    ("key", "label"),
    [
        (AttackKey("fgsm", "linf", "8/255", 1, "8/255", 1, False), "FGSM"),
        (AttackKey("pgd", "l2", "128/255", 40, "16/255", 1, True), "PGD-40"),
        (AttackKey("cw", "linf", "8/255", 30, "0.8/255", 1, False), "C&W-30"),
        (AttackKey("autoattack", "linf", "8/255", None, None, 1, True), "AutoAttack"),
    ],
)
def test_attacks_have_the_names_that_people_use(key: AttackKey, label: str) -> None:
    assert key.label == label


def test_an_attack_in_words_says_norm_radius_step_and_start() -> None:
    key = AttackKey("pgd", "l2", "128/255", 20, "16/255", 5, True)
    assert key.details == "PGD-20: ℓ2, ε = 128/255, step 16/255, random start, 5 restarts"


def test_an_attack_made_of_searches_names_them_and_no_start() -> None:
    standard, quick = (
        AttackKey(name, "linf", "8/255", None, None, 1, True).details for name in ("autoattack", "autoattack-quick")
    )
    assert standard == "AutoAttack: ℓ∞, ε = 8/255, APGD-CE, APGD-T, FAB-T and Square, with the authors' budgets"
    assert quick.startswith("AutoAttack (quick tier): ") and "not AutoAttack, under which accuracy is at most" in quick


def test_attacks_that_differ_in_one_setting_are_two_columns(make_run: MakeRun) -> None:
    folder = make_run(attacks=(("apgd-t", "0.1", 100, None),) * 3, robust=(0.5, 0.6, 0.7))
    path = folder / "eval/demo.json"
    stored = json.loads(path.read_text())
    for row, settings in zip(stored["attacks"], ({}, {"targets": 3}, {"multi_eps": True}), strict=True):
        row |= settings
    path.write_text(json.dumps(stored))
    (suite,) = read_run(folder).suites
    assert [accuracy.value for accuracy in suite.attacks.values()] == [0.5, 0.6, 0.7]
    ends = [key.details.rpartition("starts at the image")[2] for key in suite.attacks]
    assert ends == ["", ", 3 targets", ", radii 3ε, 2ε and ε"]


def test_attack_texts_of_stored_arrays_become_names() -> None:
    assert attack_name("pgd-40 linf 8/255") == "PGD-40, ℓ∞ 8/255"
    assert attack_name("pgd") == "PGD"


def test_a_last_line_that_a_kill_cut_short_is_left_out(make_run: MakeRun) -> None:
    folder = make_run(everything=True)
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"epoch": 6, "los')
    assert len(read_run(folder).epochs) == 5


def test_an_unfinished_evaluation_is_left_out(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "eval" / "demo.partial.json").write_text('{"protocol": {}}')
    assert [suite.name for suite in read_run(folder).suites] == ["demo"]


@pytest.mark.parametrize("copy", ["Copy of demo", "demo (1)", "zz"])
def test_a_copy_of_a_result_is_no_further_seed(make_run: MakeRun, copy: str) -> None:
    folder = make_run("at") / "eval"
    changed = json.loads((folder / "demo.json").read_text()) | {"clean_accuracy": 0.1}
    (folder / f"{copy}.json").write_text(json.dumps(changed))
    with pytest.warns(UserWarning, match=f"{re.escape(copy)}.json is left out: suite demo is read from demo.json"):
        suites = read_run(folder.parent).suites
    assert [suite.clean.value for suite in suites] == [0.9]


def test_a_curve_on_another_test_set_is_a_table_and_no_curve_of_the_run(make_run: MakeRun) -> None:
    folder = make_run("at", suite="curve") / "eval"
    (folder / "curve.json").rename(folder / "curve@digits-c.json")
    stored = json.loads((folder / "curve@digits-c.json").read_text()) | {"data": "digits-c"}
    (folder / "curve@digits-c.json").write_text(json.dumps(stored))
    run = read_run(folder.parent)
    assert run.curve is None and [suite.data for suite in run.suites] == ["digits-c"]


def test_no_runs_is_an_error_with_a_cure() -> None:
    with pytest.raises(ValueError, match="at least one run folder; got none"):
        read_runs([])


def test_a_folder_without_run_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not a run folder: expected config\.json"):
        read_run(tmp_path)


def test_the_same_run_twice_is_an_error(make_run: MakeRun) -> None:
    folder = make_run()
    with pytest.raises(ValueError, match="same method, tag and seed"):
        read_runs([folder, folder])


@pytest.mark.parametrize(
    "name", ["config.json", "environment.json", "eval/demo.json", "eval/curve.json", "eval/samples.npz"]
)
def test_a_damaged_file_is_named_in_one_line_with_a_cure(make_run: MakeRun, name: str) -> None:
    path = make_run(everything=True) / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match="is damaged or not a result of advdpnp") as caught:
        read_run(path.parents[1] if "eval" in name else path.parent)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message and len(message.rpartition(": ")[2]) > 10


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"n": None, "clean_interval95": None}, "damaged"),
        ({"attacks": [{"name": "pgd", "seconds": 1.0}]}, "no 'norm'"),
    ],
)
def test_a_result_that_does_not_fit_is_refused(make_run: MakeRun, change: dict[str, object], problem: str) -> None:
    path = make_run() / "eval" / "demo.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=problem):
        read_run(path.parents[1])


def test_a_damaged_line_of_the_training_log_is_an_error(make_run: MakeRun) -> None:
    path = make_run(everything=True) / "train.jsonl"
    path.write_text("{broken}\n" + path.read_text())
    with pytest.raises(ValueError, match=r"train\.jsonl is damaged"):
        read_run(path.parent)
