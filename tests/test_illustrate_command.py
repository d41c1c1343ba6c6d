"""`advdpnp illustrate` as a person uses it: what it stores, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch

import advdpnp
from advdpnp import api
from advdpnp.evaluation import pictures
from advdpnp.runs import Json, read_json
from commands import QUICK, call

ATTACK = ["--attack", "pgd:steps=2"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One with 64 features and prototypes, one with 2 features."""
    out = tmp_path_factory.mktemp("runs")
    for name in ("tiny/adv-dpnp", "tiny-2d/at"):
        assert call("train", f"digits/{name}", "--out", str(out), *QUICK) == 0
    return {"wide": out / "digits/tiny/adv-dpnp/seed-0", "flat": out / "digits/tiny-2d/at/seed-0"}


def stored(run: Path) -> Json:
    found: Json = read_json(run / "eval/illustration/illustration.json")
    return found


def arrays(run: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(run / "eval" / name) as file:
        return dict(file)


def right(confusion: list[list[int]]) -> int:
    return sum(row[place] for place, row in enumerate(confusion))


def test_confusion_counts_the_verdicts_of_an_evaluation_with_the_same_attack(runs: dict[str, Path]) -> None:
    told = api.illustrate(runs["wide"], attack="pgd:steps=2", limit=70)
    evaluated = advdpnp.evaluate(runs["wide"], ["pgd:steps=2"], limit=70)
    (attacked,) = evaluated["attacks"]
    assert right(told["confusion"]["clean"]) == round(70 * evaluated["clean_accuracy"])
    assert right(told["confusion"]["adversarial"]) == round(70 * attacked["robust_accuracy"])
    assert told == stored(runs["wide"])
    assert (told["n"], told["indices"], told["dimensions"], told["centers"]) == (70, "0-69", 64, "prototypes")


def test_features_stars_and_explained_variance_are_those_of_the_network(runs: dict[str, Path]) -> None:
    told = api.illustrate(runs["wide"], attack="pgd:steps=2", limit=40)
    model, data = advdpnp.load(runs["wide"], device="cpu"), advdpnp.data.load("digits", "test")
    x, y = data.batch(torch.arange(40))
    with torch.no_grad():
        features, centers = model.embed(x).double(), model.class_centers().double()
    found = arrays(runs["wide"], "projection.npz")
    assert told["projected"] == 40 and found["labels"].tolist() == y.tolist() and str(found["stars"]) == "class centers"
    # PCA turns and moves: distances between stars and clean features are at most those of the space, and the plane
    # has the stated share of the variance.
    seen = np.linalg.norm(found["pca_clean"][:, None] - found["pca_stars"], axis=2)
    assert np.all(seen <= torch.cdist(features, centers).numpy() * (1 + 1e-4))
    drawn = np.concatenate([found["pca_clean"], found["pca_adversarial"]])
    assert found["explained"][0] / found["explained"][1] == pytest.approx(drawn[:, 0].var() / drawn[:, 1].var())
    assert not (runs["wide"] / "eval/embedding.npz").exists()


def test_features_of_two_dimensions_are_under_the_attack_of_figure_2(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("illustrate", str(runs["flat"]), "--limit", "20", "--eps", "0.3") == 0
    told = capsys.readouterr()
    assert "PGD-40: ℓ∞, ε = 0.3, step 0.01, random start" in told.out and "advdpnp report" in told.err
    found, plane = stored(runs["flat"]), arrays(runs["flat"], "embedding.npz")
    attack = {name: found["attack"][name] for name in ("name", "norm", "eps", "steps", "step_size")}
    assert attack == {"name": "pgd", "norm": "linf", "eps": "0.3", "steps": 40, "step_size": "0.01"}
    assert plane["clean"].shape == plane["adversarial"].shape == (20, 2) and found["centers"] == "rows"
    assert str(plane["attack"]) == "pgd-40 linf 0.3"
    assert not (runs["flat"] / "eval/projection.npz").exists()
    # Rows of a linear layer are no places: of wider features the stars would be the means of the classes.
    assert found["spread"]["clean"]["radius"] != [None] * 10


def test_the_gallery_shows_the_first_image_of_each_class_that_is_there(runs: dict[str, Path]) -> None:
    y = advdpnp.data.load("digits", "test").labels
    chosen = [int(place) for label in (3, 7) for place in (y == label).nonzero()[:4, 0]]
    api.illustrate(runs["wide"], attack="pgd:steps=2", indices=sorted(chosen))
    found = arrays(runs["wide"], "samples.npz")
    firsts = advdpnp.data.load("digits", "test").batch(torch.tensor([min(chosen[:4]), min(chosen[4:])]))[0]
    assert found["labels"].tolist() == [3, 7] and np.array_equal(found["clean"], firsts.numpy())
    assert np.abs(found["adversarial"] - found["clean"]).max() == pytest.approx(0.1, abs=1e-6)
    # Classes that are not there have no spread and no confusion.
    assert stored(runs["wide"])["spread"]["clean"]["angle_degrees"][0] is None
    assert stored(runs["wide"])["confusion"]["clean"][0] == [0] * 10


def test_the_same_call_gives_the_same_files(runs: dict[str, Path]) -> None:
    first = api.illustrate(runs["wide"], attack="pgd:steps=2", limit=30, seed=4)
    before = arrays(runs["wide"], "projection.npz")
    again = api.illustrate(runs["wide"], attack="pgd:steps=2", limit=30, seed=4)
    assert again == first
    assert all(np.array_equal(value, before[name]) for name, value in arrays(runs["wide"], "projection.npz").items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "digits"], "a run is illustrated on its own test images; got --data digits"),
        (["--limit", "9999"], "--limit must be from 1 to 360"),
        (["--attack", "pdg"], "unknown attack 'pdg'; nearest: pgd"),
        (["--norm", "l3"], "norm must be one of"),
        (["--eps", "nine"], "nine"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_changes_nothing(
    runs: dict[str, Path], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs["wide"] / "eval"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert call("illustrate", str(runs["wide"]), *options) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_who_asks_for_figure_2_as_a_suite_is_told_the_command(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", str(runs["flat"]), "--suite", "figure2") == 2
    assert "advdpnp illustrate RUN" in capsys.readouterr().err.splitlines()[-1]


def test_features_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="features of 1 of 2 images are not finite"):
        pictures._finite(torch.tensor([[1.0, 2.0], [torch.nan, 0.0]]))


NETWORK = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, 10)

    def forward(self, x):
        return self.layer(x.flatten(1))
"""


def test_a_network_from_elsewhere_has_images_and_confusion_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    network = ["--model", f"{tmp_path}/net.py:Net", "--own-weights", "--data", "digits", "--out", str(tmp_path)]
    assert call("illustrate", *network, "--limit", "30", *ATTACK) == 0
    assert "features of this network are not known" in capsys.readouterr().out
    (folder,) = (path.parents[1] for path in tmp_path.rglob("eval/samples.npz"))
    found = stored(folder)
    assert (found["dimensions"], found["spread"], found["projected"]) == (None, None, 0)
    assert sum(map(sum, found["confusion"]["adversarial"])) == 30
    assert not (folder / "eval/projection.npz").exists() and not (folder / "eval/embedding.npz").exists()
