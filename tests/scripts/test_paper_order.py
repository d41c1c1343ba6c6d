"""The order of methods beside the paper's: pairs, correlation and ablations worked out by hand, and the stored page."""

import base64
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import paper_order as script
from advdpnp.report.methods import METHODS
from ordering.ablations import level, variants
from ordering.metrics import ACCURACIES, CLEAN, GEOMETRY, METRICS, PGD20, Metric
from ordering.order import Contradiction, Order, order_of
from ordering.runs import lacking, read
from report.conftest import attack, change_json, evaluation, geometry, make_run_under, write_json

N = 64
PGD = ("pgd", "8/255", 20, "1/255")
AUTOATTACK = ("autoattack", "8/255", None, None)


def packed(right: Iterable[int]) -> str:
    images = {*right}
    bits = "".join("1" if image in images else "0" for image in range(N))
    return base64.b64encode(int(bits, 2).to_bytes(N // 8, "big")).decode()


def store(
    root: Path,
    method: str,
    suite: str,
    clean: Iterable[int] = (),
    attacked: Iterable[int] | None = None,
    seed: int = 0,
    described: tuple[object, ...] = PGD,
) -> Path:
    """A run of cifar10/resnet8 with one suite more, of which these images are right."""
    defense, _, tag = method.partition("+")
    make = make_run_under(root)
    folder = make(defense, data="cifar10", backbone="resnet8", tag=tag, seed=seed, recipe="paper", suite=None)
    clean = [*clean]
    rows = []
    if attacked is not None:
        right = [*attacked]
        row = attack(*described, accuracy=len(right) / N, n=N)  # type: ignore[arg-type]
        rows.append(row | {"verdicts": packed(right)})
    stored = evaluation(suite, "cifar10", N, len(clean) / N, rows) | {"clean_verdicts": packed(clean)}
    write_json(folder / "eval" / f"{suite}.json", stored)
    return folder


def order(root: Path, metric: Metric = CLEAN) -> Order:
    return order_of(metric, read(root / "runs"))


def test_pairs_and_tau_are_those_of_a_calculation_by_hand(tmp_path: Path) -> None:
    # The paper: Adv-DPNP 84.63, AT 83.78, TRADES 81.38, MART 79.60; ST, undefended, 94.39, is in no pair.
    for method, right in (("adv-dpnp", 40), ("at", 20), ("trades", 30), ("mart", 27), ("st", 10)):
        store(tmp_path, method, "clean", range(right))
    found = order(tmp_path)
    # All differences are of images that one has right alone: 20, 10, 13, 10, 7 and 3 of them; p of 3 is 2/8.
    assert (found.pairs, found.agree, found.open_) == (6, 3, 1)
    # In points: 10 and 7 of 64 images.
    assert found.contradictions == (
        Contradiction("at", "trades", pytest.approx(2.40), pytest.approx(-15.625)),
        Contradiction("at", "mart", pytest.approx(4.18), pytest.approx(-10.9375)),
    )
    # Four pairs in the same order, two in the other: (4 - 2) / 6.
    assert found.tau == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("of_at", "agrees"),
    [
        # Only Adv-DPNP has them right: 6, p = 2/64, and 5, p = 2/32, which is more than 0.05.
        ((range(24), range(24)), 1),
        ((range(24), range(25)), 0),
        # The other seed says the opposite as clearly.
        ((range(24), range(36)), 0),
        # A seed that only one of them has is not compared.
        ((range(24),), 1),
    ],
)
def test_every_seed_must_tell_the_same(of_at: tuple[range, ...], agrees: int, tmp_path: Path) -> None:
    for seed, right in enumerate(of_at):
        store(tmp_path, "at", "clean", right, seed=seed)
    for seed in (0, 1):
        store(tmp_path, "adv-dpnp", "clean", range(30), seed=seed)
    found = order(tmp_path)
    assert (found.agree, found.open_, found.contradictions) == (agrees, 1 - agrees, ())


@pytest.mark.parametrize(
    ("of_at", "told"), [((1.2, 1.3), "against"), ((1.2, 0.9), "open"), ((0.7, 0.8), "agree"), ((2.0,), "open")]
)
def test_geometry_is_told_where_all_seeds_lie_apart(of_at: tuple[float, ...], told: str, tmp_path: Path) -> None:
    metric = next(one for one in GEOMETRY if one.title == "MeanSep")
    # The paper: Adv-DPNP 95.32 above AT 73.85.
    for method, numbers in (("at", of_at), ("adv-dpnp", (1.0, 1.1))):
        for seed, number in enumerate(numbers):
            path = store(tmp_path, method, "text", range(8), range(4), seed=seed) / "eval" / "text.json"
            change_json(path, geometry=geometry(1.0) | {"mean_separation_degrees": 60 * number})
    found = order(tmp_path, metric)
    assert found.pairs == 1
    assert (found.agree, found.open_, len(found.contradictions)) == {
        "agree": (1, 0, 0), "open": (0, 1, 0), "against": (0, 0, 1)
    }[told]  # fmt: skip


def test_a_search_in_another_precision_counts_and_the_page_says_so(tmp_path: Path) -> None:
    for method, right in (("at", 20), ("adv-dpnp", 30)):
        path = store(tmp_path, method, "autoattack-bf16", range(40), range(right), described=AUTOATTACK)
        change_json(path / "eval" / "autoattack-bf16.json", search_precision="bf16")
    found = order(tmp_path, ACCURACIES[-1])
    assert [row.mean for row in found.rows] == [31.25, 46.875] and (found.agree, found.pairs) == (1, 1)
    text = script.page_of(tmp_path / "runs")
    assert "| AutoAttack | autoattack | 64, attacks searched in bf16 | 0 | 2 | 1 | 1 | 0 | 0 | 1.00 |" in text
    assert "| AT | here |  |  |  |  |  |  |  | 31.25 |" in text
    assert "| Adv-DPNP | here |  |  |  |  |  |  |  | **46.88** |" in text


def test_an_ablation_is_compared_with_the_whole_method_on_the_same_images(tmp_path: Path) -> None:
    store(tmp_path, "adv-dpnp", "text", range(40), range(20))
    # Another number of images, which is not that of the ablation.
    store(tmp_path, "adv-dpnp", "clean", range(64))
    store(tmp_path, "adv-dpnp+no-dnp", "pgd20", range(30), [*range(5, 20), 40, 41])
    store(tmp_path, "adv-dpnp+awp", "pgd20", range(64), range(64))
    found = variants(read(tmp_path / "runs"))
    assert [one.name for one in found] == ["adv-dpnp", "adv-dpnp-no-dnp"]
    clean, attacked = found[1].changes
    assert clean is not None and attacked is not None and clean.pair is not None and attacked.pair is not None
    # Clean 10 images fewer: p = 2/1024. Under attack 2 gained and 5 lost: p = 2 (1 + 7 + 21) / 128.
    assert clean.pair[:2] == (0, 10) and clean.points == -15.625 and clean.pair.p == 2 / 1024
    assert attacked.pair[:2] == (2, 5) and attacked.points == -4.6875 and attacked.pair.p == 58 / 128
    assert level(found) == 0.025
    row = next(line for line in script.page_of(tmp_path / "runs").splitlines() if "`adv-dpnp-no-dnp`" in line)
    assert row.endswith("| 0 | 46.88 | **−15.62** (0, 10; p = 0.002) | 26.56 | −4.69 (2, 5; p = 0.45) |")


def test_two_tables_print_the_same_number_of_a_method() -> None:
    for metric in METRICS:
        for data in ("cifar10", "cifar100"):
            for defense in METHODS:
                one_by_one = {
                    Metric(metric.title, metric.suite, (column,)).printed(data, defense) for column in metric.columns
                }
                assert len(one_by_one - {None}) <= 1
    assert PGD20.printed("cifar10", "adv-dpnp") == 53.68 and PGD20.printed("cifar10", "dio") == 52.59
    assert PGD20.printed("cifar10", "alp") is None


def test_what_of_the_sweep_is_not_there_is_named(tmp_path: Path) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(
        "data: cifar10\nbackbone: resnet8\nrecipe: paper\n"
        "experiments: [{methods: [at, trades], suites: [clean, {suite: text, limit: 64}]}]\n"
    )
    store(tmp_path, "at", "clean", range(20))
    found = lacking(sweep, tmp_path / "runs")
    assert found == {"cifar10/resnet8/trades/seed-0": ["train"], "cifar10/resnet8/at/seed-0": ["text"]}
    text = script.page_of(tmp_path / "runs", sweep)
    assert "- train: cifar10/resnet8/trades/seed-0\n- text: cifar10/resnet8/at/seed-0\n" in text
    store(tmp_path, "at", "text", range(20), range(10))
    store(tmp_path, "trades", "clean", range(20))
    store(tmp_path, "trades", "text", range(20), range(10))
    assert not lacking(sweep, tmp_path / "runs") and "Lacking" not in script.page_of(tmp_path / "runs", sweep)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: Path) -> int:
    folder, page = arguments
    monkeypatch.setattr(sys, "argv", ["paper_order.py", str(folder), "--out", str(page)])
    try:
        return script.main()
    except SystemExit as stop:
        return int(stop.code or 0)


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("gone", "expected a folder of runs; got {runs}, which is not there"),
        ("empty", "no run can be read: {runs} holds no run"),
        ("cut", "{runs}/cifar10/resnet8/at/seed-0/eval/clean.json "),
        ("digits", "expected runs on data that the paper has with resnet18; got digits in {runs}"),
        ("two", "{runs} must hold runs of one data set, network and recipe; got cifar10/resnet8/paper, digits/tiny"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_the_page_stays(
    damage: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, page = tmp_path / "runs", tmp_path / "page.md"
    page.write_text("as it was")
    if damage in ("cut", "two"):
        path = store(tmp_path, "at", "clean", range(20)) / "eval" / "clean.json"
        path.write_text(path.read_text()[:100] if damage == "cut" else path.read_text())
    if damage in ("digits", "two"):
        make_run_under(tmp_path)("at")
    if damage == "empty":
        runs.mkdir()
    assert call(monkeypatch, runs, page) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"paper_order.py: {problem.format(runs=runs)}") and told.count("\n") == 1
    assert page.read_text() == "as it was"


def test_the_same_runs_give_the_same_page_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, "at", "clean", range(20))
    assert call(monkeypatch, tmp_path / "runs", tmp_path / "page.md") == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == script.page_of(tmp_path / "runs")


def test_the_page_says_what_is_stored() -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page_of(script.RESULTS)
