import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from advdpnp.attack_words import attack_name
from advdpnp.report.read import by_method, grouped, read_all, read_run, read_runs
from advdpnp.results import AttackKey
from report.conftest import make_run_under, wilson

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
    changed = json.loads((folder / "demo.json").read_text())
    changed |= {"clean_accuracy": 0.95, "clean_interval95": wilson(0.95, 360)}
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
    with pytest.raises(FileNotFoundError, match=r"holds no run: expected config\.json"):
        read_run(tmp_path)


def test_the_same_folder_twice_counts_once(make_run: MakeRun) -> None:
    folder = make_run()
    assert len(read_runs([folder, folder, folder / "eval" / ".."])) == 1


def test_a_copy_of_a_run_is_left_out_and_named(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(everything=True)
    copy = Path(shutil.copytree(folder, tmp_path / "again" / "seed-0"))
    found = read_all([folder, copy])
    # Of the two, the first in the order of the call.
    assert [run.folder for run in found.runs] == [folder]
    assert [one.reason for one in found.unread] == [f"{copy} is a copy of {folder}: give one of them"]


def test_runs_of_one_method_and_seed_with_other_results_are_told_apart_by_where_they_lie(tmp_path: Path) -> None:
    first, second = (make_run_under(tmp_path / name) for name in ("here", "there"))
    folders = [first("at", seed=0), first("at", seed=1), second("at", seed=0, clean=0.8), first("st")]
    runs = read_runs(folders)
    methods = ["ST", "AT [here/runs]", "AT [here/runs]", "AT [there/runs]"]
    # What is shared at the end of the paths, digits/tiny/at, says nothing.
    assert [run.method for run in runs] == [name.replace("/runs", "") for name in methods]
    assert [run.seed for run in runs] == [0, 0, 1, 0]
    # They are two methods: no mean is made over them.
    assert [len(seeds) for seeds in by_method(grouped(runs)[0])] == [1, 2, 1]


FILES = {
    "environment.json": lambda run: run.environment == {},
    "eval/demo.json": lambda run: run.suites == [],
    "eval/curve.json": lambda run: run.curves == [],
    "eval/samples.npz": lambda run: run.samples is None,
    "eval/embedding.npz": lambda run: run.embedding is None,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "bytes", "folder", "loop"])
def test_a_damaged_file_alone_is_left_out_and_named_with_a_cure(make_run: MakeRun, name: str, damage: str) -> None:
    folder = make_run(everything=True)
    path, whole = folder / name, (folder / name).read_bytes()
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "empty":
            path.write_bytes(b"")
        case "bytes":
            path.write_bytes(bytes(range(256)) * 4)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
    run = read_run(folder)
    assert FILES[name](run) and [other for other, gone in FILES.items() if gone(run)] == [name]
    (unread,) = run.unread
    assert unread.path == path and unread.reason.startswith(str(path)) and "\n" not in unread.reason
    assert len(unread.reason.rpartition(": ")[2]) > 10


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"schema": 1}', b"\xff\xfe", b"[" * 100_000])
def test_a_run_without_a_configuration_is_named_among_others(make_run: MakeRun, content: bytes) -> None:
    folder, broken = make_run(), make_run("st")
    (broken / "config.json").write_bytes(content)
    found = read_all([folder, broken])
    assert [run.folder for run in found.runs] == [folder]
    (unread,) = found.unread
    assert unread.path == broken and f"{broken / 'config.json'} is damaged" in unread.reason
    with pytest.raises(ValueError, match=r"no run can be read: .*is damaged") as caught:
        read_all([broken])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"schema": 2}, "schema 2, this version reads 1: a later advdpnp wrote it"),
        ({"n": None, "clean_interval95": None}, "n is None"),
        ({"n": -360}, "n is -360"),
        ({"n": 10**30}, "n is 10000"),
        ({"attacks": [{"name": "pgd", "seconds": 1.0}]}, "no 'norm'"),
        ({"clean_accuracy": 1.01}, r"clean_accuracy is 1.01, not in \[0, 1\]"),
        ({"clean_accuracy": True}, "clean_accuracy is True"),
        ({"clean_interval95": [0.9, 0.8]}, "no pair of numbers"),
        ({"clean_interval95": [0.1, 0.2]}, "no pair of numbers in .* around 0.9"),
        ({"clean_interval95": [0.5] * 10_000}, r"is \[0.5, .{70,90}\.\.\., no pair"),
        ({"worst_case_accuracy": 0.89, "worst_case_interval95": [0.8, 0.95]}, "worst_case_accuracy is 0.89, above 0.5"),
        ({"chunk": 0}, "chunk is 0, not at least 1"),
        ({"epoch": -12}, "epoch is -12, not at least 0"),
        ({"clean_cross_entropy": -0.1}, "clean_cross_entropy is -0.1, not at least 0"),
        ({"environment": {"threads": -0.25}}, "environment.threads is -0.25"),
        ({"geometry": {"min_separation_degrees": 181.0}}, r"min_separation_degrees is 181.0, not in \[0, 180\]"),
        ({"geometry": {"adversarial": {"fdr_eq8": -2.0}}}, "adversarial.fdr_eq8 is -2.0, not at least 0"),
        ({"seeds": {"count": 2, "worst_case": {"mean": 7, "spread": 0}}}, "seeds.worst_case.mean is 7, not in"),
        # 90 % of 360 images are 324; these bits are 8, and 360.
        ({"clean_verdicts": "/w=="}, "clean_verdicts has 1 bytes, and the images of this result take 45"),
        ({"clean_verdicts": "/" * 60}, "clean_verdicts say that 360 of 360 images are right"),
        ({"clean_verdicts": "?"}, "clean_verdicts is no base64"),
        ({"suite": "x" * 10_000}, "suite is a text of 10,000 characters"),
        ({"environment": {"command": 3}}, "environment.command is 3"),
        ({"geometry": {"clean": {"afs": "x"}}}, "geometry.clean.afs is 'x'"),
        ({"corruptions": {"right": {}}}, "corruptions has no"),
        ({"warnings": [1]}, r"warnings\[0\] is 1"),
    ],
)
def test_a_result_that_does_not_fit_is_left_out(make_run: MakeRun, change: dict[str, object], problem: str) -> None:
    path = make_run() / "eval" / "demo.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    run = read_run(path.parents[1])
    assert run.suites == [] and re.search(problem, run.unread[0].reason)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_no_results(make_run: MakeRun, number: str) -> None:
    path = make_run() / "eval" / "demo.json"
    path.write_text(path.read_text().replace('"mean_cross_entropy": 1.0', f'"mean_cross_entropy": {number}'))
    run = read_run(path.parents[1])
    assert run.suites == [] and f"{number} is no number of JSON" in run.unread[0].reason


