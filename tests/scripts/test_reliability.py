"""The script behind docs/reliability.md: what it counts is what there is to count, and its page says it."""

import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from advdpnp.metrics import pack
from advdpnp.runs import Json, write_json
from reliable.damage import damage, damages, fingerprint
from reliable.kills import different
from reliable.page import losses, page_text
from reliable.processes import killed_after, status_of
from reliable.soak import slope


def test_the_slope_is_that_of_the_line_after_the_warm_up() -> None:
    runs = list(range(10, 110, 10))
    # The first fifth grows by much, the rest by 3 KiB a run, exactly.
    kib = [7 * number if number < 20 else 1000 + 3 * number for number in runs]
    assert slope(runs, kib) == pytest.approx((3.0, 0.0), abs=1e-9)
    found, error = slope([1, 2, 3, 4], [0, 1, -1, 0])
    # By hand: x = -1.5, -0.5, 0.5, 1.5 and y = 0, 1, -1, 0: xy = -1, xx = 5, and the rest is 1.8.
    assert found == pytest.approx(-1 / 5) and error == pytest.approx((1.8 / 2 / 5) ** 0.5)


def test_every_damage_changes_the_content_and_reaches_first_and_last_byte() -> None:
    content = random.Random(1).randbytes(10_000)
    found = list(damages(content, random.Random(0), 16))
    assert all(damaged != content for _, damaged in found)
    flipped = [damaged for how, damaged in found if how == "a bit turned over"]
    places = [next(i for i in range(len(content)) if one[i] != content[i]) for one in flipped]
    assert len(flipped) == 16 and places[0] == 0 and places[-1] == len(content) - 1
    for how, damaged in found:
        if how == "a sector zeroed":
            assert len(damaged) == len(content)


def test_damage_that_is_read_silently_is_counted_as_missed(tmp_path: Path) -> None:
    from advdpnp.runs import Run

    path = tmp_path / "a.txt"
    path.write_bytes(b"abcdefgh" * 100)

    def read(run: Run) -> bytes:
        content = path.read_bytes()
        if content[:4] != b"abcd":
            raise ValueError(f"{path} is damaged")
        # Nobody looks at the second half.
        return content[:400]

    (row,) = damage(Run(tmp_path), {"a": (lambda run: path, read)}, 8, 0)
    assert path.read_bytes() == b"abcdefgh" * 100
    assert row["tried"] == row["refused"] + row["harmless"] + len(row["missed"])
    assert row["refused"] and row["harmless"] and row["missed"]
    assert losses({"damage": {"kinds": [row], "scale": {"flips": 8}}})[0].startswith("a: ")


def test_a_kind_of_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    from advdpnp.runs import Run

    with pytest.raises(FileNotFoundError, match=r"a\.txt is not there"):
        damage(Run(tmp_path), {"a": (lambda run: tmp_path / "a.txt", lambda run: None)}, 8, 0)


def test_verdicts_that_differ_are_counted() -> None:
    right = torch.arange(20) % 2 > 0
    other = right.clone()
    other[[3, 7, 8]] = ~other[[3, 7, 8]]

    def result(verdicts: torch.Tensor, seconds: float, broken: int = 1) -> Json:
        row = {"name": "fgsm", "verdicts": pack(verdicts), "seconds": seconds, "broken": broken}
        return {"n": 20, "clean_verdicts": pack(right), "worst_case_accuracy": 0.5, "attacks": [row]}

    assert different(result(right, 1.0), result(right, 2.0)) == 0
    assert different(result(right, 1.0), result(other, 1.0)) == 3
    assert different(result(right, 1.0), result(right, 1.0, broken=2)) == -1


def test_equal_values_have_equal_fingerprints_whatever_they_are() -> None:
    one = {"b": torch.arange(3), "a": [1, (2.5, "x")], "c": None}
    assert fingerprint(one) == fingerprint(dict(reversed(one.items())))
    for other in (one | {"b": torch.arange(3.0)}, one | {"a": [1, (2.5, "y")]}, one | {"d": 1}, one | {"c": 0}):
        assert fingerprint(other) != fingerprint(one)


def test_a_process_is_killed_or_has_ended() -> None:
    process = os.fork()
    if not process:
        time.sleep(60)
        os._exit(0)
    assert killed_after(process, 0.01)
    process = os.fork()
    if not process:
        os._exit(0)
    assert not killed_after(process, 30)
    process = os.fork()
    if not process:
        os.kill(os.getpid(), signal.SIGTERM)
    assert status_of(process) == -signal.SIGTERM


def test_the_page_names_what_was_lost(tmp_path: Path) -> None:
    fine = {"kills": 30, "finished": 1, "rounds": [{"kills": 30, "identical": True, "left_behind": []}]}
    evaluated = fine | {"rounds": [{"kills": 30, "verdict_differences": 2, "left_behind": []}], "verdicts": 1000}
    kills = {"train": fine, "evaluate": evaluated, "report": fine | {"files": 9, "torn_files": 0}}
    page = page_text({"kills": kills})
    assert "| SIGKILLs in training after which the end is the same | 30 | 30 |" in page
    assert "| SIGKILLs in evaluation after which the end is the same | 30 | 0 |" in page
    assert "1,000 verdicts: 2 different" in page and "- evaluation: round 1 ended with 2 other verdicts" in page
    write_json(tmp_path / "kills.json", kills)


@pytest.mark.slow
def test_a_handful_of_each_is_measured_and_nothing_is_lost(tmp_path: Path) -> None:
    import reliability
    from reliable.scale import QUICK

    found = reliability.measure([*reliability.PARTS], tmp_path, QUICK)
    assert losses(found) == []
    assert found["kills"]["train"]["kills"] == 2 and found["soak"]["runs"] == 6
    assert "Nothing was lost" in page_text(found)
