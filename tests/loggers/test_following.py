"""Loggers follow a training: each epoch once, whatever happens, and nothing that they do changes or ends it."""

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from advdpnp import api
from advdpnp.callbacks import Silent, StopTraining
from advdpnp.loggers import Entry, LoggedRun, LogPlace, following, make_loggers
from advdpnp.loggers.entries import scalars_of
from advdpnp.runs import Json, Run, write_json
from advdpnp.training import fit
from training.small import StopAt, created, small_experiment, small_task

IMAGES = 96


class Recorder:
    """A logger that keeps what it is given, and may fail."""

    def __init__(self, name: str = "recorder", fails_in: str = "") -> None:
        self.name, self._fails_in = name, fails_in
        self.entries: list[Entry] = []
        self.known: list[LogPlace] = []
        self.closed: list[bool] = []

    def _maybe(self, method: str) -> None:
        if self._fails_in == method:
            raise OSError(errno.ENOSPC, "no space\nleft")

    def begin(self, run: LoggedRun, known: LogPlace) -> LogPlace:
        self._maybe("begin")
        self.known.append(known)
        return LogPlace("somewhere", known.epochs)

    def log(self, entry: Entry) -> None:
        self._maybe("log")
        self.entries.append(entry)

    def close(self, finished: bool) -> None:
        self._maybe("close")
        self.closed.append(finished)

    @property
    def epochs(self) -> list[int]:
        return [entry.epoch for entry in self.entries]


class Notes(Silent):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_note(self, text: str) -> None:
        self.texts.append(text)


def trained(run: Run, *loggers: Any, callback: Any = None, resume: bool = False, seconds: float = 1e9) -> Run:
    with following(callback or Silent(), run, loggers, IMAGES) as followed:
        fit(small_task(), run, followed, resume=resume, checkpoint_seconds=seconds)
    return run


def test_every_number_of_an_epoch_and_its_speed_is_logged(tmp_path: Path) -> None:
    recorder = Recorder()
    run = trained(created(tmp_path), recorder)
    assert recorder.closed == [True] and recorder.epochs == [1, 2]
    for entry, line in zip(recorder.entries, run.epochs(), strict=True):
        wanted = {"lr": line["lr"], "images_per_second": IMAGES / line["seconds"]}
        wanted |= {
            f"{group}/{name}": line[group][name] for group in ("loss", "centers", "holdout") for name in line[group]
        }
        del wanted["holdout/n"]
        assert entry.scalars == wanted and len(line["loss"]) == 7


def test_histograms_and_pictures_are_of_the_images_and_centers_that_the_line_counts(tmp_path: Path) -> None:
    recorder = Recorder()
    run = trained(created(tmp_path), recorder)
    for entry, line in zip(recorder.entries, run.epochs(), strict=True):
        for measure in ("clean", "robust"):
            margins = entry.histograms[f"holdout/margin_{measure}"]
            assert len(margins) == 40 and (margins > 0).mean() == pytest.approx(line["holdout"][f"{measure}_accuracy"])
        norms, cosines = entry.histograms["centers/norm"], entry.histograms["centers/cosine"]
        assert len(norms) == 10 and norms.mean() == pytest.approx(line["centers"]["norm_mean"], rel=1e-5)
        # Pairs of ten classes.
        assert len(cosines) == 45
        assert np.degrees(np.arccos(cosines)).mean() == pytest.approx(line["centers"]["angle_mean_degrees"], rel=1e-4)
        # Three rows of 8 digits of 8x8 pixels, enlarged to 64 with a frame of 2.
        assert entry.images["holdout/images"].shape == (3 * 68, 8 * 68, 3)


def test_a_training_with_loggers_is_that_without_bit_for_bit(tmp_path: Path) -> None:
    with_loggers = trained(created(tmp_path / "a"), Recorder(), Recorder("failing", "log"))
    without = created(tmp_path / "b")
    fit(small_task(), without, Silent(), resume=False, checkpoint_seconds=1e9)
    for which in ("last", "best"):
        a, b = (run.weights_path(which).read_bytes() for run in (with_loggers, without))
        assert a == b
    untimed = [
        [{k: v for k, v in line.items() if "seconds" not in k} for line in run.epochs()]
        for run in (with_loggers, without)
    ]
    assert untimed[0] == untimed[1]


