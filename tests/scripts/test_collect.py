"""What came back is counted again: what is whole is kept, what is broken is named and left out."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp.metrics import pack
from advdpnp.result_files import ResultFiles
from advdpnp.runs import Json, Run, list_runs, read_json, write_json
from gpu.collect import collect
from gpu.scale import ARMS, TINY
from gpu.train import arm_experiment
from gpu.weights import to_bf16, write_parts

# Of 8 images, 6 are right; 4 under FGSM, 3 under PGD.
CLEAN, FGSM, PGD = (torch.arange(8) < right for right in (6, 4, 3))


def wilson(k: int, n: int = 8, z: float = 1.959963984540054) -> list[float]:
    """The score interval by its formula; z is the normal distribution's 97.5 % point."""
    center, spread = (k + z * z / 2) / (n + z * z), z * (k * (n - k) / n + z * z / 4) ** 0.5 / (n + z * z)
    return [center - spread, center + spread]


def row(name: str, verdicts: torch.Tensor) -> Json:
    right = int(verdicts.sum())
    counted = {"robust_accuracy": right / 8, "interval95": wilson(right), "verdicts": pack(verdicts)}
    attack = {"name": name, "norm": "linf", "eps": "8/255", "steps": 1, "step_size": "8/255", "random_start": True}
    return attack | {"restarts": 1, "seconds": 1.0} | counted


def evaluation(suite: str = "text") -> Json:
    return {
        "schema": 1, "suite": suite, "data": "digits", "checkpoint": "last", "precision": "fp32", "chunk": 16,
        "n": 8, "indices": "0-7", "clean_accuracy": 6 / 8, "clean_interval95": wilson(6),
        "clean_verdicts": pack(CLEAN), "attacks": [row("fgsm", FGSM), row("pgd", PGD)],
        "worst_case_accuracy": 3 / 8, "worst_case_interval95": wilson(3),
    }  # fmt: skip


def line(epoch: int, epochs: int = 2) -> Json:
    return {"epoch": epoch, "epochs": epochs, "loss": {"total": 2.0, "ce": 2.0}, "seconds": 1.0}


@pytest.fixture
def back(tmp_path: Path) -> tuple[list[Path], Json]:
    """The folders of three calls with two arms, and what the last slot.json holds."""
    folders = [tmp_path / f"back-{number}" for number in (1, 2, 3)]
    slot: Json = {"schema": 1, "slot": "A", "commit": "abc", "outcomes": [], "arms": {}, "weights": {}}
    for arm in ARMS[:2]:
        wanted = arm_experiment(arm, TINY, 2, 128, "folded")
        slot["arms"][arm.label] = {
            "folder": wanted.folder(Path()).as_posix(), "config": json.loads(json.dumps(wanted.config())),
            "environment": {"commit": "abc"}, "trained": True, "train": [line(1), line(2)],
            "eval": {"text": evaluation(), "autoattack": evaluation("autoattack")}, "partial": {}, "going_on": {},
        }  # fmt: skip
        sums = write_parts(to_bf16(wanted.build().state_dict()), folders[2], f"{arm.label}-bf16")
        slot["weights"][arm.label] = {"epoch": 2, "precision": "bf16", "files": sums}
    (folders[2] / "log.txt").write_text("a log")
    for folder in folders:
        write_json(folder / "slot.json", slot)
    return folders, slot


def test_what_is_whole_is_kept_as_runs_that_reports_and_evaluations_read(
    back: tuple[list[Path], Json], tmp_path: Path
) -> None:
    report = collect(back[0], tmp_path / "results")
    assert report["refused"] == [] and report["commit"] == "abc"
    assert report["kept"][:3] == ["at: 2 epochs", "at, text: 8 images", "at, autoattack: 8 images"]
    runs = [Run(folder) for folder in list_runs(tmp_path / "results")]
    assert [run.config()["defense"]["name"] for run in runs] == ["adv-dpnp", "at"]
    for run in runs:
        assert ResultFiles(run, "text").read() == evaluation() and len(run.epochs()) == 2
        assert not run.weights_path("last").exists()
    weighed = [Run(folder) for folder in list_runs(tmp_path / "results-weights")]
    for run, rounded in zip(runs, weighed, strict=True):
        assert rounded.config() == run.config() and rounded.epochs() == run.epochs()
        weights, epoch = rounded.read_weights("last")
        assert epoch == 2 and {w.dtype for w in weights.values()} == {torch.float32, torch.int64}
    built = arm_experiment(ARMS[0], TINY, 2, 128, "folded").build().state_dict()
    for name, value in weighed[1].read_weights("last")[0].items():
        torch.testing.assert_close(value, built[name], rtol=2**-8, atol=0)
    assert (tmp_path / "results" / "log-3.txt").read_text() == "a log"
    assert "arms" not in read_json(tmp_path / "results" / "slot.json")


