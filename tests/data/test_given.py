"""Images in memory as a data set, and the runs that are trained on them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import advdpnp
from advdpnp import experiment_on, given
from advdpnp.api import make_task
from advdpnp.data import Augmentation, load, stratified
from advdpnp.data.stratify import split_positions
from advdpnp.experiments import from_config
from advdpnp.predicting import Prediction
from advdpnp.runs import Run

CLASSES = 3
QUICK = ["recipe.epochs=1", "recipe.attack.steps=1"]


def photos(count: int = 60, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images that are all different, and their labels."""
    x = np.random.default_rng(first).integers(0, 256, (count, 8, 8, 3)).astype(np.uint8)
    return x, (np.arange(count) % CLASSES).astype(np.int32)


def test_a_tenth_of_each_class_is_set_aside_as_of_a_folder() -> None:
    x, y = photos()
    told: list[str] = []
    spec = given((x, y), name="My Photos", split_seed=4, tell=told.append)
    train, test = split_positions(torch.from_numpy(y).long(), 4)
    assert (spec.name, spec.image_shape, spec.class_names) == ("given-my-photos", (3, 8, 8), ("0", "1", "2"))
    assert (spec.train_size, spec.test_size, spec.holdout, spec.validation_size) == (54, 6, 6, 0)
    assert spec.augmentation == Augmentation(1, "reflect", flip=True) and spec.levels == 255
    pixels = torch.from_numpy(x).permute(0, 3, 1, 2)
    assert torch.equal(load(spec, "train").pixels, pixels[train]) and torch.equal(
        load(spec, "test").pixels, pixels[test]
    )
    (line,) = told
    assert line == (
        "given-my-photos: 54 images to train, 6 of them held out, and 6 to test, 3x8x8, 3 classes; in training: "
        "crop, 1 pixels of reflect padding, flip"
    )
    assert not given((x[..., 0], y)).augmentation.flip


def test_parts_that_are_given_are_kept_as_they_are() -> None:
    train, val, test = photos(30), photos(6, 1), photos(9, 2)
    spec = given({"train": train, "valid": val, "test": test}, class_names=["ant", "bee", "cat"])
    assert (spec.train_size, spec.validation_size, spec.test_size, spec.holdout) == (36, 6, 9, 6)
    assert spec.class_names == ("ant", "bee", "cat")
    stored = load(spec, "train").pixels.permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(stored, np.concatenate([train[0], val[0]]))
    np.testing.assert_array_equal(load(spec, "test").pixels.permute(0, 2, 3, 1), test[0])
    task = make_task(experiment_on(spec, "tiny", "at"), torch.device("cpu"))
    assert task.holdout is not None and len(task.train) == 30 and torch.equal(task.train.pixels[0], stored_first(train))
    assert sorted(task.holdout.labels.tolist()) == [0, 0, 1, 1, 2, 2]
    assert given({"train": train, "val": val}).test_size == 6
    told: list[str] = []
    alone = given({"test": test}, tell=told.append)
    assert told[0].startswith("given-images: 9 images to test, 3x8x8")
    assert (alone.train_size, alone.test_size) == (0, 9)


