"""`torchrun ... -m advdpnp train`, as a user runs it: one line for an error, a real kill, and a restart."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch.distributed as dist
from torch.distributed.run import get_args_parser
from typer.main import get_command

import warm
from advdpnp.cli import app
from advdpnp.cli.command import _check_launch
from advdpnp.launch import Launch, launch
from advdpnp.runs import Run, read_json
from advdpnp.training.distributed import _name_of_start
from training.ranks import environment

TRAIN = [
    "train", "digits/tiny/adv-dpnp", "--set", "recipe.epochs=2", "--set", "recipe.train_images=480",
    "--set", "recipe.batch_size=32", "--checkpoint-seconds", "0", "--resume",
]  # fmt: skip


def torchrun(*arguments: str, size: int = 2) -> subprocess.Popen[bytes]:
    """Train; options of torchrun come first. It would take `--log` for its own, but for `--`."""
    options = [*arguments[: arguments.index("train")], "-m", "--", "advdpnp", *arguments[arguments.index("train") :]]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(size), *options]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    return subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def together(*arguments: str, size: int = 2, of_last: tuple[str, ...] = ()) -> list[tuple[int, str, str]]:
    """Status, output and errors of ranks that are started as torchrun would; the last one may have other arguments."""
    # Torchrun has the store, which outlives a rank.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    folder = Path(os.environ["PYTEST_TMP"])
    found = []
    for rank in range(size):
        files = [(folder / f"{name}-{rank}").open("w+") for name in ("out", "err")]
        given = of_last if of_last and rank == size - 1 else arguments
        variables: Mapping[str, str] = environment(rank, size, store.port) | {"TORCHELASTIC_USE_AGENT_STORE": "True"}
        found.append((warm.start([*given], env=variables, stdout=files[0], stderr=files[1]), files))
    results = []
    for process, files in found:
        status = process.wait(120)
        texts = [(file.seek(0), file.read(), file.close())[1] for file in files]
        results.append((status, *texts))
    return results


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))


def test_torchrun_takes_no_option_of_train_for_its_own_behind_two_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    parser, refused = get_args_parser(), []
    names = [name for option in get_command(app).commands["train"].params for name in option.opts if "--" in name]  # type: ignore[attr-defined]
    assert "--log" in names and "--resume" in names
    for name in names:
        given = ["train", name, "x"]
        assert parser.parse_args(["-m", "--", "advdpnp", *given]).training_script_args == given
        try:
            assert parser.parse_args(["-m", "advdpnp", *given]).training_script_args == given
        except SystemExit:
            refused.append(name)
    # The page on torchrun says so.
    assert refused == ["--log"]


def test_torchrun_says_which_rank_this_is_and_without_it_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert launch() == Launch(0, 1, 0, 1)
    for name, value in environment(3, 8, 1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert launch() == Launch(3, 8, 1, 2)
    _check_launch("train")
    with pytest.raises(ValueError, match="torchrun is for advdpnp train; got evaluate on 8 ranks"):
        _check_launch("evaluate")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("digits/tiny/nothing",), "nothing"),
        (("digits/tiny/at", "--set", "recipe.engine=step"), "needs a CUDA device"),
        (("digits/tiny/at", "--set", "recipe.sync_batchnorm=true"), "recipe.sync_batchnorm needs CUDA devices"),
    ],
)
def test_an_error_is_one_line_of_rank_0_with_status_2(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    found = together("-m", "advdpnp", "train", *arguments, "--out", str(tmp_path / "runs"))
    assert [status for status, _, _ in found] == [2, 2]
    assert [out for _, out, _ in found] == ["", ""]
    lines = [line for line in found[0][2].splitlines() if line != "loading torch"]
    assert len(lines) == 1 and lines[0].startswith("advdpnp: ") and words in lines[0]
    assert found[1][2] == ""
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_an_error_of_another_rank_alone_names_it(tmp_path: Path) -> None:
    usual = ["-m", "advdpnp", "train", "digits/tiny/at", "--out", str(tmp_path / "runs")]
    broken = [*usual, "--set", "recipe.epochs=100", "--set", "recipe.engine=graph"]
    found = together(*usual, of_last=tuple(broken))
    assert [status for status, _, _ in found] == [2, 2]
    assert re.fullmatch(r"advdpnp: rank 1 on \S+: recipe\.engine=graph needs a CUDA device.*\n", found[1][2])
    assert "advdpnp:" not in found[0][2] and "Traceback" not in found[0][2]


def last_weights(out: Path) -> bytes:
    return Run(out / "digits/tiny/adv-dpnp/seed-0").weights_path("last").read_bytes()


def ranks_of(parent: int) -> list[int]:
    """Process numbers of the ranks that a torchrun has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after_name[1]) == parent:
            found.append(int(path.parent.name))
    return sorted(found)


