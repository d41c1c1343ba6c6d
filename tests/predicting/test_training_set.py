"""The nearest training images against a slow search, and how the embeddings are kept."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from advdpnp import api, data
from advdpnp.experiments import experiment_on
from advdpnp.predicting import TrainingImage, TrainingSet, predictions_text, read_training_set, write_training_set
from advdpnp.runs import Run

NAMES = tuple("abcd")


def spread(n: int = 500, width: int = 16) -> TrainingSet:
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(n, width, generator=draw).relu() * 3
    features[7] = features[8] = features[200]
    features[20:24] = 0
    return TrainingSet(features, torch.randint(0, 4, (n,), generator=draw), torch.arange(n) * 3 + 1, NAMES)


def slow_angle(f: Tensor, c: Tensor) -> float:
    return float(torch.rad2deg(torch.arccos(f.double() @ c.double() / f.double().norm() / c.double().norm())))


def indices(found: list[TrainingImage]) -> list[int]:
    return [other.index for other in found]


def test_the_nearest_to_a_prototype_have_its_class_and_the_smallest_angles() -> None:
    training, center = spread(), torch.arange(16.0)
    found = training.nearest_to_prototype(2, center, 5)
    rows = [row for row in range(500) if training.labels[row] == 2 and training.features[row].any()]
    slow = sorted(rows, key=lambda row: slow_angle(training.features[row], center))[:5]
    assert indices(found) == training.index[slow].tolist()
    assert {other.class_name for other in found} == {"c"} and {other.to for other in found} == {"prototype"}
    assert [other.angle_degrees for other in found] == pytest.approx(
        [slow_angle(training.features[row], center) for row in slow]
    )


def test_the_nearest_to_an_image_have_the_smallest_distances_and_equal_ones_keep_their_order() -> None:
    training = spread()
    asked = torch.stack([training.features[200], torch.zeros(16), torch.ones(16)])
    for f, found in zip(asked, training.nearest_to_images(asked, 6), strict=True):
        gaps = [float((row.double() - f.double()).norm()) for row in training.features]
        slow = sorted(range(500), key=lambda row: (gaps[row], row))[:6]
        assert indices(found) == training.index[slow].tolist()
        assert [other.distance for other in found] == pytest.approx([gaps[row] for row in slow], abs=0)
    assert training.nearest_to_images(asked, 1)[0][0].distance == 0
    assert training.nearest_to_images(asked, 1)[1][0].angle_degrees is None


def test_a_class_without_images_and_a_set_smaller_than_the_wish_give_what_there_is() -> None:
    training = spread()
    absent = TrainingSet(training.features, torch.zeros(500, dtype=torch.int64), training.index, NAMES)
    assert absent.nearest_to_prototype(3, torch.ones(16), 5) == []
    assert len(training.nearest_to_images(torch.ones(1, 16), 999)[0]) == 500


def test_the_embeddings_are_those_of_the_images_that_the_run_was_trained_on(run: Run) -> None:
    api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    stored = read_training_set(run, "last", NAMES)
    assert stored is not None and len(stored.labels) == 300
    from advdpnp.experiments import from_config

    task = api.make_task(from_config(run.config()), torch.device("cpu"))
    x, y = task.train.batch(torch.arange(300))
    assert torch.equal(stored.labels, y)
    torch.testing.assert_close(stored.features, api.load(run.folder).embed(x).detach(), rtol=1e-4, atol=1e-4)


def test_stored_embeddings_are_used_once_more_and_only_with_the_same_weights(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    path = run.eval_path("neighbors-last.npz")
    content = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("advdpnp.api.predicting.embed_training_set", lambda *_: pytest.fail("embedded again"))
        assert api.predict(run.folder, torch.zeros(1, 1, 8, 8)) == first
    weights, epoch = run.read_weights("last")
    run.write_weights("last", {name: value + 0.01 for name, value in weights.items()}, epoch)
    assert read_training_set(run, "last", NAMES) is None
    assert api.predict(run.folder, torch.zeros(1, 1, 8, 8)) != first
    assert path.read_bytes() != content


def test_embeddings_that_an_earlier_version_kept_are_made_anew(run: Run) -> None:
    api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    with np.load(run.eval_path("neighbors-last.npz")) as stored:
        arrays = dict(stored)
    sha = hashlib.sha256(run.weights_path("last").read_bytes()).hexdigest()
    run.write_arrays("neighbors-last.npz", arrays | {"weights": np.array(sha)})
    assert read_training_set(run, "last", NAMES) is None


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 no archive", b"cut"])
def test_damaged_embeddings_are_made_anew(run: Run, damage: bytes) -> None:
    first = api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    path = run.eval_path("neighbors-last.npz")
    path.write_bytes(path.read_bytes()[:-500] if damage == b"cut" else damage)
    assert api.predict(run.folder, torch.zeros(1, 1, 8, 8)) == first
    assert read_training_set(run, "last", NAMES) is not None


def test_a_folder_that_cannot_be_written_costs_only_the_keeping(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(run.folder))

    monkeypatch.setattr("advdpnp.api.predicting.write_training_set", full)
    found = api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    assert found.predicted[0].nearest_training and "could not be kept" in found.notes[0]


def test_missing_data_files_cost_the_training_images_and_nothing_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError("the files are gone")

    monkeypatch.setattr("advdpnp.data.load", missing)
    found = api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    assert found.notes == ("no nearest training images: the files are gone",)
    assert found.predicted[0].prototypes and not found.predicted[0].nearest_training
    write_training_set(run, "last", spread(width=64))
    found = api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    assert found.notes == ("no pictures of the nearest training images: the files are gone",)
    near = found.predicted[0].nearest_training
    assert len(near) >= 5 and all(other.pixels is None for other in near)


def test_neighbors_from_a_folder_are_called_by_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path / "data"))
    colors = {}
    # A class "a" after "B", and "a b" before "a" in none of them; of each name a color of its own.
    for number, kind in enumerate(["B", "a", "a b"] * 6):
        path = tmp_path / "photos" / kind / f"{number * 7 % 18:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        colors[f"{kind}/{path.name}"] = (13 * number, 255 - 13 * number, number)
        Image.new("RGB", (8, 8), colors[f"{kind}/{path.name}"]).save(path)
    facts = data.folder_spec(tmp_path / "photos", 8)
    settings = ["recipe.epochs=1", "recipe.attack.steps=1"]
    run = api.train(experiment_on(facts, "tiny", "at", settings=settings), tmp_path / "runs")
    for _ in ("computed", "read again"):
        (found,) = api.predict(run.folder, tmp_path / "photos" / "B" / "00.png").predicted
        assert len(found.nearest_training) > 5
        for other in found.nearest_training:
            assert other.pixels is not None
            assert tuple(other.pixels[:, 0, 0].tolist()) == colors[other.file]
            assert other.file.startswith(f"{other.class_name}/")
    assert "#" not in predictions_text(api.predict(run.folder, tmp_path / "photos" / "B" / "00.png"))


def test_neighbors_without_files_are_called_by_their_positions() -> None:
    training = spread()
    found = training.nearest_to_images(training.features[:1], 3)[0]
    assert [other.label for other in found] == [f"#{other.index}" for other in found]


def test_an_exported_folder_keeps_embeddings_and_can_be_exported_again(run: Run, folder: Path, tmp_path: Path) -> None:
    api.export(run.folder, tmp_path / "exported", images=16)
    first, again = (api.predict(tmp_path / "exported", folder) for _ in range(2))
    assert first.notes == again.notes == () and first.predicted == again.predicted
    assert read_training_set(Run(tmp_path / "exported"), "last", data.spec("digits").class_names) is not None
    assert first.predicted == api.predict(run.folder, folder).predicted
    api.export(run.folder, tmp_path / "exported", images=16)


@pytest.mark.parametrize(
    "odd",
    [
        {"features": np.zeros((300, 3), np.float32)},
        {"features": np.zeros((300, 64), np.float64)},
        {"features": np.float32(0)},
        {"features": np.full((300, 64), np.nan, np.float32)},
        {"labels": np.full(300, 10)},
        {"labels": np.full(300, -1)},
        {"labels": np.zeros(299, np.int64)},
        {"index": np.full(300, 10**9)},
        {"index": np.array("x")},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_embeddings_that_are_not_this_networks_are_made_anew(run: Run, odd: dict[str, np.ndarray]) -> None:
    first = api.predict(run.folder, torch.zeros(1, 1, 8, 8))
    with np.load(run.eval_path("neighbors-last.npz")) as stored:
        arrays = dict(stored)
    run.write_arrays("neighbors-last.npz", arrays | odd)
    assert api.predict(run.folder, torch.zeros(1, 1, 8, 8)) == first
