"""What all commands share: switches, an answer as text or JSON, one line for an error, a way on after Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pytest
import torch
import typer

from advdpnp import cli
from advdpnp.cli.command import Answer, Resume, Switches, command, one_line
from commands import call


def started(app: typer.Typer, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Status, output and error stream of a command line."""
    try:
        app(list(arguments), standalone_mode=True)
        status = 0
    except SystemExit as stop:
        status = int(stop.code or 0)
    told = capsys.readouterr()
    return status, told.out, told.err


def application() -> typer.Typer:
    app = typer.Typer()

    @command(app)
    def work(switches: Switches, what: Annotated[str, typer.Argument()] = "well", resume: Resume = False) -> Answer:
        if what == "badly":
            raise ValueError("expected well;\n  got badly")
        if what == "never":
            raise KeyboardInterrupt
        if what == "exit":
            sys.exit(0)
        if what == "loud":
            print("said by code of others")
        found = {"device": switches.device, "threads": switches.threads, "what": what, "resume": resume}
        return Answer(found, f"done {what}", status=3 if what == "half" else 0)

    @command(app, "plain")
    def other(switches: Switches) -> Answer:
        raise KeyboardInterrupt

    return app


def test_the_answer_is_text_or_json_and_has_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    app = application()
    assert started(app, capsys, "work") == (0, "done well\n", "")
    assert started(app, capsys, "work", "half") == (3, "done half\n", "")
    status, out, _ = started(app, capsys, "work", "--json", "--device", "cpu", "--resume")
    assert status == 0
    assert json.loads(out) == {"device": "cpu", "threads": None, "what": "well", "resume": True}


def test_threads_are_set_before_the_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        assert started(application(), capsys, "work", "--threads", "2")[0] == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_an_error_of_the_user_is_one_line_and_with_debug_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    app = application()
    assert started(app, capsys, "work", "badly") == (2, "", "advdpnp: expected well; got badly\n")
    with pytest.raises(ValueError, match="got badly"):
        started(app, capsys, "work", "badly", "--debug")


def test_a_message_of_any_length_has_its_beginning_and_its_cure() -> None:
    line = one_line(ValueError(f"expected a number; got {'x' * 100_000}: give one"))
    assert len(line) < 1100 and line.startswith("expected a number; got xxx") and line.endswith("xxx: give one")


def test_code_that_ends_the_process_is_one_line_and_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, told = started(application(), capsys, "work", "exit")
    assert (status, out) == (2, "") and "called sys.exit(0)" in told and told.count("\n") == 1


def test_what_code_of_others_prints_is_no_part_of_the_json(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, told = started(application(), capsys, "work", "loud", "--json")
    assert json.loads(out)["what"] == "loud" and told == "said by code of others\n"


def test_ctrl_c_names_the_command_that_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = application()
    for given in (["work", "never", "--resume"], ["work", "never"]):
        monkeypatch.setattr(sys, "argv", ["advdpnp", *given])
        told = "advdpnp: interrupted; go on with: advdpnp work never --resume\n"
        assert started(app, capsys, *given) == (130, "", told)
    monkeypatch.setattr(sys, "argv", ["advdpnp", "plain"])
    assert started(app, capsys, "plain") == (130, "", "advdpnp: interrupted; run again: advdpnp plain\n")


def every_command() -> list[list[str]]:
    groups = [(cli.app, []), *((group.typer_instance, [group.name]) for group in cli.app.registered_groups)]
    return [
        [*prefix, info.name or info.callback.__name__]  # type: ignore[misc, union-attr]
        for app, prefix in groups
        if app is not None
        for info in app.registered_commands
    ]


@pytest.mark.parametrize("name", every_command(), ids=" ".join)
def test_every_command_has_the_common_switches(name: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = started(cli.app, capsys, *name, "--help")
    assert status == 0
    assert all(switch in out for switch in ("--device", "--threads", "--json", "--debug"))


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("data", "check", "digits"), ("data", "describe", "digits", "--out", "sheet.png"),
     ("show", "digits/tiny/at"), ("data", "download", "digits")],
    ids=lambda arguments: " ".join(arguments[:2]),
)  # fmt: skip
def test_json_is_all_that_a_command_prints(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = started(cli.app, capsys, *arguments, "--json")
    assert status == 0 and json.loads(out)


@pytest.fixture
def as_in_a_terminal() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C, and so do its children."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("as_in_a_terminal")
def test_an_interrupted_evaluation_goes_on_to_the_same_verdicts(tmp_path: Path) -> None:
    def advdpnp(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "advdpnp", *arguments, "--threads", "1"]

    quick = ["--set", "recipe.epochs=1", "--set", "recipe.train_images=96", "--set", "recipe.attack.steps=1"]
    subprocess.run(advdpnp("train", "digits/tiny/at", *quick), cwd=tmp_path, check=True, capture_output=True)
    (run,) = tmp_path.glob("runs/digits/tiny/at/seed-0")
    arguments = ["evaluate", str(run), "--attack", "pgd:steps=150,restarts=2", "--suite", "long", "--json"]
    whole = subprocess.run(advdpnp(*arguments), cwd=tmp_path, check=True, capture_output=True, text=True)
    (run / "eval/long.json").unlink()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        advdpnp(*arguments), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stderr is not None
    while "pgd-150" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=120)
    assert process.returncode == 130 and out == ""
    assert told.splitlines()[-1].endswith("--threads 1 --resume")
    assert not (run / "eval/long.json").exists() and (run / "eval/long.partial.json").exists()
    again = subprocess.run(advdpnp(*arguments, "--resume"), cwd=tmp_path, check=True, capture_output=True, text=True)
    first, second = json.loads(whole.stdout), json.loads(again.stdout)
    assert first["attacks"][0]["verdicts"] == second["attacks"][0]["verdicts"]
    assert first["clean_verdicts"] == second["clean_verdicts"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full, as Linux has")
def test_an_answer_for_a_full_disk_or_for_a_reader_that_has_left_ends_in_at_most_one_line() -> None:
    command = [sys.executable, "-m", "advdpnp", "list", "defenses"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("advdpnp: no space left to write standard output") and done.stderr.count("\n") == 1
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_names_do_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A folder's name that would clear the screen and set the window's title.
    odd = tmp_path / "\x1b[2J\x1b]0;x\x07\u202ename\r"
    assert call("report", str(odd)) == 2
    said = capsys.readouterr()
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(said.out + said.err) and "\ufffd[2J" in said.err


def test_what_looks_like_markup_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from advdpnp.progress import Bars

    with Bars() as bars:
        bars.on_note("[/closed] [red]x")
        bars.on_attack("[/closed]", 1)
        bars.on_images(1)
    assert "[/closed] [red]x" in capsys.readouterr().err


def test_more_threads_than_there_could_be_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "--threads", str(10**30)) == 2
    assert "--threads must be at most 4096" in capsys.readouterr().err


def test_a_data_folder_of_nobody_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from advdpnp.data import data_root

    monkeypatch.setenv("ADVDPNP_DATA", "~nobody-of-this-name/data")
    with pytest.raises(ValueError, match="a user whom this machine does not know"):
        data_root()


def test_a_data_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    from advdpnp.data import data_root

    (tmp_path / "train-images-idx3-ubyte").touch()
    with pytest.raises(ValueError, match="must be a folder of data files; got a file"):
        data_root(tmp_path / "train-images-idx3-ubyte")
    assert data_root(tmp_path / "not there yet") == tmp_path / "not there yet"