def stored_first(part: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(part[0][0]).permute(2, 0, 1)


def test_floats_that_are_no_bytes_are_trained_on_as_they_are() -> None:
    x = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    spec = given((x, np.arange(30) % 3))
    assert spec.levels == 1
    train = load(spec, "train")
    batch, _ = train.batch(torch.arange(2))
    rows, _ = split_positions(torch.arange(30) % 3, 0)
    assert torch.equal(batch, x[rows[:2]])
    mixed = given({"train": photos(30), "val": (x[:6], np.arange(6) % 3), "test": (x[6:9], np.arange(3))})
    whole = load(mixed, "train")
    assert whole.levels == 1 and torch.equal(whole.pixels[-6:], x[:6])
    torch.testing.assert_close(whole.pixels[0], stored_first(photos(30)) / 255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda x, y: {"train": (x, y), "test": (x, y + 1)},
            "from 0 to 2, since the first part has 3 classes; got 3",
        ),
        (lambda x, y: (x, y - 1), "labels must be numbers from 0; got -1 to train: leave out what has no label"),
        (lambda x, y: (x, y + 1), "labels must be 0 to C - 1; got 1 to 3 with no image of 0: number them anew"),
        (lambda x, y: (x, y * 0), "at least 2 classes; got 1"),
        (lambda x, y: (x[:7], y[:7]), r"each class in the data needs at least 3 images; got 1 \(2\), 2 \(2\)"),
        (lambda x, y: {"train": (x, y), "test": (x[:, :6], y)}, "of one size; got 3x8x8 to train, 3x6x8 to test"),
        (lambda x, y: {"a": (x, y)}, "a mapping must have train or test; got a"),
        (lambda x, y: {"val": (x, y), "dev": (x, y)}, "two parts for one purpose, val and dev"),
        (lambda x, y: {"train": (x / 2, y)}, "train: images of floats must be in"),
    ],
)
def test_parts_and_labels_that_do_not_fit_are_refused_in_one_line(change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        given(change(*photos()))
    assert "\n" not in str(caught.value)


def test_names_of_classes_are_the_caller_s_or_the_data_s() -> None:
    x, y = photos()
    for names, message in ((["a", "b"], "since 2 classes are named; got 2"), (["a", "b", "b"], "must be different")):
        with pytest.raises(ValueError, match=message):
            given((x, y), class_names=names)
    told: list[str] = []
    assert given((x, y), class_names=list("abcd"), tell=told.append).num_classes == 4
    assert told[0] == "no images of: d"


def test_test_images_that_are_training_images_and_unused_parts_are_told() -> None:
    told: list[str] = []
    x, y = photos()
    given({"train": (x, y), "test": (x[7:9], y[7:9]), "extra": (x, y)}, tell=told.append)
    assert told[0] == "not used: extra"
    assert told[-1].startswith("warning: 2 of 2 test images are among the training images too")
    assert told[-1].endswith("(test image 0 = train image 7, test image 1 = train image 8)")


def test_the_facts_are_stored_without_the_images() -> None:
    spec = given(photos())
    wanted = experiment_on(spec, "tiny", "at", settings=QUICK)
    assert wanted.data.images is spec.images  # type: ignore[attr-defined]
    again = from_config(json.loads(json.dumps(wanted.config())))
    assert again == wanted and again.data == spec
    with pytest.raises(FileNotFoundError, match=r"given in Python and are not stored: give them again there"):
        load(again.data, "test")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return advdpnp.train(experiment_on(given(photos(), name="mine"), "tiny", "at", settings=QUICK), tmp_path)


def test_a_run_recognizes_its_test_images_when_they_are_given_again(run: Run) -> None:
    x, y = photos()
    with pytest.raises(FileNotFoundError, match=r"the images of given-mine .* were given in Python and are not stored"):
        advdpnp.evaluate(run.folder, "clean")
    first = advdpnp.evaluate(run.folder, "clean", on_data=(x, y))
    assert (first["n"], first["data"]) == (6, "given-mine") and "warnings" not in first
    assert run.eval_path("clean.json").is_file()
    # However they come: as floats, channels first, or a mapping.
    for same in ((x / 255, y.astype(np.uint8)), (x.transpose(0, 3, 1, 2), y), {"train": (x, y)}, given((x, y))):
        again = advdpnp.evaluate(run.folder, "clean", on_data=same)
        assert "warnings" not in again
        assert again["clean_verdicts"] == first["clean_verdicts"] and again["data"] == "given-mine"


def test_other_images_are_another_test_set_and_said(run: Run) -> None:
    with pytest.warns(UserWarning, match=r"other images than the run's own .* \(checksum \w{12}, not \w{12}\)"):
        result = advdpnp.evaluate(run.folder, "clean", on_data=photos(9, 1))
    assert result["n"] == 9 and result["data"] == "given-images" and len(result["warnings"]) == 1
    assert run.eval_path("clean@given-images.json").is_file()
    with pytest.raises(ValueError, match=r"trained on images of \(3, 8, 8\) .* but given-images has \(1, 8, 8\)"):
        advdpnp.evaluate(run.folder, "clean", on_data=(photos()[0][..., 0], photos()[1]))


def test_another_split_of_the_same_images_is_no_test_set_of_the_run(run: Run) -> None:
    with pytest.warns(UserWarning, match="split with seed 0, these with 1: most of these test images are among those"):
        result = advdpnp.evaluate(run.folder, "clean", on_data=given(photos(), name="mine", split_seed=1))
    assert result["data"].startswith("given-mine-")


def test_the_training_images_of_a_run_with_a_test_set_are_known_as_such(tmp_path: Path) -> None:
    parts = {"train": photos(30), "test": photos(9, 1)}
    run = advdpnp.train(experiment_on(given(parts), "tiny", "at", settings=QUICK), tmp_path)
    assert advdpnp.evaluate(run.folder, "clean", on_data=photos(9, 1))["data"] == "given-images"
    with pytest.warns(UserWarning, match="these are the images that the run was trained on"):
        result = advdpnp.evaluate(run.folder, "clean", on_data=photos(30))
    assert result["data"].startswith("given-images-")


def test_predict_and_export_do_without_the_images(run: Run, tmp_path: Path, checked: list[str]) -> None:
    x = torch.from_numpy(photos()[0]).permute(0, 3, 1, 2)
    found = advdpnp.predict(run.folder, x[:2])
    assert found == advdpnp.predict(run.folder, photos()[0][:2])
    assert len(found.images) == 2 and "given in Python" in found.notes[0]
    advdpnp.export(run.folder, tmp_path / "exported")
    assert checked == ["256 random images (the test images were not at hand)"]


def test_a_run_on_floats_predicts_files_and_bytes(tmp_path: Path) -> None:
    x = torch.rand(30, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = experiment_on(given((x, np.arange(30) % 3)), "tiny", "at", settings=QUICK)
    run = advdpnp.train(wanted, tmp_path)
    as_bytes = (x[:2] * 255).round().to(torch.uint8)
    one, other = (advdpnp.predict(run.folder, images) for images in (as_bytes, as_bytes / 255))
    probabilities = [
        [image.probability for image in found.images if isinstance(image, Prediction)] for found in (one, other)
    ]
    assert one.levels == 255 and len(probabilities[0]) == 2
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-6)


def test_training_takes_data_and_names_what_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = photos()
    for arguments, options, message in (
        (
            ((x, y),),
            {},
            r"an experiment or its name; got tuple: .*train\(\"resnet18/adv-dpnp\", data=\(x, y\)\)",
        ),
        (
            ("digits/tiny/at",),
            {"data": (x, y)},
            "backbone and defense, as in resnet18/adv-dpnp; got 'digits",
        ),
        ((experiment_on(given((x, y)), "tiny", "at"),), {"data": (x, y)}, "an experiment, which has data of its own"),
        (("tiny/at",), {"data": "photos"}, "the text 'photos': a folder is"),
    ):
        with pytest.raises(ValueError, match=message):
            advdpnp.train(*arguments, tmp_path, **options)
    monkeypatch.setattr("advdpnp.api.training.fit", lambda *_: None)
    run = advdpnp.train("tiny/at", tmp_path, data={"train": (x, y)})
    assert run.folder == tmp_path / "given-images" / "tiny" / "at" / "seed-0"
    assert run.config()["data"]["train_size"] == 54 and run.config()["recipe"]["holdout"] == 6
    held = stratified(load(given((x, y)), "train").labels, 6, "holdout")
    assert len(held) == 6


@pytest.mark.parametrize("kind", ["numpy bytes", "numpy floats", "torch", "data set", "given"])
def test_a_network_is_evaluated_on_whatever_holds_the_images(kind: str) -> None:
    x, _ = photos(30)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)).eval()
    tensors = torch.from_numpy(x).permute(0, 3, 1, 2)
    y = network(tensors / 255).argmax(1).numpy()
    # Three of thirty labels are wrong.
    y[:3] = (y[:3] + 1) % 3
    forms: dict[str, tuple[Any, ...]] = {
        "numpy bytes": (x, y),
        "numpy floats": (x.transpose(0, 3, 1, 2) / 255, y.astype(np.uint8)),
        "torch": (tensors, torch.from_numpy(y)),
        "data set": (list(zip(x, y)),),
        "given": (given({"test": (x, y)}, class_names="abc"),),
    }
    result = advdpnp.evaluate(network, *forms[kind], suite=["fgsm"])
    assert result["n"] == 30 and result["clean_accuracy"] == 0.9


