"""The command line as a person uses it: exit status, one clear line, nothing lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import advdpnp
from advdpnp import cli
from advdpnp.runs import read_json

QUICK = ["--set", "recipe.epochs=1", "--set", "recipe.train_images=64", "--set", "recipe.holdout=40",
         "--set", "recipe.attack.steps=1", "--threads", "1"]  # fmt: skip


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert call(monkeypatch, "train", "digits/tiny/adv-dpnp", "--out", str(tmp_path / "runs"), *QUICK) == 0
    return tmp_path / "runs/digits/tiny/adv-dpnp/seed-0"


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an error, without Python's traceback."""
    text = capsys.readouterr().err.strip()
    lines = [line for line in text.splitlines() if line.startswith("advdpnp: ")]
    assert len(lines) == 1 and "Traceback" not in text
    return lines[0]


def test_train_evaluate_and_report(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {p.name for p in trained.iterdir()} == {"config.json", "environment.json", "train.jsonl", "checkpoints"}
    assert call(monkeypatch, "evaluate", str(trained), "--limit", "50", "--checkpoint", "best") == 0
    assert "worst case" in capsys.readouterr().out
    result = read_json(trained / "eval/quick.json")
    assert result["n"] == 50 and result["checkpoint"] == "best" and len(result["attacks"]) == 4
    assert sorted(p.name for p in (trained / "eval").iterdir()) == ["centers.npz", "quick.json"]
    assert call(monkeypatch, "report", str(tmp_path / "runs"), "--out", str(tmp_path / "page")) == 0
    assert (tmp_path / "page/index.html").is_file()


def test_a_command_that_ends_with_a_path_says_what_may_come_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, page = tmp_path / "runs/digits/tiny/at/seed-0", tmp_path / "page"
    assert call(monkeypatch, "train", "digits/tiny/at", "--out", str(tmp_path / "runs"), *QUICK) == 0
    told = capsys.readouterr()
    assert told.out == f"{trained}\n"
    assert told.err.splitlines()[-3:] == ["next:", f"  advdpnp evaluate {trained}", f"  advdpnp report {trained}"]
    for line in told.err.splitlines()[-2:]:
        arguments = line.split()[1:]
        more = (
            ["--limit", "20", "--suite", "clean"] if arguments[0] == "evaluate" else ["--out", str(tmp_path / "page")]
        )
        assert call(monkeypatch, *arguments, *more) == 0
    told = capsys.readouterr()
    assert told.out.endswith(f"{page / 'index.html'}\n")
    assert told.err.splitlines()[-2:] == ["next:", f"  open {page / 'index.html'} in a browser"]
    assert call(monkeypatch, "report", str(trained), "--out", str(page), "--json") == 0
    assert "next" not in capsys.readouterr().err


def test_a_folder_that_holds_runs_is_answered_with_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "runs/digits/tiny/at/seed-0"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    for folder in (tmp_path / "runs", run.parent):
        for command in (["evaluate", str(folder)], ["predict", str(folder), "a.png"]):
            assert call(monkeypatch, *command) == 2
            assert refused(capsys).endswith(f"it holds runs. Give one of them, such as {run}")


def test_show_takes_what_train_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (number, 0, 0)).save(path)
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    arguments = ["--data", f"folder:{tmp_path / 'photos'}", "--model", "tiny", "--defense", "at", "--image-size", "8"]
    epoch = ["--set", "recipe.epochs=1", "--set", "recipe.holdout=0"]
    assert call(monkeypatch, "show", *arguments, *epoch, "--json") == 0
    config = json.loads(capsys.readouterr().out)
    out = str(tmp_path / "runs")
    assert call(monkeypatch, "train", *arguments, *epoch, "--set", "recipe.attack.steps=1", "--out", out) == 0
    trained = read_json(tmp_path / "runs/folder-photos/tiny/at/seed-0/config.json")
    trained["recipe"]["attack"]["steps"] = config["recipe"]["attack"]["steps"]
    assert trained == config


def test_python_runs_the_package_as_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "advdpnp", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"advdpnp {advdpnp.__version__}\n"


