"""Trainings watched from outside: what the folder says of a run that is not begun, runs, was killed, or is finished."""

import io
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import run_status, watching
from advdpnp.run_status import read_status, runs_at
from advdpnp.runs import Json, Run, write_json
from advdpnp.watching import Watched, printable, statuses_text, watch_lines
from advdpnp.weights_file import weights_bytes
from test_cli import call, refused

NOW = 1_900_000_000.0
EPOCHS = 4


def line(epoch: int, **changes: Any) -> Json:
    return {
        "epoch": epoch,
        "epochs": EPOCHS,
        "steps": 3,
        "lr": 0.1,
        "seconds": 50.0,
        "validation_seconds": 10.0,
        "loss": {"total": 1.5, "ce_clean": 1.25, "dnp": 0.25},
        "centers": {"norm_mean": 40.0},
        "holdout": {"n": 40, "clean_accuracy": 0.975, "robust_accuracy": 0.5},
    } | changes


def aged(folder: Path, seconds: float) -> None:
    for path in folder.rglob("*"):
        os.utime(path, (NOW - seconds, NOW - seconds))


def made(folder: Path, done: int, *, finished: bool = False, age: float = 20.0, more: str = "") -> Path:
    """A run's folder as training leaves it, its files last written `age` seconds ago."""
    write_json(folder / "config.json", {"recipe": {"epochs": EPOCHS}})
    text = "".join(json.dumps(line(epoch)) + "\n" for epoch in range(1, done + 1))
    (folder / "train.jsonl").write_text(text + more)
    (folder / "checkpoints").mkdir(exist_ok=True)
    (folder / "checkpoints/state.pt").touch()
    if finished:
        weights = weights_bytes({"weight": torch.zeros(3)}, {"epoch": EPOCHS, "config": {}})
        (folder / "checkpoints/last.safetensors").write_bytes(weights)
    aged(folder, age)
    return folder


def test_the_time_left_is_that_of_the_epochs_left_less_what_has_passed(tmp_path: Path) -> None:
    status = read_status(made(tmp_path, done=2, age=20), NOW)
    # Two epochs of 50 s and 10 s of validation, of which 20 s have passed.
    assert (status.state, len(status.lines), status.epochs) == ("training", 2, EPOCHS)
    assert status.left == pytest.approx(2 * 60 - 20) and status.idle == pytest.approx(20)
    # An epoch that takes longer than those before it: nothing is known but the rest.
    assert read_status(made(tmp_path, done=2, age=100), NOW).left == pytest.approx(60)


@pytest.mark.parametrize("age, state", [(170, "training"), (190, "silent")])
def test_without_a_sign_of_life_for_three_minutes_and_three_epochs_it_is_silent(
    age: float, state: str, tmp_path: Path
) -> None:
    assert read_status(made(tmp_path, done=2, age=age), NOW).state == state
    assert read_status(made(tmp_path, done=0, age=age), NOW).state == state


def test_a_checkpoint_within_an_epoch_is_a_sign_of_life(tmp_path: Path) -> None:
    made(tmp_path, done=2, age=3600)
    os.utime(tmp_path / "checkpoints/state.pt", (NOW - 30, NOW - 30))
    status = read_status(tmp_path, NOW)
    assert status.state == "training" and status.idle == pytest.approx(30)


def test_a_killed_run_says_how_long_ago_and_what_goes_on(tmp_path: Path) -> None:
    status = read_status(made(tmp_path, done=2, age=3600), NOW)
    assert watching.state_text(status) == "silent for 60 min: interrupted? --resume goes on"


@pytest.mark.parametrize(
    "process, host, age, state",
    [
        # Its number is another in every test process, and names of tests must be the same.
        ("this one", socket.gethostname(), 1e5, "training"),
        (2**22 + 1, socket.gethostname(), 5, "interrupted"),
        (2**22 + 1, "elsewhere", 5, "training"),
        (2**22 + 1, "elsewhere", 1e5, "silent"),
        ("many", socket.gethostname(), 5, "training"),
    ],
)
def test_the_lock_says_whether_the_process_is_there(
    process: object, host: str, age: float, state: str, tmp_path: Path
) -> None:
    """Linux has no processes of numbers above 2^22."""
    made(tmp_path, done=2, age=age)
    Run(tmp_path).lock_path.write_text(
        json.dumps({"process": os.getpid() if process == "this one" else process, "host": host})
    )
    assert read_status(tmp_path, NOW).state == state


def test_a_run_is_finished_with_its_last_weights(tmp_path: Path) -> None:
    assert read_status(made(tmp_path, done=EPOCHS), NOW).state == "training"
    assert read_status(made(tmp_path, done=EPOCHS, finished=True, age=1e6), NOW).state == "finished"