@pytest.mark.parametrize("fails_in", ["begin", "log", "close"])
def test_a_logger_that_fails_is_told_of_once_and_stops_nothing(fails_in: str, tmp_path: Path) -> None:
    notes, other, failing = Notes(), Recorder(), Recorder("failing", fails_in)
    run = trained(created(tmp_path), failing, other, callback=notes)
    assert len(run.epochs()) == 2 and run.weights_path("last").is_file()
    assert other.epochs == [1, 2] and other.closed == [True]
    warnings = [text for text in notes.texts if text.startswith("warning")]
    assert (
        len(warnings) == 1 and "\n" not in warnings[0] and "failing failed" in warnings[0] and "no space" in warnings[0]
    )


def test_a_record_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: Json) -> None:
        raise OSError(errno.ENOSPC, "no space", str(path))

    monkeypatch.setattr("advdpnp.loggers.followed.write_json", full)
    notes = Notes()
    run = trained(created(tmp_path), Recorder(), callback=notes)
    assert len(run.epochs()) == 2
    assert len([text for text in notes.texts if "failed" in text]) == 1


@pytest.mark.parametrize("seconds", [0, 1e9])
def test_a_resumed_run_logs_each_epoch_once(seconds: float, tmp_path: Path) -> None:
    # Three steps an epoch: killed in the second one, with a checkpoint after each step, or none: it begins anew.
    run, first, second = created(tmp_path), Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        trained(run, first, callback=StopAt(4), seconds=seconds)
    assert first.epochs == [1] and first.closed == [False]
    trained(run, second, resume=True)
    assert second.known == [LogPlace("somewhere", 1)]
    assert second.epochs == [2] and second.closed == [True]


def test_an_epoch_that_a_kill_had_lost_is_not_logged_twice(tmp_path: Path) -> None:
    run, first, second = created(tmp_path), Recorder(), Recorder()
    trained(run, first)
    # As after a kill before the first checkpoint: the training begins anew.
    run.state_path.unlink()
    trained(run, second, resume=True)
    assert len(run.epochs()) == 2 and second.epochs == []


def test_what_a_log_lacks_it_gets_from_the_run(tmp_path: Path) -> None:
    run, late = created(tmp_path), Recorder()
    trained(run)
    trained(run, late, resume=True)
    assert [entry.scalars for entry in late.entries] == [scalars_of(line, IMAGES) for line in run.epochs()]
    assert late.epochs == [1, 2] and not late.entries[0].images


def test_the_epoch_after_which_another_callback_stops_is_logged(tmp_path: Path) -> None:
    class Stops(Silent):
        def on_epoch(self, line: Json) -> None:
            raise StopTraining

    run, recorder = created(tmp_path), Recorder()
    with pytest.raises(StopTraining):
        trained(run, recorder, callback=Stops())
    assert recorder.epochs == [1] and recorder.closed == [False]


def test_train_takes_a_logger_of_ones_own_and_refuses_unknown_names_at_once(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="no logger 'wanbd'; nearest: wandb"):
        api.train(small_experiment(), tmp_path, log=["wanbd"])
    assert not list(tmp_path.iterdir())
    api.train(small_experiment(), tmp_path, log=[recorder])
    assert recorder.epochs == [1, 2]


@pytest.mark.parametrize(
    "name, module", [("wandb", "wandb"), ("mlflow", "mlflow"), ("tensorboard", "torch.utils.tensorboard.summary")]
)
def test_a_missing_package_is_said_in_one_line(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"pip install 'advdpnp\[{name}\]'") as refused:
        make_loggers([name])
    assert "\n" not in str(refused.value)