@pytest.mark.slow
def test_a_killed_rank_is_restarted_and_ends_with_the_weights_of_an_undisturbed_run(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    whole = torchrun(*TRAIN, "--log", "tensorboard", "--out", str(tmp_path / "whole"))
    killed = torchrun("--max-restarts", "2", *TRAIN, "--log", "tensorboard", "--out", str(tmp_path / "killed"))
    state = Run(tmp_path / "killed/digits/tiny/adv-dpnp/seed-0").state_path
    deadline = time.monotonic() + 240
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.3)
    victims = ranks_of(killed.pid)
    assert len(victims) == 2
    os.kill(victims[-1], signal.SIGKILL)
    assert killed.wait(300) == 0
    assert whole.wait(300) == 0
    assert last_weights(tmp_path / "whole") == last_weights(tmp_path / "killed")
    log = Run(tmp_path / "killed/digits/tiny/adv-dpnp/seed-0").epochs()
    assert [line["epoch"] for line in log] == [1, 2]
    for name, most in (("whole", 1), ("killed", 2)):
        folder = tmp_path / name / "digits/tiny/adv-dpnp/seed-0"
        # One file for each start, of rank 0 alone, and each epoch once.
        assert 1 <= len(list(folder.glob("tensorboard/events*"))) <= most
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
        assert [event.step for event in events.Scalars("loss/total")] == [1, 2]
        assert read_json(folder / "loggers.json")["tensorboard"]["epochs"] == 2
    assert not (tmp_path / "killed/digits/tiny/adv-dpnp/seed-0/.lock").exists()


@pytest.mark.slow
def test_sigterm_to_torchrun_stores_the_state_and_one_process_goes_on(tmp_path: Path) -> None:
    process = torchrun(*TRAIN, "--out", str(tmp_path))
    state = Run(tmp_path / "digits/tiny/adv-dpnp/seed-0").state_path
    deadline = time.monotonic() + 240
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    process.wait(120)
    assert not Run(tmp_path / "digits/tiny/adv-dpnp/seed-0").weights_path("last").exists()
    done = warm.run(["-m", "advdpnp", *TRAIN, "--out", str(tmp_path)])
    assert done.returncode == 0 and "ranks 2 -> 1" in done.stderr


class Words(dict[str, str]):
    """As much of a store as the beginning needs."""

    def set(self, key: str, value: str) -> None:
        self[key] = value

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key].encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self for key in keys)


def names_of_start(store: Words, late: float) -> list[str]:
    def name(rank: int) -> str:
        time.sleep(late * (rank == 0))
        return _name_of_start(store, rank, 3)  # type: ignore[arg-type]

    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(name, range(3)))


@pytest.mark.parametrize("late", [0.0, 0.1])
def test_a_restart_does_not_meet_what_the_killed_ranks_left_in_the_store(late: float) -> None:
    store, names = Words(), []
    for _ in range(3):
        found = names_of_start(store, late)
        assert len(set(found)) == 1
        names.append(found[0])
    assert len(set(names)) == 3