def test_damaged_lines_of_the_log_are_left_out_and_others_kept(make_run: MakeRun) -> None:
    path = make_run(everything=True) / "train.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{broken}", '{"epoch": 2}', *lines[2:]]) + "\n")
    run = read_run(path.parent)
    assert [line["epoch"] for line in run.epochs] == [1, 3, 4, 5]
    assert [one.reason for one in run.unread] == [
        f"{path} is damaged in lines 2, 3: restore it from a copy, or resume the training"
    ]


def test_lines_of_the_log_that_go_back_are_damage(make_run: MakeRun) -> None:
    path = make_run(everything=True) / "train.jsonl"
    path.write_text(path.read_text() * 2)
    run = read_run(path.parent)
    assert [line["epoch"] for line in run.epochs] == [1, 2, 3, 4, 5]
    assert f"{path} is damaged in lines 6, 7, 8, 9, 10: restore it" in run.unread[0].reason


def test_a_loss_that_is_not_finite_is_a_gap(make_run: MakeRun) -> None:
    path = make_run(everything=True) / "train.jsonl"
    lines = path.read_text().splitlines()
    lines[3] = re.sub(r'"dnp": [\d.]+', '"dnp": NaN', lines[3])
    path.write_text("\n".join(lines) + "\n")
    run = read_run(path.parent)
    assert [line["loss"]["dnp"] is None for line in run.epochs] == [False, False, False, True, False]
    assert "has numbers that are not finite in line 4" in run.unread[0].reason


def test_an_unfinished_evaluation_is_named_with_what_goes_on_with_it(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "eval" / "text@cifar10-c.seed-1.partial.json").write_text("{")
    (unread,) = read_run(folder).unread
    assert f"advdpnp evaluate {folder} --suite text --resume goes on with it" in unread.reason


def test_names_are_short_on_one_line_and_free_of_controls(make_run: MakeRun) -> None:
    folder = make_run()
    config = json.loads((folder / "config.json").read_text())
    # A right-to-left override, and a lone half of a surrogate pair.
    names = {"tag": "x" * 10_000, "backbone": "a\nb\u202ec\ud800", "data": "d" * 61}
    (folder / "config.json").write_text(json.dumps(config | names))
    run = read_run(folder)
    digests = [hashlib.sha256(text.encode()).hexdigest()[:8] for text in ("x" * 10_000, "d" * 61)]
    assert run.tag == f"{'x' * 40}... ({digests[0]})" and run.data == f"{'d' * 40}... ({digests[1]})"
    assert run.backbone == "a b\ufffdc\ufffd" and run.config["tag"] == "x" * 10_000