class FakeWandb:
    """What is called of wandb, as it is documented."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.Histogram: Callable[[Any], Any] = lambda values: ("histogram", len(values))
        self.Image: Callable[[Any], Any] = lambda image: ("image", image.shape)
        self.Settings = dict

    def init(self, **named: Any) -> Any:
        self.calls.append(("init", named))
        return SimpleNamespace(
            id=named["id"] or "new1",
            log=lambda values, **more: self.calls.append(("log", (values, more))),
            finish=lambda **more: self.calls.append(("finish", more)),
        )


def test_wandb_gets_one_row_for_each_epoch_and_its_own_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    run = created(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        trained(run, *make_loggers(["wandb"]), callback=StopAt(4))
    trained(run, *make_loggers(["wandb"]), resume=True)
    assert [call for call, _ in fake.calls] == ["init", "log", "finish"] * 2
    (_, begun), (_, (row, more)), (_, stopped), (_, again), (_, (_, second)), (_, ended) = fake.calls
    assert begun["project"] == "advdpnp" and begun["id"] is None and again["id"] == "new1"
    assert begun["config"] == run.config() and begun["name"].startswith(begun["group"] + "/")
    assert more == {"step": 1, "commit": True} and second == {"step": 2, "commit": True}
    assert row["loss/total"] == run.epochs()[0]["loss"]["total"] and row["centers/norm"] == ("histogram", 10)
    assert row["holdout/images"] == ("image", (204, 544, 3))
    assert stopped == {"exit_code": 1} and ended == {"exit_code": 0}
    # Another project has no such run: its log begins anew, with what the run has.
    monkeypatch.setenv("WANDB_PROJECT", "other")
    trained(run, *make_loggers(["wandb"]), resume=True)
    assert [call for call, _ in fake.calls[6:]] == ["init", "log", "log", "finish"] and fake.calls[6][1]["id"] is None


def test_a_difference_of_nothing_is_gray_and_other_channels_are_their_mean() -> None:
    from advdpnp.loggers.picture import attack_picture

    image = torch.full((1, 2, 4, 4), 0.5).numpy()
    image[:, 1] = 0.25
    picture = attack_picture(image, image)
    assert picture.shape == (3 * 68, 68, 3)
    # 0.375 of 255; no change is middle gray; the frame is white.
    assert picture[34, 34].tolist() == [96] * 3 and picture[68 * 2 + 34, 34].tolist() == [128] * 3
    assert picture[0, 0].tolist() == [255] * 3
    changed = image.copy()
    changed[0, :, 0, 0] += 0.1
    assert attack_picture(image, changed)[68 * 2 + 3, 3].tolist() == [255] * 3


@pytest.mark.parametrize("damaged", ["checkpoints/state.pt", "train.jsonl"])
def test_no_log_is_begun_where_the_run_is_damaged(damaged: str, tmp_path: Path) -> None:
    run, recorder = trained(created(tmp_path)), Recorder()
    (run.folder / damaged).write_bytes(b"damaged\n")
    with pytest.raises(ValueError, match=damaged.split("/")[-1].replace(".", r"\.")):
        trained(run, recorder, resume=True)
    assert (recorder.known, recorder.closed) == ([], []) and not run.loggers_path.exists()


@pytest.mark.parametrize(
    "place", [3, {"epochs": -1}, {"epochs": 0.5}, {"epochs": 3}, {"epochs": 2**62}, {"identity": []}], ids=repr
)
def test_a_record_that_makes_no_sense_is_told_of(place: Any, tmp_path: Path) -> None:
    run, recorder, notes = created(tmp_path), Recorder(), Notes()
    write_json(run.loggers_path, {"recorder": place})
    trained(run, recorder, callback=notes)
    (told,) = (text for text in notes.texts if text.startswith("warning: logging to recorder failed"))
    assert "loggers.json" in told and recorder.epochs == []


def test_a_finished_run_gets_a_log_of_all_its_epochs(tmp_path: Path) -> None:
    run, recorder = trained(created(tmp_path)), Recorder()
    trained(run, recorder, resume=True)
    assert (recorder.epochs, recorder.closed) == ([1, 2], [True])
