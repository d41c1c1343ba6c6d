import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from advdpnp import cli
from advdpnp.data import Images, describe, load_splits, measure, measure_text, spec

from .conftest import small, write_corrupted


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", "data", "describe", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_a_description_has_sizes_shape_classes_eps_and_files() -> None:
    facts = describe(spec("cifar10"))
    assert facts["images"] == "50000 training, 10000 test, 3x32x32"
    assert facts["classes"].startswith("10: airplane, automobile")
    assert [facts["eps"], describe(spec("mnist"))["eps"]] == ["8/255, l_inf", "0.3, l_inf"]
    assert "cifar-10-batches-py/test_batch" in facts["files"]
    assert describe(spec("digits"))["files"] == "embedded in scikit-learn"
    assert "CIFAR-10-C/fog.npy" in describe(spec("cifar10-c/fog/3"))["files"]


@pytest.mark.parametrize("levels", [255, 16])
def test_statistics_are_those_of_numpy_over_all_pixels(levels: int) -> None:
    draw = np.random.default_rng(0)
    # More images than are counted at a time.
    pixels = draw.integers(0, levels + 1, (5000, 3, 4, 4), np.uint8)
    images = Images(torch.from_numpy(pixels), torch.from_numpy(draw.integers(0, 9, 5000)), levels)
    found = measure(images, spec("cifar10"))
    values = pixels.astype(np.float64) / levels
    np.testing.assert_allclose(found["mean"], values.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(found["std"], values.std((0, 2, 3)), rtol=1e-12)
    counts = np.bincount(images.labels.numpy(), minlength=10)
    assert found["per_class"] == dict(zip(spec("cifar10").class_names, counts.tolist(), strict=True))
    assert found["per_class"]["truck"] == 0 and found["images"] == 5000


def test_equal_classes_are_told_once_and_others_one_by_one() -> None:
    found = {"images": 4, "per_class": {"a": 2, "b": 2}, "mean": [0.5], "std": [0.25]}
    assert measure_text(found) == "4 images; mean 0.5000; std 0.2500; 2 of each class"
    assert measure_text(found | {"per_class": {"a": 3, "b": 1}}).endswith("by class a: 3, b: 1")


def test_a_set_without_training_images_has_one_split(tmp_path: Path) -> None:
    write_corrupted(tmp_path)
    facts = spec("cifar10-c/fog/3")
    shrunk = small("cifar10").__class__(**{**facts.__dict__, "image_shape": (3, 4, 4), "test_size": 4})
    assert {split: len(images) for split, images in load_splits(shrunk, tmp_path).items()} == {"test": 4}


def test_the_command_counts_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "digits", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    published = load_digits()
    counts = [told["splits"][split]["per_class"][str(k)] for k in range(10) for split in ("train", "test")]
    assert np.reshape(counts, (10, 2)).sum(1).tolist() == np.bincount(published.target).tolist()
    assert told["sheet"] == "digits.png"
    with Image.open(tmp_path / "digits.png") as sheet:
        assert sheet.width > 640 and sheet.height > 640
    assert call(monkeypatch, "digits", "--out", "own/sheet.png") == 0
    assert "own/sheet.png" in capsys.readouterr().out
    assert (tmp_path / "own/sheet.png").read_bytes() == (tmp_path / "digits.png").read_bytes()


@pytest.mark.parametrize("name", ["svhn", "cifar10-c/fog"])
def test_without_files_the_facts_are_told_and_nothing_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, name, "--data-root", str(tmp_path)) == 0
    text = capsys.readouterr().out
    assert "8/255, l_inf" in text and f"nothing is counted or drawn: {tmp_path}" in text
    assert not list(tmp_path.iterdir())


def test_a_folder_of_images_is_described_and_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, color in (("avión", (255, 0, 0)), ("車", (0, 0, 255))):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(10):
            Image.new("RGB", (40, 30), color).save(tmp_path / "pictures" / name / f"{k}.png")
    arguments = ["folder:pictures", "--image-size", "16", "--data-root", "cache", "--out", "sheet.png", "--json"]
    assert call(monkeypatch, *arguments) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert splits["test"]["per_class"] == {"avión": 1, "車": 1}
    assert splits["train"]["mean"] == [0.5, 0.0, 0.5]
    with Image.open("sheet.png") as sheet:
        colors = {color: count for count, color in sheet.getcolors(10_000) or ()}
    assert colors[(255, 0, 0)] == colors[(0, 0, 255)] == 9 * 64**2
