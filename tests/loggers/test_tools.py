"""What the tools have stored, read with their own readers, is what train.jsonl has, number by number."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from advdpnp import api
from advdpnp.callbacks import StopTraining
from advdpnp.loggers import make_loggers
from advdpnp.loggers.entries import scalars_of
from advdpnp.loggers.mlflow import _flat
from advdpnp.runs import Run
from loggers.networkless import offline as offline
from loggers.test_following import IMAGES, Recorder, trained
from training.small import StopAt, created, small_experiment

CURVES = 2 + 7 + 6 + 2


class StopsIn(StopAt):
    """Stops in order after some steps, so that the state is stored."""

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        try:
            super().on_step(epoch, step, steps, epochs)
        except KeyboardInterrupt:
            raise StopTraining from None


def stopped_and_resumed(run: Run, name: str) -> tuple[Run, Recorder]:
    """A run that a tool follows through an interruption in its second epoch, beside one that keeps everything."""
    recorder = Recorder()
    with pytest.raises(StopTraining):
        trained(run, *make_loggers([name]), recorder, callback=StopsIn(4))
    trained(run, *make_loggers([name]), recorder, resume=True)
    assert recorder.epochs == [1, 2]
    return run, recorder


def curves(run: Run) -> dict[str, list[tuple[int, float]]]:
    """What every curve must hold."""
    rows = [(line["epoch"], scalars_of(line, IMAGES)) for line in run.epochs()]
    return {name: [(epoch, row[name]) for epoch, row in rows] for name in rows[0][1]}


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, recorder = stopped_and_resumed(created(tmp_path), "tensorboard")
    stored = EventAccumulator(str(run.folder / "tensorboard"), {"images": 0, "scalars": 0, "histograms": 0})
    stored.Reload()
    tags = stored.Tags()
    assert set(tags["scalars"]) == set(curves(run)) and len(tags["scalars"]) == CURVES
    for name, wanted in curves(run).items():
        found = [(event.step, event.value) for event in stored.Scalars(name)]
        # It keeps fp32.
        assert found == [(epoch, float(np.float32(value))) for epoch, value in wanted]
    for name in tags["histograms"]:
        for event, entry in zip(stored.Histograms(name), recorder.entries, strict=True):
            values = entry.histograms[name]
            assert event.step == entry.epoch and event.histogram_value.num == len(values)
            assert event.histogram_value.sum == pytest.approx(float(values.sum()), rel=1e-5)
    assert len(tags["histograms"]) == 4
    assert [(event.step, event.width, event.height) for event in stored.Images("holdout/images")] == [
        (1, 544, 204),
        (2, 544, 204),
    ]


def test_tensorboard_elsewhere_begins_anew_when_its_folder_is_gone(tmp_path: Path) -> None:
    import shutil

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = created(tmp_path)
    for _ in range(2):
        trained(run, *make_loggers(["tensorboard"]), resume=True)
        stored = EventAccumulator(str(run.folder / "tensorboard"))
        stored.Reload()
        assert [event.step for event in stored.Scalars("lr")] == [1, 2]
        shutil.rmtree(run.folder / "tensorboard")


@pytest.mark.slow
def test_mlflow(offline: Path, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    run, recorder = stopped_and_resumed(created(tmp_path), "mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("advdpnp").experiment_id])
    assert found.info.status == "FINISHED" and found.data.params == dict(_flat(run.config()))
    assert found.data.params["recipe.epochs"] == "2"

    def history(name: str) -> list[tuple[int, float]]:
        return [(metric.step, metric.value) for metric in client.get_metric_history(found.info.run_id, name)]

    for name, wanted in curves(run).items():
        assert history(name) == wanted
    for entry in recorder.entries:
        for name, values in entry.histograms.items():
            assert (entry.epoch, float(np.median(values))) in history(f"{name}.median")
            assert (entry.epoch, float(values.max())) in history(f"{name}.max")
    pictures = sorted((offline / "mlruns").rglob("*.png"), key=lambda path: path.name.partition("step+")[2])
    assert [np.array_equal(np.asarray(Image.open(path)), entry.images["holdout/images"])
            for path, entry in zip(pictures, recorder.entries, strict=True)] == [True, True]  # fmt: skip


def wandb_records(path: Path) -> Iterator[Any]:
    """What an offline run of W&B holds: records in the log format of LevelDB, after seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    assert data.startswith(b":W&B")
    while at < len(data):
        # A record's part has a head of 7 bytes (checksum, length, kind) and lies within a block of 32 KiB.
        if (rest := 32768 - at % 32768) < 7:
            at += rest
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(whole)
            whole = b""


@pytest.mark.slow
def test_wandb(offline: Path, tmp_path: Path) -> None:
    import json

    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    run, recorder = stopped_and_resumed(created(tmp_path), "wandb")
    # Its service writes the end of the file after `finish` has returned.
    wandb.teardown()
    files = sorted(offline.glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
    records = [record for path in files for record in wandb_records(path)]
    begun = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    # One run, in two pieces.
    assert len(files) == 2 and len({each.run_id for each in begun}) == 1 and begun[0].project == "advdpnp"
    config = {item.key: json.loads(item.value_json) for item in begun[0].config.update}
    assert config["recipe"] == run.config()["recipe"]
    rows = [
        {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]
    assert [row["_step"] for row in rows] == [1, 2]
    for name, wanted in curves(run).items():
        assert [(row["_step"], row[name]) for row in rows] == wanted
    for row, entry in zip(rows, recorder.entries, strict=True):
        for name, values in entry.histograms.items():
            assert sum(row[f"{name}/values"]) == len(values)
        assert row["holdout/images/width"] == 544


@pytest.mark.slow
def test_all_tools_leave_the_training_as_it_is(offline: Path, tmp_path: Path) -> None:
    names = ["tensorboard"]
    for name in ("wandb", "mlflow"):
        pytest.importorskip(name, reason=f"{name} is not installed")
        names.append(name)
    logged = api.train(small_experiment(), tmp_path / "logged", log=names)
    alone = api.train(small_experiment(), tmp_path / "alone")
    assert logged.weights_path("last").read_bytes() == alone.weights_path("last").read_bytes()