def verdict(result: Json) -> None:
    result["attacks"][1]["verdicts"] = pack(~PGD)


def shorter(result: Json) -> None:
    result["attacks"][0]["verdicts"] = pack(FGSM.repeat(2))


def interval(result: Json) -> None:
    result["attacks"][0]["interval95"][1] += 1e-6


def worst(result: Json) -> None:
    result["worst_case_accuracy"] = 0.5


def images(result: Json) -> None:
    result["n"] = 7


def indices(result: Json) -> None:
    result["indices"] = "0-8"


def schema(result: Json) -> None:
    result["schema"] = 2


def lacks(result: Json) -> None:
    del result["clean_verdicts"]


def beyond(result: Json) -> None:
    # AutoAttack begins with the images that are right.
    result["attacks"] = [row("autoattack", torch.tensor([1, 1, 0, 0, 0, 0, 0, 1], dtype=torch.bool))]
    result["worst_case_accuracy"], result["worst_case_interval95"] = 2 / 8, wilson(2)


@pytest.mark.parametrize("harm", [verdict, shorter, interval, worst, images, indices, schema, lacks, beyond])
def test_a_result_that_is_not_as_its_verdicts_say_is_left_out_alone(
    harm: Callable[[Json], None], back: tuple[list[Path], Json], tmp_path: Path
) -> None:
    folders, slot = back
    harm(slot["arms"]["at"]["eval"]["text"])
    write_json(folders[2] / "slot.json", slot)
    report = collect(folders, tmp_path / "results")
    (refused,) = report["refused"]
    assert refused.startswith("at, text: ")
    assert "at, autoattack: 8 images" in report["kept"] and "mean, text: 8 images" in report["kept"]
    (run,) = (tmp_path / "results").rglob("at/seed-0")
    assert not (run / "eval" / "text.json").exists() and (run / "eval" / "autoattack.json").exists()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train": [line(1)]}, "over after 2 epochs; got 1"),
        ({"train": [line(1), line(1)]}, "counted from 1"),
        ({"train": [line(1), line(2, epochs=3)]}, "the recipe has 2"),
        ({"train": [line(1), line(2) | {"loss": {"total": None}}]}, "not finite"),
        ({"config": {"schema": 1}}, "no 'defense'"),
    ],
)
def test_an_arm_whose_training_is_not_whole_is_left_out_with_its_weights(
    change: Json, text: str, back: tuple[list[Path], Json], tmp_path: Path
) -> None:
    folders, slot = back
    slot["arms"]["mean"] |= change
    write_json(folders[2] / "slot.json", slot)
    report = collect(folders, tmp_path / "results")
    first, second = report["refused"]
    assert first.startswith("mean: ") and text in first and second.startswith("mean, weights: ")
    assert [Run(f).config()["defense"]["name"] for f in list_runs(tmp_path / "results")] == ["at"]


def test_a_training_that_time_ended_is_kept_without_results(back: tuple[list[Path], Json], tmp_path: Path) -> None:
    folders, slot = back
    slot["arms"]["mean"] |= {"trained": False, "train": [line(1)], "eval": {}, "partial": {"text.partial": {}}}
    del slot["weights"]["mean"]
    write_json(folders[2] / "slot.json", slot)
    report = collect(folders, tmp_path / "results")
    assert "mean: 1 epochs" in report["kept"] and report["refused"] == ["mean, text.partial: cut short"]


def test_weights_with_a_flipped_byte_are_left_out(back: tuple[list[Path], Json], tmp_path: Path) -> None:
    (path,) = back[0][2].glob("at-bf16*")
    path.write_bytes(path.read_bytes()[:-1] + b"\x55")
    report = collect(back[0], tmp_path / "results")
    assert len(report["refused"]) == 1 and report["refused"][0].startswith("at, weights: ValueError")
    assert "mean, weights: rounded to bf16" in report["kept"]


def test_a_torn_last_call_leaves_what_the_one_before_it_brought(back: tuple[list[Path], Json], tmp_path: Path) -> None:
    folders, slot = back
    (folders[2] / "slot.json").write_text('{"schema": 1')
    before: dict[str, Any] = copy.deepcopy(slot)
    before["weights"] = {}
    write_json(folders[1] / "slot.json", before)
    report = collect(folders, tmp_path / "results")
    assert len(report["refused"]) == 1 and report["refused"][0].startswith("back-3: ")
    assert "at, text: 8 images" in report["kept"]


def test_nothing_readable_and_a_folder_that_is_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing can be read"):
        collect([tmp_path / "none"], tmp_path / "results")
    write_json(tmp_path / "old" / "slot.json", {"schema": 0})
    with pytest.raises(ValueError, match="schema 0, not 1"):
        collect([tmp_path / "old"], tmp_path / "results")
    with pytest.raises(ValueError, match="there already"):
        collect([tmp_path / "old"], tmp_path / "old")
