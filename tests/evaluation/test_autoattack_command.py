"""`advdpnp evaluate` with AutoAttack and its searches as a person uses it."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

import warm
from advdpnp import api
from advdpnp.callbacks import Silent
from advdpnp.runs import Run, read_json
from data.pictures import write

SEARCHES = ["--attack", "apgd-ce:steps=3", "--attack", "square:steps=20", "--suite", "mine", "--threads", "1"]
FEW = [*SEARCHES, "--limit", "41"]


def stored(run: Path, name: str = "mine") -> dict[str, Any]:
    content: dict[str, Any] = read_json(run / f"eval/{name}.json")
    return content


def verdicts(result: dict[str, Any]) -> list[str]:
    return [result["clean_verdicts"], *(row["verdicts"] for row in result["attacks"])]


def retrain(run: Path) -> None:
    """Other weights under the same name and epoch."""
    weights, epoch = Run(run).read_weights("last")
    Run(run).write_weights("last", {name: tensor + 0 * tensor + 1e-3 for name, tensor in weights.items()}, epoch)


def test_the_quick_tier_is_never_called_autoattack(run: Path, call: Any, tmp_path: Path) -> None:
    status, out, _ = call("evaluate", run, "--suite", "autoattack-quick", "--limit", 20, "--threads", 1)
    assert status == 0 and "at most this" in out
    assert all("autoattack-quick" in line for line in out.splitlines() if "autoattack" in line)
    assert call("report", run, "--out", tmp_path / "page")[0] == 0
    page = (tmp_path / "page/index.html").read_text()
    assert (
        "AutoAttack (quick tier)" in page
        and "AutoAttack: " not in page.replace("No AutoAttack: ", "")
        and "not AutoAttack" in page
    )
    status, _, told = call("compare", run, run, "--suite", "autoattack")
    assert status == 2 and "no result at" in told[-1] and "--suite autoattack" in told[-1]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3)))[::2])
def test_whichever_shard_is_last_prints_and_writes_the_whole(run: Path, call: Any, order: tuple[int, ...]) -> None:
    call("evaluate", run, *FEW)
    whole = stored(run)
    (run / "eval/mine.json").unlink()
    for done, part in enumerate(order, start=1):
        status, out, told = call("evaluate", run, *FEW, "--shard", f"{part}/3")
        assert status == 0
        missing = ", ".join(f"{k}/3" for k in sorted(set(order) - set(order[:done])))
        assert (told[-1] == f"the whole is written once these shards are measured too: {missing}") == bool(missing)
        assert ("first 41 test images" in out) == (done == 3) == (run / "eval/mine.json").exists()
    assert verdicts(stored(run)) == verdicts(whole)
    assert stored(run)["worst_case_interval95"] == whole["worst_case_interval95"]


def test_the_only_shard_is_the_whole(run: Path, call: Any) -> None:
    status, out, _ = call("evaluate", run, *FEW, "--shard", "1/1")
    assert status == 0 and "first 41 test images" in out
    assert [path.name for path in (run / "eval").iterdir()] == ["mine.json"]


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ([*SEARCHES, "--limit", "30"], r"images to: 40 step 2, not 29 step 2"),
        (["--attack", "apgd-ce:steps=2", *FEW[2:]], r"attack\.1\.steps: 3, not 2"),
    ],
)
def test_a_shard_of_another_evaluation_is_named_and_not_merged(
    run: Path, call: Any, later: list[str], said: str
) -> None:
    call("evaluate", run, *FEW, "--shard", "2/2")
    status, out, told = call("evaluate", run, *later, "--shard", "1/2")
    assert status == 0 and "shard 1 of 2" in out and not (run / "eval/mine.json").exists()
    (line,) = [line for line in told if "another evaluation" in line]
    assert said.replace("\\", "") in line and "mine.2-of-2.json" in line and line.endswith("measure --shard 2/2 again")
    assert call("evaluate", run, *later, "--shard", "2/2")[0] == 0
    assert (run / "eval/mine.json").exists()


def test_shards_of_other_weights_are_not_merged(run: Path, call: Any) -> None:
    call("evaluate", run, *FEW, "--shard", "2/2")
    retrain(run)
    _, _, told = call("evaluate", run, *FEW, "--shard", "1/2")
    assert any("another evaluation (weights: " in line for line in told)
    assert not (run / "eval/mine.json").exists()


# For the pictures, whose classes are three shades.
NEAREST_SHADE = """
import torch
from torch import nn

SHADES = torch.tensor([25.0, 85.0, 145.0]) / 255

class Net(nn.Module):
    def forward(self, x):
        return -(x.flatten(1).mean(dim=1, keepdim=True) - SHADES).square()
