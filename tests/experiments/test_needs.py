"""HAT's helper is an experiment of its own, which training finds, continues or runs first, and says so."""

import hashlib
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

import warm
from advdpnp import api
from advdpnp.experiments import experiment
from advdpnp.progress import Lines
from advdpnp.runs import Run, read_json
from training.small import QUICK, StopAt, small_experiment

STEPS_OF_THE_HELPER = 6


class Notes(StopAt):
    """Keeps what it is told; stops after some steps, as an impatient person would."""

    def __init__(self, steps: int = 10**9) -> None:
        super().__init__(steps)
        self.notes: list[str] = []

    def on_note(self, text: str) -> None:
        self.notes.append(text)


def runs_in(out: Path) -> tuple[Run, Run]:
    return Run(out / "digits/tiny/st+helper/seed-0"), Run(out / "digits/tiny/hat/seed-0")


def train(out: Path, resume: bool = False, steps: int = 10**9) -> list[str]:
    """What the callback is told; the training is broken off after `steps`."""
    callback = Notes(steps)
    try:
        api.train(small_experiment("hat"), out, device="cpu", resume=resume, callback=callback, checkpoint_seconds=0)
    except KeyboardInterrupt:
        callback.notes.append("stopped")
    return callback.notes


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Helper and HAT, trained without a break."""
    out = tmp_path_factory.mktemp("whole")
    train(out)
    return out


def weights_file(run: Run) -> bytes:
    return run.weights_path("last").read_bytes()


def test_the_helper_is_the_standard_training_of_the_same_experiment() -> None:
    settings = ["recipe.weight_perturbation.gamma=0.01", "recipe.epochs=7"]
    wanted = experiment("cifar10/resnet8/hat", seed=5, tag="x", settings=settings)
    assert wanted.needs is not None
    assert wanted.needs.folder(Path("runs")) == Path("runs/cifar10/resnet8/st+helper-x/seed-5")
    assert wanted.needs.defense.name == "st" and wanted.needs.needs is None
    assert wanted.needs.recipe.weight_perturbation.gamma == 0 and wanted.needs.recipe.epochs == 7
    assert experiment("cifar10/resnet8/trades").needs is None


@pytest.mark.parametrize("recipe", ["paper", "default"])
def test_methods_that_attack_from_other_starts_share_a_helper(recipe: str) -> None:
    first, second = (experiment(f"cifar10/resnet8/{name}", recipe) for name in ("hat", "adv-dpnp-hat"))
    assert (first.recipe.attack.start, second.recipe.attack.start) == ("normal", "uniform")
    assert first.needs is not None and first.needs == second.needs
    # As HAT's was stored before.
    assert first.needs.recipe.attack.start == "normal"


def test_the_helper_is_trained_first_and_its_weights_are_in_the_network(tmp_path: Path) -> None:
    helper, run = runs_in(tmp_path)
    first, then = (note for note in train(tmp_path) if note.startswith("helper: "))
    assert first == f"helper: {helper.folder} is trained first"
    assert then.startswith("helper: finished after ") and then.endswith(f"now {run.folder}")
    stored, held = helper.read_weights("last")[0], run.read_weights("last")[0]
    assert all(torch.equal(held[f"helper.network.{name}"], value) for name, value in stored.items())
    assert not torch.equal(held["head.linear.weight"], stored["head.linear.weight"])
    assert run.config()["needs"] == {
        "defense": "st",
        "folder": "digits/tiny/st+helper/seed-0",
        "weights_sha256": hashlib.sha256(weights_file(helper)).hexdigest(),
    }
    assert "needs" not in helper.config()


def test_a_finished_helper_is_used_as_it_is(whole: Path, tmp_path: Path) -> None:
    helper, run = runs_in(tmp_path)
    shutil.copytree(runs_in(whole)[0].folder, helper.folder)
    before = {path: path.stat().st_mtime_ns for path in helper.folder.rglob("*")}
    assert train(tmp_path)[0] == f"helper: {helper.folder} is there"
    assert {path: path.stat().st_mtime_ns for path in helper.folder.rglob("*")} == before
    assert weights_file(run) == weights_file(runs_in(whole)[1])


@pytest.mark.parametrize("steps", [2, STEPS_OF_THE_HELPER - 1, STEPS_OF_THE_HELPER, STEPS_OF_THE_HELPER + 4])
def test_a_break_at_any_point_of_helper_or_run_costs_no_bit(steps: int, whole: Path, tmp_path: Path) -> None:
    helper, run = runs_in(tmp_path)
    assert train(tmp_path, steps=steps)[-1] == "stopped"
    in_helper = steps <= STEPS_OF_THE_HELPER - 1
    assert helper.weights_path("last").exists() != in_helper and (run.folder / "config.json").exists() != in_helper
    first = train(tmp_path, resume=True)[0]
    assert first == f"helper: {helper.folder} is {'continued first' if in_helper else 'there'}"
    for broken, unbroken in zip((helper, run), runs_in(whole), strict=True):
        assert weights_file(broken) == weights_file(unbroken)
    assert read_json(run.folder / "config.json") == read_json(runs_in(whole)[1].folder / "config.json")


def test_a_helper_broken_off_is_continued_without_resume_too(tmp_path: Path) -> None:
    train(tmp_path, steps=2)
    assert "continued first" in train(tmp_path)[0]


def test_a_stored_state_needs_no_helper_run(whole: Path, tmp_path: Path) -> None:
    helper, run = runs_in(tmp_path)
    train(tmp_path, steps=STEPS_OF_THE_HELPER + 4)
    shutil.rmtree(helper.folder)
    assert train(tmp_path, resume=True)[0] == "helper: its weights are in the stored state"
    assert not helper.folder.exists()
    assert weights_file(run) == weights_file(runs_in(whole)[1])


def test_another_helper_is_noticed(tmp_path: Path) -> None:
    helper, _ = runs_in(tmp_path)
    train(tmp_path, steps=STEPS_OF_THE_HELPER + 1)
    weights = {name: value + 1 for name, value in helper.read_weights("last")[0].items()}
    helper.write_weights("last", weights, 2)
    with pytest.raises(ValueError, match=r"another configuration \(needs\.weights_sha256: \w+, not \w+\)"):
        train(tmp_path, resume=True)


def test_a_helper_of_another_recipe_is_refused_and_named(tmp_path: Path) -> None:
    train(tmp_path, steps=1)
    wanted = experiment("digits/tiny/hat", settings=[*QUICK, "recipe.lr=0.05"])
    with pytest.raises(ValueError, match=r"st\+helper/seed-0 holds a run of another configuration \(recipe\.lr: 0\.1"):
        api.train(wanted, tmp_path, device="cpu")


def test_a_run_that_exists_is_refused_without_resume_and_stays_as_it_is_with_it(whole: Path) -> None:
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="add --resume"):
        train(whole)
    train(whole, resume=True)
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


def test_a_classifier_loads_without_its_helpers_run(whole: Path, tmp_path: Path) -> None:
    run = runs_in(whole)[1]
    shutil.copytree(run.folder, tmp_path / "alone")
    model = api.load(tmp_path / "alone", device="cpu")
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(model(x), api.load(run.folder, device="cpu")(x)) and not model.training


def test_helper_and_run_each_have_a_forecast(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [*QUICK, "recipe.batch_size=4"]
    api.train(experiment("digits/tiny/hat", settings=settings), tmp_path, device="cpu", callback=Lines())
    assert capsys.readouterr().err.count(" steps of ") == 2


@pytest.mark.slow
def test_sigkill_in_the_helper_and_in_the_run_then_resume_ends_with_identical_weights(tmp_path: Path) -> None:
    def start(out: Path, *options: str) -> warm.Process:
        fields = [option for setting in (*QUICK, "recipe.batch_size=8") for option in ("--set", setting)]
        command = ["-m", "advdpnp", "train", "digits/tiny/hat", "--threads", "1", *fields]
        return warm.start([*command, "--checkpoint-seconds", "0", "--out", str(out), *options])

    assert start(tmp_path / "whole").wait() == 0
    process = start(tmp_path / "killed")
    for run in runs_in(tmp_path / "killed"):
        deadline = time.monotonic() + 120
        while not run.state_path.exists() and time.monotonic() < deadline:
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.001)
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        process = start(tmp_path / "killed", "--resume")
    assert process.wait() == 0
    for killed, unbroken in zip(runs_in(tmp_path / "killed"), runs_in(tmp_path / "whole"), strict=True):
        assert weights_file(killed) == weights_file(unbroken)
