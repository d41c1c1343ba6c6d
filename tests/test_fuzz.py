"""Every reader that needs no run, given changed files of ours; scripts/fuzz.py does it for as long as one likes."""

import json
import random
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fuzz
from fuzzing import mutations, seeds
from fuzzing.targets import TARGETS, Target
from fuzzing.worker import Outside, Watch, tried

SEEDS = seeds.made_of_nothing()
ALONE = [name for name, target in TARGETS.items() if target.seeds in SEEDS]


@pytest.fixture(autouse=True)
def quiet(recwarn: pytest.WarningsRecorder) -> None:
    """Odd values in files of numpy and torch are warned of; warnings are no errors here."""


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    """One, since a hook of Python's audit stays for as long as the process."""
    return Watch(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("name", ALONE)
@settings(max_examples=15, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, 2**32))
def test_a_reader_gives_a_value_or_one_line(name: str, number: int, tmp_path: Path, watch: Watch) -> None:
    target, draw = TARGETS[name], random.Random(number)
    content = target.mutate(draw.choice(SEEDS[target.seeds]), draw)
    assert tried(target, content, tmp_path, watch) == ""


@pytest.mark.parametrize("name", ALONE)
def test_what_writers_of_ours_wrote_is_read(name: str, tmp_path: Path, watch: Watch) -> None:
    for content in SEEDS[TARGETS[name].seeds]:
        assert tried(TARGETS[name], content, tmp_path, watch) == ""


def _fails(path: Path) -> None:
    raise KeyError("x")


def _lines(path: Path) -> None:
    raise ValueError(f"{path}\ntwo")


def _nameless(path: Path) -> None:
    raise ValueError("one")


def _fine(path: Path) -> None:
    raise ValueError(f"{path} is not read")


def _runs(path: Path) -> None:
    import subprocess

    subprocess.run([sys.executable, "-c", ""], check=False)


def _writes(path: Path) -> None:
    Path(__file__).with_name("never").write_text("x")


@pytest.mark.parametrize(
    ("read", "found"),
    [
        *(
            (_fails, "KeyError"),
            (_lines, "lines"),
            (_nameless, "nameless"),
            (_fine, ""),
            (_runs, "outside: subprocess"),
        ),
        (_writes, "outside: open"),
    ],
)
def test_what_a_reader_must_not_do_is_found(read: object, found: str, tmp_path: Path, watch: Watch) -> None:
    target = Target("x", "words", mutations.of_bytes, read)  # type: ignore[arg-type]
    assert tried(target, b"x", tmp_path, watch).startswith(found) if found else not tried(target, b"x", tmp_path, watch)
    assert not Path(__file__).with_name("never").exists() and issubclass(Outside, BaseException)


def test_mutations_depend_on_the_seed_alone() -> None:
    for name in ALONE:
        target = TARGETS[name]
        raw = SEEDS[target.seeds][0]
        assert target.mutate(raw, random.Random(3)) == target.mutate(raw, random.Random(3)), name


def test_what_had_its_minutes_at_this_commit_is_not_run_again() -> None:
    done = {"commit": "abc", "minutes": 1.0}
    assert fuzz._is_done(done, "abc", 1.0) and fuzz._is_done(done, "abc", 0.5)
    assert not (fuzz._is_done(done, "abc", 2.0) or fuzz._is_done(done, "abd", 1.0) or fuzz._is_done(None, "abc", 1.0))


def test_changed_json_is_json_mostly() -> None:
    raw, read = json.dumps({"a": [1, {"b": "x"}], "sha256": "x"}).encode(), 0
    for seed in range(200):
        changed = mutations.of_json(raw, random.Random(seed))
        assert changed != raw
        try:
            json.loads(changed)
            read += 1
        except (ValueError, RecursionError):
            pass
    assert read > 120