def test_pictures_of_several_sizes_are_resized_for_the_run_as_for_its_training(tmp_path: Path) -> None:
    x, y = photos(30)
    pictures = [Image.fromarray(image).resize((8 + place % 2, 9)) for place, image in enumerate(x)]
    told: list[str] = []
    spec = given((pictures, y), image_size=8, tell=told.append)
    assert told[0] == "images of 9x8, 9x9 become 8x8: the square in the middle, resized"
    run = advdpnp.train(experiment_on(spec, "tiny", "at", settings=QUICK), tmp_path)
    result = advdpnp.evaluate(run.folder, "clean", on_data=(pictures, y))
    assert result["data"] == "given-images" and "warnings" not in result


def test_a_finished_run_is_resumed_with_the_same_images_and_not_with_others(tmp_path: Path) -> None:
    wanted = experiment_on(given(photos()), "tiny", "at", settings=QUICK)
    weights = advdpnp.train(wanted, tmp_path).weights_path("last").read_bytes()
    run = advdpnp.train(experiment_on(given(photos()), "tiny", "at", settings=QUICK), tmp_path, resume=True)
    assert run.weights_path("last").read_bytes() == weights
    with pytest.raises(ValueError, match=r"another configuration \(data.train_checksum: \w+, not \w+\)"):
        advdpnp.train(experiment_on(given(photos(60, 1)), "tiny", "at", settings=QUICK), tmp_path, resume=True)