@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[:-1], lambda whole: whole[:5], bytes.upper])
def test_weights_that_are_not_whole_are_damage(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = made(tmp_path, done=EPOCHS, finished=True) / "checkpoints/last.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    found = read_status(tmp_path, NOW)
    assert found.state == "damaged" and f"{path} is damaged" in found.problem
    path.write_bytes(weights_bytes({"weight": torch.zeros(3)}, {"epoch": EPOCHS - 1}))
    assert read_status(tmp_path, NOW).state == "damaged"


def test_a_run_that_is_not_begun_is_waited_for(tmp_path: Path) -> None:
    assert read_status(tmp_path / "later", NOW).state == "not begun"
    status = read_status(made(tmp_path, done=0), NOW)
    assert status.state == "training" and status.left is None and status.last is None
    # The line is broken where the path is long.
    assert statuses_text([status]).split() == f"{tmp_path}  epoch 0/4, in its first epoch".split()


def test_a_half_written_last_line_is_not_there_yet(tmp_path: Path) -> None:
    status = read_status(made(tmp_path, done=2, more=json.dumps(line(3))[:40]), NOW)
    assert status.state == "training" and len(status.lines) == 2


@pytest.mark.parametrize(
    "more", ["{\n{}\n", "[1]\n", '{"epoch": 3}\n', json.dumps(line(3, loss={"total": "high"})) + "\n", "null\n"]
)
def test_a_damaged_line_is_named_and_stops_no_watching(more: str, tmp_path: Path) -> None:
    status = read_status(made(tmp_path, done=2, more=more), NOW)
    assert status.state == "damaged" and "line 3" in status.problem
    assert "damaged" in statuses_text([status])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"recipe": {"epochs": "many"}}', '{"recipe": 3}'])
