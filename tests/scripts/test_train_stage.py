"""The stage that trains: engines follow each other from the checkpoint, time ends it in order, failures are told."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp.runs import Json, Run
from advdpnp.training import StopTraining
from advdpnp.training.finite_check import NonFiniteLossError
from gpu import ladder
from gpu import train as train_module
from gpu.context import Context
from gpu.gathered import arm_record, stored
from gpu.ladder import ladder_stage
from gpu.measure import measure_stage
from gpu.processes import AGAIN, DONE, FAILED
from gpu.scale import ARMS, REAL, TINY, Variant
from gpu.slot import Places
from gpu.train import Pace, arm_experiment, hand_over, train_stage


def context(folder: Path, name: str, seconds: float = 600.0, **options: Any) -> Context:
    return Context(name, Places(folder, folder / "out"), TINY, time.time() + seconds, options)


def training(folder: Path, engine: str = "folded", name: str = "train-at", epochs: int = 2, **more: Any) -> Context:
    options = {"arm": "at", "engine": engine, "batch": 128, "epochs": epochs, "benchmark": False, **more}
    return context(folder, name, **options)


def run_at(folder: Path) -> Run:
    return Run(arm_experiment(ARMS[0], TINY, 1, 128, "folded").folder(folder / "runs" / "at"))


@pytest.fixture
def stop_at_step_3(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """Raises what the list holds at step 3, once; 2 steps make an epoch."""
    errors: list[BaseException] = []
    real = Pace.on_step

    def on_step(pace: Pace, epoch: int, step: int, steps: int, epochs: int) -> None:
        real(pace, epoch, step, steps, epochs)
        if epoch * steps + step == 3 and errors:
            raise errors.pop()

    monkeypatch.setattr(Pace, "on_step", on_step)
    return errors


def test_an_arm_follows_the_protocol() -> None:
    for arm in ARMS:
        recipe = arm_experiment(arm, REAL, 12, 256, "step").recipe
        assert (recipe.name, recipe.precision, recipe.schedule, recipe.lr) == ("paper", "bf16", "onecycle", 0.2)
        assert (recipe.averaging.kind, recipe.averaging.decay) == ("ema", 0.995)
        assert (recipe.epochs, recipe.batch_size, recipe.attack.steps, recipe.train_images) == (12, 256, 10, 0)
    assert [getattr(arm_experiment(arm, REAL, 1, 128, "step").defense, "alignment", None) for arm in ARMS] == [
        None, "mean", "sum",
    ]  # fmt: skip
    assert len({arm_experiment(arm, REAL, 1, 128, "step").folder(Path()) for arm in ARMS}) == 3


def test_a_training_leaves_its_pace_and_its_run(tmp_path: Path) -> None:
    assert train_stage(training(tmp_path)) == DONE
    found = stored(tmp_path / "stages" / "train-at.json")
    assert len(found["epoch_seconds"]) == 2 and found["epochs_done"] == 2 and found["begins"] == "new"
    record = arm_record(tmp_path / "runs" / "at")
    assert record["trained"] and len(record["train"]) == 2 and record["folder"] == "digits/resnet8/at/seed-0"


@pytest.mark.parametrize(
    "error", [NonFiniteLossError("loss became NaN"), OSError("no space"), RuntimeError("capture failed")]
)
def test_another_engine_goes_on_from_the_checkpoint_of_one_that_failed(
    error: Exception, tmp_path: Path, stop_at_step_3: list[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "CHECKPOINT_SECONDS", 0.0)
    stop_at_step_3.append(error)
    assert train_stage(training(tmp_path, "eager")) == FAILED
    assert stored(tmp_path / "stages" / "train-at.json")["error"] == f"{type(error).__name__}: {error}"
    # Whoever calls may have planned anew: a run that goes on keeps its epochs.
    assert train_stage(training(tmp_path, "folded", "train-at.2", epochs=5)) == DONE
    found = stored(tmp_path / "stages" / "train-at.2.json")
    assert found["begins"] == "from epoch 2, step 0, of engine eager" and found["epochs"] == 2
    record = arm_record(tmp_path / "runs" / "at")
    assert record["trained"] and record["config"]["recipe"]["engine"] == "folded"
    # Both engines make the same steps, up to rounding.
    whole = tmp_path / "whole"
    assert train_stage(training(whole, "folded")) == DONE
    weights = [run_at(folder).read_weights("last")[0] for folder in (tmp_path, whole)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=1e-4)


def test_without_a_checkpoint_another_engine_begins_anew(tmp_path: Path, stop_at_step_3: list[BaseException]) -> None:
    stop_at_step_3.append(RuntimeError("capture failed"))
    assert train_stage(training(tmp_path, "eager")) == FAILED
    assert train_stage(training(tmp_path, "folded", "train-at.2", epochs=1)) == DONE
    found = stored(tmp_path / "stages" / "train-at.2.json")
    assert found["begins"] == "new, after engine eager left no state" and found["epochs"] == 1


def test_an_engine_that_a_machine_lacks_fails_at_once(tmp_path: Path) -> None:
    assert train_stage(training(tmp_path, "step")) == FAILED
    assert "needs a CUDA device" in stored(tmp_path / "stages" / "train-at.json")["error"]


def test_when_the_time_is_up_the_state_is_there_and_the_same_engine_goes_on(
    tmp_path: Path, stop_at_step_3: list[BaseException]
) -> None:
    stop_at_step_3.append(StopTraining())
    assert train_stage(training(tmp_path)) == AGAIN
    state = run_at(tmp_path).read_state()
    assert (state["epoch"], state["step"]) == (1, 1)
    assert train_stage(training(tmp_path, name="train-at.2")) == DONE
    assert stored(tmp_path / "stages" / "train-at.2.json")["begins"] == "resumed"
    assert train_stage(training(tmp_path / "whole")) == DONE
    pair = [run_at(folder).read_weights("last")[0] for folder in (tmp_path, tmp_path / "whole")]
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_a_stage_whose_deadline_is_over_stops_after_one_step(tmp_path: Path) -> None:
    late = training(tmp_path)
    late.deadline = time.time() - 1
    assert train_stage(late) == AGAIN
    assert run_at(tmp_path).read_state()["step"] == 1


def test_between_epochs_a_piece_stops_where_the_next_one_would_not_end(tmp_path: Path) -> None:
    late = training(tmp_path, epochs=3, whole_epochs=True)
    late.deadline = time.time() - 1
    assert train_stage(late) == AGAIN
    state = run_at(tmp_path).read_state()
    assert (state["epoch"], state["step"]) == (1, 0)


def test_rates_kept_on_a_device_become_numbers(tmp_path: Path, stop_at_step_3: list[BaseException]) -> None:
    stop_at_step_3.append(StopTraining())
    train_stage(training(tmp_path))
    run = run_at(tmp_path)
    state = run.read_state()
    for group in state["optimizer"]["param_groups"]:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    run.write_state(state)
    wanted = hand_over(run, "eager")
    assert wanted is not None and wanted.recipe.engine == "eager"
    assert all(type(group["lr"]) is float for group in run.read_state()["optimizer"]["param_groups"])


def test_a_damaged_state_is_no_checkpoint(tmp_path: Path, stop_at_step_3: list[BaseException]) -> None:
    stop_at_step_3.append(StopTraining())
    train_stage(training(tmp_path))
    run_at(tmp_path).state_path.write_bytes(b"torn")
    assert hand_over(run_at(tmp_path), "eager") is None


def test_an_evaluation_that_is_out_of_time_goes_on(tmp_path: Path) -> None:
    assert train_stage(training(tmp_path, epochs=1)) == DONE
    options = {"arm": "at", "suite": "text", "limit": 64, "precision": "fp32"}
    late = context(tmp_path, "measure-at", seconds=-1.0, **options)
    assert measure_stage(late) == AGAIN
    record = arm_record(tmp_path / "runs" / "at")
    assert record["eval"] == {} and list(record["partial"]) == ["text.partial"]
    assert measure_stage(context(tmp_path, "measure-at", **options)) == DONE
    record = arm_record(tmp_path / "runs" / "at")
    assert record["eval"]["text"]["n"] == 64 and record["partial"] == {}


def test_an_evaluation_of_nothing_is_told(tmp_path: Path) -> None:
    options = {"arm": "at", "suite": "text", "limit": 64, "precision": "fp32"}
    assert measure_stage(context(tmp_path, "measure-at", **options)) == FAILED
    assert "train the arm first" in stored(tmp_path / "stages" / "measure-at.json")["error"]


def rungs(*names: str) -> list[Json]:
    return [vars(Variant(name, 64)) for name in names]


def test_the_ladder_times_what_runs_and_tells_what_does_not(tmp_path: Path) -> None:
    assert ladder_stage(context(tmp_path, "ladder", rungs=rungs("folded", "step"))) == DONE
    found = stored(tmp_path / "stages" / "ladder.json")["rungs"]
    assert found["folded/64"]["finite"] and found["folded/64"]["seconds"] > 0 and len(found["folded/64"]["times"]) == 3
    assert "needs a CUDA device" in found["step/64"]["error"]


def test_a_second_ladder_leaves_out_what_the_first_has_begun(tmp_path: Path) -> None:
    first = context(tmp_path, "ladder", rungs=[])
    # As a process leaves it that died in its second variant.
    first.keep(rungs={"folded/64": {"seconds": 1.0, "begun": True}, "step/64": {"begun": True}})
    assert ladder_stage(context(tmp_path, "ladder.2", rungs=rungs("folded", "step", "eager"))) == DONE
    assert list(stored(tmp_path / "stages" / "ladder.2.json")["rungs"]) == ["eager/64"]


def test_a_rung_that_cannot_end_in_time_is_not_begun_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "variant_seconds", lambda variant, timed: 1e9 if variant.batch == 32 else 0.0)
    wanted = [vars(Variant("folded", 32)), *rungs("folded")]
    assert ladder_stage(context(tmp_path, "ladder", rungs=wanted)) == AGAIN
    found = stored(tmp_path / "stages" / "ladder.json")["rungs"]
    assert (
        "out of time: needs about 1000000000 s" in found["folded/32"]["skipped"] and "begun" not in found["folded/32"]
    )
    assert found["folded/64"]["finite"]


def test_a_ladder_out_of_time_says_so(tmp_path: Path) -> None:
    assert ladder_stage(context(tmp_path, "ladder", seconds=-1.0, rungs=rungs("folded"))) == AGAIN
