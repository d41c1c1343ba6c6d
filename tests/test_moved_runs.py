"""A run's folder may be called anything; what is in use is refused; names stay in their folder."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from advdpnp import api
from advdpnp.experiments import experiment
from advdpnp.lock import only_process
from advdpnp.report.run_folders import run_folders
from advdpnp.result_files import ResultFiles
from advdpnp.results import result_name
from advdpnp.runs import Run, list_runs
from commands import call

SETTINGS = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=40", "recipe.attack.steps=1")


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    run = api.train(experiment("digits/tiny/at", settings=SETTINGS), out, device="cpu")
    api.evaluate(run.folder, ["fgsm"], suite_name="look", limit=20, device="cpu")
    return run.folder.rename(out / "my best network")


COMMANDS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "evaluate": lambda run, out: ("evaluate", run, "--suite", "clean", "--limit", 8),
    "ood": lambda run, out: ("ood", run, "--against", "uniform-noise", "--limit", 8),
    "compare": lambda run, out: ("compare", run, run, "--suite", "look"),
    "report": lambda run, out: ("report", run, "--out", out),
    "report of the folder above": lambda run, out: ("report", run.parent, "--out", out),
    "export": lambda run, out: ("export", run, "--out", out, "--images", 8),
    "illustrate": lambda run, out: ("illustrate", run, "--attack", "fgsm", "--limit", 8),
    "watch": lambda run, out: ("watch", run.parent, "--once"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_run_is_found_whatever_its_folder_is_called(
    command: Callable[[Path, Path], tuple[object, ...]],
    renamed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(*map(str, command(renamed, tmp_path / "out"))) == 0, capsys.readouterr().err


def test_an_export_and_the_configuration_of_another_program_are_no_runs(renamed: Path, tmp_path: Path) -> None:
    shutil.copytree(renamed, tmp_path / "a")
    api.export(renamed, tmp_path / "exported", images=8)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    assert list_runs(tmp_path) == [tmp_path / "a"]
    (tmp_path / "a" / "config.json").unlink()
    assert run_folders([tmp_path]) == [tmp_path / "a"]


@contextmanager
def held(path: Path) -> Iterator[None]:
    with only_process(path, "it"):
        yield


LOCKS: dict[str, tuple[str, Callable[[Path, Path], tuple[object, ...]]]] = {
    "audit": ("eval/audit.lock", lambda run, out: ("audit", run, "--limit", 8)),
    "ood": ("eval/ood/ood.lock", lambda run, out: ("ood", run, "--against", "uniform-noise", "--limit", 8)),
    "export": ("out/.lock", lambda run, out: ("export", run, "--out", run / "out", "--images", 8)),
    "report": ("page/.lock", lambda run, out: ("report", run, "--out", run / "page")),
}


@pytest.mark.parametrize(("lock", "command"), LOCKS.values(), ids=LOCKS)
def test_what_another_process_writes_is_refused_with_its_number(
    lock: str,
    command: Callable[[Path, Path], tuple[object, ...]],
    renamed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = Path(shutil.copytree(renamed, tmp_path / "run"))
    with held(run / lock):
        assert call(*map(str, command(run, tmp_path))) == 2
        assert " is in use by process " in capsys.readouterr().err
    (run / lock).parent.mkdir(exist_ok=True)
    # Of a process that was killed: nobody holds it.
    (run / lock).write_text('{"process": 1, "host": "gone"}')
    assert call(*map(str, command(run, tmp_path))) == 0


@pytest.mark.parametrize("name", ["../../x", "a/b", "a\\b", "..", "a\x00b", "x" * 201, "a b", ""])
def test_names_of_results_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the name of a result must be letters") as error:
        ResultFiles(Run(tmp_path), name)
    assert "\n" not in str(error.value)


def test_the_name_of_another_data_set_stays_in_its_folder() -> None:
    assert result_name("quick", "cifar10") == "quick@cifar10"
    assert result_name("quick", "../../../etc/x") == "quick@etc-x"


def test_a_configuration_with_a_path_for_a_tag_is_refused_by_every_command(
    renamed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(renamed, tmp_path / "run"))
    config = json.loads((run / "config.json").read_text())
    del config["sha256"]
    (run / "config.json").write_text(json.dumps(config | {"tag": "x/../../../../../../escaped"}))
    before = sorted(tmp_path.rglob("*"))
    for command in (("evaluate", run), ("export", run, "--out", tmp_path / "out"), ("audit", run)):
        assert call(*map(str, command)) == 2
        assert "--name must be letters" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