def test_a_damaged_configuration_is_said(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    assert read_status(tmp_path, NOW).state == "damaged"


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    folder = made(tmp_path / "\x1b[2J[bold]run", done=1)
    made(tmp_path / "other", done=1)
    with_term = json.dumps(line(2, loss={"total": 1.0, "\x1b]0;x\x07": 1.0})) + "\n"
    made(folder, done=1, more=with_term)
    text = statuses_text([read_status(path, NOW) for path in (folder, tmp_path / "other")])
    assert text.replace("\n", "").isprintable() and "[2J[bold]run" in text
    assert printable("a\x9bb\n") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


def test_a_table_of_one_run_has_every_epoch_and_every_term(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    head, *rows = statuses_text([read_status(made(Path("run"), done=2), NOW)]).splitlines()
    assert head == "run  epoch 2/4, about 2 min left"
    assert [row.split() for row in rows] == [
        ["epoch", "lr", "loss", "ce", "clean", "dnp", "clean", "robust", "s"],
        ["1", "0.1", "1.500", "1.250", "0.250", "97.5%", "50.0%", "50.0"],
        ["2", "0.1", "1.500", "1.250", "0.250", "97.5%", "50.0%", "50.0"],
    ]


def test_a_table_of_several_runs_has_a_row_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path / "runs/seed-0", done=2)
    made(tmp_path / "runs/seed-1", done=EPOCHS, finished=True)
    monkeypatch.setattr(run_status.time, "time", lambda: NOW)
    found = Watched([tmp_path / "runs", tmp_path / "later"]).look()
    monkeypatch.setenv("COLUMNS", "200")
    wide = statuses_text(found).splitlines()
    assert wide[0] == f"runs in {tmp_path}"
    assert [" ".join(row.split()) for row in wide[2:]] == [
        "runs/seed-0 2/4 1.500 97.5% 50.0% 0.1 about 2 min left ce_clean 1.250 dnp 0.250",
        "runs/seed-1 4/4 1.500 97.5% 50.0% 0.1 finished ce_clean 1.250 dnp 0.250",
        "later not begun",
    ]
    monkeypatch.setenv("COLUMNS", "100")
    assert "ce_clean" not in statuses_text(found)
    # On a low terminal those that are finished make room.
    low = watching._several_runs(found, str(tmp_path), 100, 2)
    assert list(low.columns[0].cells)[2].plain == "and 1 more"  # type: ignore[union-attr]
    assert [cell.plain for cell in low.columns[0].cells][:2] == ["runs/seed-0", "later"]  # type: ignore[union-attr]


def test_lines_tell_each_epoch_once_and_end_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run begins, loses an epoch that a resume repeats, and ends, while it is watched."""
    folder = tmp_path / "run"
    states = iter([
        lambda: made(folder, done=0),
        lambda: made(folder, done=2),
        lambda: None,
        lambda: made(folder, done=1),
        lambda: made(folder, done=EPOCHS, finished=True),
    ])  # fmt: skip
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: next(states)())
    monkeypatch.setattr(run_status.time, "time", lambda: NOW)
    (found,) = watch_lines(Watched([folder]), 1.0)
    assert found.state == "finished"
    told = [text.removeprefix(f"{folder}  ") for text in capsys.readouterr().out.splitlines()]
    assert [" ".join(text.split()[:3]) for text in told] == [
        "not begun",
        "epoch 0/4, in",
        "epoch 1/4 lr",
        "epoch 2/4 lr",
        "epoch 2/4 lr",
        "epoch 3/4 lr",
        "epoch 4/4 lr",
        "epoch 4/4, finished",
    ]


def test_ctrl_c_ends_watching_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(seconds: float) -> None:
        raise KeyboardInterrupt

    made(tmp_path / "seed-0", done=2)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    monkeypatch.setattr(watching.time, "sleep", pressed)
    assert len(watch_lines(Watched([tmp_path]), 1.0)) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_command_prints_a_table_once_json_or_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made(tmp_path / "seed-0", done=EPOCHS, finished=True)
    assert call(monkeypatch, "watch", str(run), "--once") == 0
    text = capsys.readouterr().out
    assert text.split()[:4] == [str(run), "epoch", "4/4,", "finished"] and "\x1b" not in text
    assert call(monkeypatch, "watch", str(tmp_path), "--json") == 0
    (value,) = json.loads(capsys.readouterr().out)
    assert (value["state"], value["epoch"], value["last"]) == ("finished", 4, line(4))
    assert call(monkeypatch, "watch", str(run)) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{run}  epoch 4/4, finished"
    assert call(monkeypatch, "watch", str(run / "config.json")) == 2
    assert "is a file: give the folder of a run" in refused(capsys)


def test_a_terminal_gets_a_table_that_is_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda: Console(file=screen, force_terminal=True, width=100, height=9, legacy_windows=False),
    )
    folder = made(tmp_path / "run", done=1)
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: made(folder, done=EPOCHS, finished=True))
    (found,) = watching.watch_table(Watched([folder]), 1.0)
    assert found.state == "finished" and "\x1b[2K" in screen.getvalue()
    # Of nine lines three are left for epochs.
    last = screen.getvalue().rpartition("epoch 4/4, finished")[2]
    assert "    2  0.1" in last and "    1  0.1" not in last


def test_a_path_is_a_run_or_holds_runs_or_will_be_one(tmp_path: Path) -> None:
    runs = [made(tmp_path / f"a/seed-{seed}", done=1) for seed in range(2)]
    assert runs_at(tmp_path) == runs and runs_at(runs[0]) == [runs[0]]
    assert runs_at(tmp_path / "b") == [tmp_path / "b"]


@pytest.mark.parametrize(
    "odd",
    [
        *({"validation_seconds": "x"}, {"validation_seconds": None}, {"holdout": [1]}, {"holdout": "x"}),
        *({"seconds": 10**400}, {"epoch": True}, {"loss": {"total": 10**400}}, {"lr": "0.1"}, {"loss": []}),
        *({"holdout": {"clean_accuracy": 7}}, {"holdout": {"robust_accuracy": -0.25}}),
    ],
    ids=str,
)
def test_a_line_that_is_none_of_ours_is_damage(odd: Json, tmp_path: Path) -> None:
    made(tmp_path, done=2)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(json.dumps(line(3) | odd) + "\n")
    status = read_status(tmp_path, NOW)
    assert status.state == "damaged" and "line 3" in status.problem
    assert "damaged" in statuses_text([status])


@pytest.mark.parametrize("epochs", ["4", None, 10**300, True, [], 0.5])
def test_epochs_that_are_no_count_are_damage(epochs: object, tmp_path: Path) -> None:
    made(tmp_path, done=2)
    write_json(tmp_path / "config.json", {"recipe": {"epochs": epochs}})
    assert read_status(tmp_path, NOW).state == "damaged"


def test_a_loss_that_grew_out_of_all_bounds_is_null_in_json(tmp_path: Path) -> None:
    made(tmp_path, done=2)
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write(json.dumps(line(3, loss={"total": float("nan"), "dnp": float("inf")})) + "\n")
    value = read_status(tmp_path, NOW).value()
    assert value["last"]["loss"] == {"total": None, "dnp": None}
    json.dumps(value, allow_nan=False)