def test_compare_tests_two_runs_on_the_same_images(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(trained.parents[3])
    assert call(monkeypatch, "train", "digits/tiny/adv-dpnp", "--seed", "1", "--out", out, *QUICK) == 0
    other = trained.with_name("seed-1")
    for run in (trained, other):
        assert call(monkeypatch, "evaluate", str(run), "--suite", "pgd20", "--limit", "50") == 0
    capsys.readouterr()
    assert call(monkeypatch, "compare", str(trained), str(other), "--suite", "pgd20") == 0
    assert "only first" in capsys.readouterr().out
    assert call(monkeypatch, "compare", str(trained), str(other)) == 2
    assert "quick.json" in refused(capsys)


def test_tensorboard_gets_every_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = tmp_path / "tb"
    arguments = ["train", "digits/tiny/at", "--out", str(tmp_path), "--tensorboard", str(board), *QUICK]
    assert call(monkeypatch, *arguments) == 0
    assert list(board.iterdir())


@pytest.mark.parametrize("kind", ["", "defenses", "attacks", "suites", "data", "models", "metrics", "recipes"])
def test_list_prints_names(kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "list", *([kind] if kind else [])) == 0
    assert capsys.readouterr().out.strip()


def test_list_says_what_each_name_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(monkeypatch, "list", "--json") == 0
    tables = json.loads(capsys.readouterr().out)
    for kind in ("defenses", "attacks", "suites", "recipes"):
        for name, text in tables[kind].items():
            # A whole sentence, that points to no code.
            assert text and not text.rstrip(".").endswith((",", " and", ":", ";")) and "`" not in text, name
    assert "Adv-DPNP paper" in tables["suites"]["text"] and "FSR (Kim et al. 2023)" in tables["suites"]["fsr"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["train", "digits/tiny/advdpnp"], "nearest: adv-dpnp"),
        (["train", "digits/tiny/at", "--set", "recipe.attack.eps=8"], "Did you mean 8 / 255?"),
        (["train", "digits/tiny/at", "--config", "nowhere.yaml"], "no configuration file"),
        (["train", "cifar10/resnet8/at", "--data-root", "nowhere"], "--data-root"),
        (["train", "digits/tiny/at", "--device", "cuda"], "--device cpu"),
        (["evaluate", "nowhere"], "is no run"),
        (["report", "nowhere"], "nowhere is not there"),
        (["train", "adv-dpnp"], "a defense alone: give all three, for example cifar10/resnet18/adv-dpnp"),
        (["train", "mnist"], "a data set alone: give all three, for example mnist/lenets++/adv-dpnp"),
        (["show", "digits/at"], "a data set and a defense alone: give all three, for example digits/tiny/at"),
        (["train", "wrn-28-10/cifar10"], "for example cifar10/wrn-28-10/adv-dpnp"),
        (["train", "nothing"], "got 'nothing': give all three, for example cifar10/resnet18/adv-dpnp"),
        (["train", "photos"], "give its images as --data folder:photos"),
        (["train", "--data", "photos"], "give folder:photos"),
        (["show", "photos/tiny/at"], "give folder:photos"),
        (["report", "photos"], "photos holds no run"),
        (["train", "--data", "folder:"], "as in folder:photos; got none"),
        (["list", "defences"], "nearest: defenses"),
        (["data", "check", "cifar"], "Did you mean cifar10"),
        (["data", "check", "folder:photos"], "images of your own, which have no published sums"),
        (["data", "download", "folder:photos"], "advdpnp data describe folder:photos"),
    ],
)
def test_bad_input_is_one_clear_line_and_status_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    if "cuda" in arguments:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert call(monkeypatch, *arguments) == 2
    assert message in refused(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_an_existing_run_is_not_overwritten(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    out = str(trained.parents[3])
    assert call(monkeypatch, "train", "digits/tiny/adv-dpnp", "--out", out, *QUICK) == 2
    assert "add --resume" in refused(capsys)
    for resume in ([], ["--resume"]):
        changed = [*QUICK, "--set", "defense.alpha=20", *resume]
        assert call(monkeypatch, "train", "digits/tiny/adv-dpnp", "--out", out, *changed) == 2
        assert "defense.alpha: 40.0, not 20.0" in refused(capsys)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before


def test_unknown_suites_limits_and_checkpoints_are_refused(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, message in (
        (["--suite", "quik"], "nearest: quick"),
        (["--limit", "99999"], "from 1 to 360"),
        (["--checkpoint", "first"], "last or best"),
    ):
        assert call(monkeypatch, "evaluate", str(trained), *options) == 2
        assert message in refused(capsys)
    assert not (trained / "eval").exists()


def test_a_full_disk_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert call(monkeypatch, "train", "digits/tiny/at", "--out", str(tmp_path / "runs"), *QUICK) == 2
    assert "no space left to write" in refused(capsys)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["advdpnp", "evaluate", "nowhere", "--debug"])
    with pytest.raises(FileNotFoundError):
        cli.main()


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, advdpnp.cli; print([m for m in ('torch', 'numpy', 'matplotlib', 'sklearn') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_public_names_exist() -> None:
    import advdpnp

    assert all(getattr(advdpnp, name) is not None for name in advdpnp.__all__)
    with pytest.raises(AttributeError):
        _ = advdpnp.nothing
