import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp.runs import Run, list_runs, read_json, write_bytes, write_json
from advdpnp.stored_values import differences

CONFIG = {"schema": 1, "recipe": {"epochs": 2, "milestones": (0.5,)}, "seed": 0}


def make(folder: Path) -> Run:
    run = Run(folder)
    run.create_or_verify(CONFIG)
    return run


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as error:
        write_bytes(path, b"new")
    assert error.value.filename == str(path)
    assert read_json(path) == {"old": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_claiming_twice_is_fine_and_another_configuration_is_named_field_by_field(tmp_path: Path) -> None:
    run = make(tmp_path)
    assert run.create_or_verify(CONFIG) is True
    with pytest.raises(ValueError, match=r"recipe\.epochs: 2, not 3; seed: 0, not 1"):
        run.create_or_verify({"schema": 1, "recipe": {"epochs": 3, "milestones": (0.5,)}, "seed": 1})
    assert run.config() == json.loads(json.dumps(CONFIG))


def test_differences_name_missing_and_added_fields() -> None:
    assert list(differences({"a": 1, "b": {"c": 2}}, {"b": {"c": 2, "d": 3}})) == ["a: 1, not None", "b.d: None, not 3"]


def test_tied_weights_are_stored_under_all_their_names(tmp_path: Path) -> None:
    run, whole = make(tmp_path), torch.randn(4, 3)
    weights = {"encoder": whole, "decoder": whole, "transposed": whole.T, "row": whole[1]}
    run.write_weights("last", weights, epoch=1)
    found, _ = run.read_weights("last")
    assert found.keys() == weights.keys() and all(torch.equal(found[name], weights[name]) for name in weights)


def test_weights_and_arrays_come_back(tmp_path: Path) -> None:
    run = make(tmp_path)
    weights = {"w": torch.randn(3, 2), "n": torch.tensor(4)}
    run.write_weights("last", weights, epoch=7)
    found, epoch = run.read_weights("last")
    assert epoch == 7 and all(torch.equal(found[name], weights[name]) for name in weights)
    run.write_arrays("a.npz", {"x": np.arange(3)})
    assert np.load(run.eval_path("a.npz"))["x"].tolist() == [0, 1, 2]


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    run, other = make(tmp_path / "a"), Run(tmp_path / "b")
    other.create_or_verify({**CONFIG, "seed": 5})
    run.write_weights("last", {"w": torch.zeros(1)}, 1)
    run.write_state({"epoch": 1})
    for path in (run.weights_path("last"), run.state_path):
        copy = other.folder / path.relative_to(run.folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for read in (lambda: other.read_weights("last"), other.read_state):
        with pytest.raises(ValueError, match=r"checkpoint of another experiment .*seed: 0, not 5"):
            read()
    run.weights_path("last").write_bytes(b"not weights")
    run.state_path.write_bytes(run.state_path.read_bytes()[:-50])
    for read in (lambda: run.read_weights("last"), run.read_state):
        with pytest.raises(ValueError, match="is damaged"):
            read()


def test_missing_runs_and_weights_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no run"):
        Run(tmp_path).config()
    with pytest.raises(FileNotFoundError, match="--resume"):
        make(tmp_path).read_weights("last")


def test_a_line_that_a_kill_cut_short_is_left_out_and_repeated_epochs_are_dropped(tmp_path: Path) -> None:
    run = make(tmp_path)
    for epoch in (1, 2, 3):
        run.append_epoch({"epoch": epoch})
    with (tmp_path / "train.jsonl").open("a") as file:
        file.write('{"epoch": 4, "lo')
    assert [line["epoch"] for line in run.epochs()] == [1, 2, 3]
    run.keep_epochs(2)
    assert [line["epoch"] for line in run.epochs()] == [1, 2]
    assert (tmp_path / "train.jsonl").read_text().endswith('"epoch": 2}\n')


def test_a_log_that_goes_back_to_an_earlier_epoch_is_damaged(tmp_path: Path) -> None:
    run = make(tmp_path)
    for epoch in (1, 2, 2):
        run.append_epoch({"epoch": epoch})
    with pytest.raises(ValueError, match=r"train\.jsonl is damaged in line 3 \(epoch 2 comes after epoch 2\)"):
        run.keep_epochs(2)
    one, two, _ = (tmp_path / "train.jsonl").read_text().splitlines()
    (tmp_path / "train.jsonl").write_text(f"{two}\n{one}\n")
    with pytest.raises(ValueError, match=r"in line 2 \(epoch 1 comes after epoch 2\)"):
        run.epochs()
    # What a line that was removed leaves is in order.
    (tmp_path / "train.jsonl").write_text(f"{two}\n")
    assert [line["epoch"] for line in run.epochs()] == [2]


def test_runs_are_found_by_their_folders(tmp_path: Path) -> None:
    for name in ("x/seed-1", "x/seed-0", "y/z/seed-0"):
        make(tmp_path / name)
    (tmp_path / "notes").mkdir()
    assert [str(p.relative_to(tmp_path)) for p in list_runs(tmp_path)] == ["x/seed-0", "x/seed-1", "y/z/seed-0"]
    assert list_runs(tmp_path / "x/seed-1") == [tmp_path / "x/seed-1"]


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    import tempfile

    run = make(tmp_path)
    run.write_weights("last", {"w": torch.zeros(1)}, 1)
    tempfile.mkstemp(dir=tmp_path / "checkpoints", prefix=".state.pt.")
    run.remove_torn_writes()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["config.json", "last.safetensors"]


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    weights = {name: torch.arange(4.0) for name in "abcdef"}
    files = []
    for name in ("x", "y"):
        run = make(tmp_path / name)
        run.write_weights("last", weights, 1)
        files.append(run.weights_path("last").read_bytes())
    assert files[0] == files[1]


def test_json_that_is_nested_too_deeply_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    with pytest.raises(ValueError, match=r"deep\.json is damaged"):
        read_json(path)


def test_a_damaged_byte_of_a_state_is_seen(tmp_path: Path) -> None:
    run = make(tmp_path)
    run.write_state({"weights": torch.arange(5000.0)})
    whole = run.state_path.read_bytes()
    assert torch.equal(run.read_state()["weights"], torch.arange(5000.0))
    middle = len(whole) // 2
    run.state_path.write_bytes(whole[:middle] + bytes(512) + whole[middle + 512 :])
    with pytest.raises(ValueError, match=r"another checksum than it was written with.*remove it to start"):
        run.read_state()


def test_differences_are_short_and_tell_a_text_from_a_number() -> None:
    found = list(differences({"a": "1", "b": "x" * 100_000, "c": None}, {"a": 1, "b": 2, "c": {"d": [1] * 500}}))
    assert found[0] == "a: '1', not 1" and all(len(one) < 200 for one in found)
    assert list(differences(None, {"a": 1})) == ["the whole: None, not {'a': 1}"]