"""


class Stop(Silent):
    """Ctrl-C in a search."""

    def on_steps(self, left: int, bound: float) -> None:
        raise KeyboardInterrupt


def test_other_weights_under_the_same_name_do_not_resume(run: Path, call: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        api.evaluate(run, ["apgd-ce:steps=3", "square:steps=20"], suite_name="mine", limit=41, callback=Stop())
    assert (run / "eval/mine.partial.json").exists()
    retrain(run)
    status, _, told = call("evaluate", run, *FEW, "--resume")
    assert status == 2 and "is of another protocol (weights: " in told[-1] and "without --resume" in told[-1]


def test_what_a_killed_write_left_behind_is_removed(run: Path, call: Any) -> None:
    (run / "eval").mkdir()
    torn, other = (run / f"eval/.{name}.abcdefgh" for name in ("mine.partial.json", "other.partial.json"))
    torn.touch()
    other.touch()
    assert call("evaluate", run, *FEW)[0] == 0
    assert not torn.exists() and other.exists()


def test_several_seeds_are_told_of_and_summed_up(run: Path, call: Any) -> None:
    status, out, told = call("evaluate", run, *FEW, "--seeds", 2)
    assert status == 0 and "over 2 seeds of the attacks:" in out
    assert [line for line in told if line.startswith("seed")] == ["seed 0 (1 of 2)", "seed 1 (2 of 2)"]
    found = stored(run)["seeds"]
    assert found["count"] == 2 and found["attacks"][0]["verdicts"][0] == stored(run)["attacks"][0]["verdicts"]
    assert [path.name for path in (run / "eval").iterdir()] == ["mine.json"]


def test_json_is_the_stored_result_and_names_the_weights(run: Path, call: Any) -> None:
    import hashlib

    _, out, _ = call("evaluate", run, *FEW, "--json")
    assert json.loads(out) == stored(run)
    weights = (run / "checkpoints/last.safetensors").read_bytes()
    assert stored(run)["weights"] == hashlib.sha256(weights).hexdigest()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--suite", "autoattack", "--norm", "l1"], "digits has no usual radius in l1: give one, as --eps 133/255"),
        (["--attack", "autoattack:steps=4"], "unknown field autoattack.steps; nearest: eps, norm"),
        (["--attack", "square:steps=0"], "steps must be at least 1; got 0"),
        (["--attack", "autoatack"], "nearest: autoattack"),
        ([*SEARCHES, "--shard", "4/3"], "a shard is K/M with K from 1 to M"),
        ([*SEARCHES, "--shard", "x"], "a shard is K/M, such as 2/4; got 'x'"),
        ([*SEARCHES, "--shard", "1/2", "--seeds", "2"], "leave --shard out, or --seeds"),
        (["--suite", "pgd20", "--shard", "1/2"], "measures geometry over all images, so it has no shards"),
        (["--suite", "pgd20", "--search-precision", "bf16"], "has no search such as autoattack"),
        ([*SEARCHES, "--search-precision", "tf32"], "tf32 is a precision of GPUs, and this is a cpu"),
        ([*SEARCHES, "--search-precision", "fp16"], "attacks can search in fp32, tf32, bf16; got 'fp16'"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(run: Path, call: Any, arguments: list[str], said: str) -> None:
    status, out, told = call("evaluate", run, *arguments, "--device", "cpu")
    assert status == 2 and out == ""
    (line,) = [line for line in told if line.startswith("advdpnp: ")]
    assert said in line
    assert not (run / "eval").exists()


def test_a_setting_beside_the_usual_ones_makes_another_attack(run: Path, call: Any) -> None:
    few = ["--suite", "mine", "--limit", 20, "--threads", 1]
    call("evaluate", run, "--attack", "apgd-t:norm=l1,eps=3,steps=3,multi_eps=true,targets=1", *few)
    status, _, told = call("evaluate", run, "--attack", "apgd-t:norm=l1,eps=3,steps=3,targets=1", *few)
    assert status == 2 and "holds other attacks" in told[-1]


def test_few_classes_are_said_and_stored(tmp_path: Path, call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "pictures", {"a": 30, "b": 30, "c": 30})
    (tmp_path / "own.py").write_text(NEAREST_SHADE)
    monkeypatch.chdir(tmp_path)
    model = ["--model", "own.py:Net", "--data", "folder:pictures", "--image-size", 8]
    status, out, told = call("evaluate", *model, "--attack", "apgd-t:steps=2", "--suite", "mine", "--threads", 1)
    assert status == 0
    note = (
        "apgd-t: 3 classes: 2 targets instead of 9, and the target's margin instead of its DLR, which needs 4 classes"
    )
    assert note in told and f"  {note}" in out.splitlines()
    (path,) = tmp_path.glob("runs/**/eval/mine.json")
    assert read_json(path)["attacks"][0]["notes"] == [note]


@pytest.mark.slow
def test_shards_that_end_at_once_write_the_whole(run: Path) -> None:
    def start(*options: str) -> warm.Process:
        return warm.start(["-m", "advdpnp", "evaluate", str(run), *FEW, *options])

    assert start().wait(timeout=120) == 0
    whole = verdicts(stored(run))
    (run / "eval/mine.json").unlink()
    together = [start("--shard", f"{part}/3") for part in (1, 2, 3)]
    assert [process.wait(timeout=120) for process in together] == [0, 0, 0]
    assert verdicts(stored(run)) == whole


def test_a_search_in_another_precision_is_a_result_of_its_own(run: Path, call: Any) -> None:
    call("evaluate", run, *FEW)
    call("evaluate", run, *FEW, "--search-precision", "bf16")
    assert sorted(path.name for path in (run / "eval").iterdir()) == ["mine-bf16.json", "mine.json"]
