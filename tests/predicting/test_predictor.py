"""Answers against the network itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp import api
from advdpnp.data import Images
from advdpnp.models.classifier import Backbone, Classifier, Head
from advdpnp.models.heads import LinearHead, PrototypeHead
from advdpnp.predicting import inputs
from advdpnp.runs import Run


class Flat(Backbone):
    """The pixels are the embedding."""

    features = 4

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


class Uncentered(Head):
    def forward(self, embedding: Tensor) -> Tensor:
        return embedding[:, :3]


def flat(head: Head) -> Classifier:
    return Classifier(Flat(), head).eval()


def prototypes(rows: list[list[float]]) -> Classifier:
    head = PrototypeHead(4, len(rows), alpha=2.0)
    head.prototypes.data = torch.tensor(rows)
    return flat(head)


def test_class_probability_and_top_are_those_of_the_logits(finished: Path, digits: Images) -> None:
    found = api.predict(finished, digits.pixels[:40], top=3, neighbors=0)
    model, (x, _) = api.load(finished).double(), digits.batch(torch.arange(40))
    logits = model(x.double()).detach()
    # A probability errs as far as its logit, 1000 times the rounding of float32 at the most here.
    for row, answer in enumerate(found.predicted):
        probabilities = torch.softmax(logits[row].double(), dim=0)
        assert answer.class_name == str(int(logits[row].argmax()))
        assert answer.probability == pytest.approx(float(probabilities.max()), rel=1e-3)
        expected = probabilities.sort(descending=True)
        assert [entry.class_name for entry in answer.top] == [str(label) for label in expected.indices[:3].tolist()]
        assert [entry.probability for entry in answer.top] == pytest.approx(expected.values[:3].tolist(), rel=1e-3)


def test_distances_and_angles_of_a_prototype_head_follow_from_its_logits(finished: Path, digits: Images) -> None:
    model, (x, _) = api.load(finished), digits.batch(torch.arange(20))
    features, logits, alpha = model.embed(x).detach().double(), model(x).detach().double(), 40.0
    for row, answer in enumerate(api.predict(finished, digits.pixels[:20], neighbors=0).predicted):
        norm = features[row].norm()
        # z = c . f / alpha with ||c|| = alpha.
        cosines = logits[row] / norm
        squares = norm**2 + alpha**2 - 2 * alpha * logits[row]
        angles = torch.tensor([center.angle_degrees for center in answer.prototypes])
        distances = torch.tensor([center.distance for center in answer.prototypes])
        torch.testing.assert_close(torch.cos(torch.deg2rad(angles)).double(), cosines, rtol=0, atol=1e-4)
        torch.testing.assert_close(distances.double(), squares.sqrt(), rtol=1e-4, atol=0)


def test_an_embedding_on_a_prototype_orthogonal_to_it_and_zero() -> None:
    model = prototypes([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]])
    x = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0]]).view(2, 1, 2, 2)
    on, zero = api.predict(model, x, class_names=("left", "right")).predicted
    assert [(c.class_name, c.distance, c.angle_degrees) for c in on.prototypes] == [
        ("left", 0.0, 0.0),
        ("right", pytest.approx(1.25**0.5), pytest.approx(90.0)),
    ]
    assert [(c.distance, c.angle_degrees) for c in zero.prototypes] == [(1.0, None), (0.5, None)]
    assert zero.class_name == "left" and zero.probability == 0.5


def test_the_answer_says_what_the_centers_are() -> None:
    x = torch.rand(2, 1, 2, 2)
    assert api.predict(prototypes([[1.0] * 4, [0.5] * 4]), x).prototypes_are == "prototypes"
    linear = api.predict(flat(LinearHead(4, 3)), x)
    assert linear.prototypes_are == "class weights" and len(linear.predicted[0].prototypes) == 3
    for model in (flat(Uncentered()), nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()):
        found = api.predict(model, x)
        assert found.prototypes_are is None and "no class centers" in found.notes[0]
        assert found.predicted[0].prototypes == () and len(found.predicted[0].top) == 3
        assert found.predicted[0].class_name in "012"


def test_files_are_answered_some_at_a_time(
    finished: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged, files = tmp_path / "damaged.png", sorted(folder.rglob("*.png"))
    damaged.write_bytes(b"no image")
    together = api.predict(finished, [damaged, damaged, damaged, *files])
    together_in_memory, decoded = inputs.decode_all, []

    def noted(paths: Sequence[Path], *others: Any) -> Any:
        decoded.append(len(paths))
        return together_in_memory(paths, *others)

    monkeypatch.setattr(inputs, "_BLOCK", 2)
    monkeypatch.setattr(inputs, "decode_all", noted)
    apart = api.predict(finished, [damaged, damaged, damaged, *files])
    assert max(decoded) == 2 and sum(decoded) == 3 + len(files)
    assert apart.images == together.images and len(apart.failed) == 3
    # The first block has no image that can be read, and training images are found all the same.
    assert apart.predicted[0].nearest_training


def test_only_answers_that_a_picture_shows_keep_pixels(finished: Path, digits: Images) -> None:
    answers = api.predict(finished, digits.pixels[:42]).predicted
    assert [answer.pixels.size for answer in answers] == [64] * 40 + [0] * 2
    assert answers[39].nearest_training[0].pixels is not None
    assert all(near.pixels is None for near in answers[40].nearest_training)


def test_an_image_gets_the_same_answer_alone_as_in_a_folder(finished: Path, digits: Images, folder: Path) -> None:
    many = api.predict(finished, digits.pixels[:200]).predicted
    for row in (0, 57, 131, 199):
        (alone,) = api.predict(finished, digits.pixels[row : row + 1]).predicted
        assert alone.top == many[row].top and alone.prototypes == many[row].prototypes
        assert alone.nearest_training == many[row].nearest_training
    together = api.predict(finished, folder)
    for answer in together.predicted:
        assert api.predict(finished, answer.file).predicted == (answer,)


def test_a_file_and_the_tensor_of_its_image_get_the_same_answer(finished: Path, digits: Images, folder: Path) -> None:
    (of_file,) = api.predict(str(finished), folder / "part 1" / "ziffer-3.png").predicted
    (of_tensor,) = api.predict(finished, digits.pixels[3:4]).predicted
    assert of_file.top == of_tensor.top and of_file.nearest_training == of_tensor.nearest_training


def test_answers_show_floats_and_bytes_at_the_levels_of_the_training_images(finished: Path, digits: Images) -> None:
    floats, _ = digits.batch(torch.arange(3))
    for x in (floats, digits.pixels[:3]):
        found = api.predict(finished, x)
        assert found.levels == 16
        for row, answer in enumerate(found.predicted):
            assert torch.equal(torch.from_numpy(answer.pixels), digits.pixels[row])
            assert all(near.pixels is not None and 8 < near.pixels.max() <= 16 for near in answer.nearest_training)


def test_json_holds_every_fact_and_null_for_an_undefined_angle(finished: Path, folder: Path) -> None:
    (folder / "part 0" / "a.png").write_bytes(b"")
    found = api.predict(finished, [folder / "part 0"]).json()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert set(found) == {"run", "checkpoint", "prototypes_are", "notes", "images"}
    broken, *others = found["images"]
    assert set(broken) == {"file", "error"} and len(others) == 3
    for image in others:
        assert set(image) == {"file", "class", "probability", "top", "prototypes", "nearest_training"}
        assert image["top"][0] == {"class": image["class"], "probability": image["probability"]}
        assert [center["class"] for center in image["prototypes"]] == list("0123456789")
        assert [other["to"] for other in image["nearest_training"]] == ["prototype"] * 5 + ["image"] * 5
        assert all(other["class"] == image["class"] for other in image["nearest_training"][:5])
    zero = api.predict(prototypes([[1.0] * 4, [0.5] * 4]), torch.zeros(1, 1, 2, 2)).json()
    assert [center["angle_degrees"] for center in zero["images"][0]["prototypes"]] == [None, None]


def test_bad_input_of_a_python_user_is_one_clear_line(finished: Path) -> None:
    model, x = flat(LinearHead(4, 3)), torch.rand(1, 1, 2, 2)
    diverged = flat(LinearHead(4, 3))
    diverged.head.linear.bias.data.fill_(torch.nan)
    for call, message in (
        (lambda: api.predict(model.train(), x), "call .eval()"),
        (lambda: api.predict(model.eval(), "cat.png"), "give files to a run's folder"),
        (lambda: api.predict(model, x, class_names=("a", "b")), "C = 2 class names; got"),
        (lambda: api.predict(diverged, x), "must be finite"),
        (lambda: api.predict(finished, x), r"images of digits are"),
        (lambda: api.predict(finished, torch.rand(1, 1, 8, 8), top=0), "top must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            call()
        assert "\n" not in str(refused.value)


def test_the_best_checkpoint_has_its_own_training_embeddings(run: Run) -> None:
    for checkpoint in ("last", "best"):
        advdpnp.predict(run.folder, torch.zeros(1, 1, 8, 8), checkpoint=checkpoint)
    assert sorted(path.name for path in run.eval_path("").iterdir()) == ["neighbors-best.npz", "neighbors-last.npz"]
