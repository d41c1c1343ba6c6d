"""Suite corruptions: its numbers are those of a plain loop, whatever the shards and interruptions."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp import data
from advdpnp.attacks import suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.data.corruptions import CORRUPTIONS, corrupt
from advdpnp.evaluation import Evaluation, evaluate, merge_shards, over_seeds
from advdpnp.progress import result_text
from advdpnp.result_files import corruption_fields, score_interval
from advdpnp.results import read_evaluation
from advdpnp.runs import Json

N = 20


@pytest.fixture(scope="module")
def images() -> Images:
    return data.load("digits", "test")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """The nearest class mean of the training images, as a linear map."""
    x, y = data.load("digits", "train").batch(torch.arange(1437))
    means = torch.stack([x[y == k].mean(0).flatten() for k in range(10)])
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    with torch.no_grad():
        network[1].weight.copy_(means)
        network[1].bias.copy_(-means.square().sum(1) / 2)
    return network


def run(model: nn.Module, images: Images, callback: Silent | None = None, **fields: object) -> Json:
    wanted = Evaluation(suite("corruptions", 0.1), N, {"data": "digits", "checkpoint": "last"}, chunk=16, **fields)  # type: ignore[arg-type]
    return evaluate(model, images, wanted, callback or Silent())


@pytest.fixture(scope="module")
def whole(model: nn.Module, images: Images) -> Json:
    return advdpnp.evaluate(model, *images.batch(torch.arange(N)), suite="corruptions", seed=3)


def test_counts_are_those_of_a_plain_loop(whole: Json, model: nn.Module, images: Images) -> None:
    x, y = images.batch(torch.arange(N))
    right = {
        corruption: [
            int((model(corrupt(x, corruption, severity, seed=3)).argmax(1) == y).sum()) for severity in range(1, 6)
        ]
        for corruption in CORRUPTIONS
    }
    found = whole["corruptions"]
    assert 0 < min(map(min, right.values())) < max(map(max, right.values()))
    assert found["right"] == right and whole["corruption_source"] == "generated" and whole["attacks"] == []
    shares = torch.tensor([right[name] for name in CORRUPTIONS], dtype=torch.float64) / N
    assert found["mean_accuracy"] == pytest.approx(shares.mean().item())
    assert found["severity_accuracy"] == pytest.approx(shares.mean(0).tolist())
    assert list(found["corruption_accuracy"].values()) == pytest.approx(shares.mean(1).tolist())


def test_shards_add_up_to_the_whole(whole: Json, model: nn.Module, images: Images) -> None:
    merged = merge_shards([run(model, images, seed=3, shard=(k, 2)) for k in (1, 2)])
    assert merged["corruptions"] == whole["corruptions"] and merged["corruption_source"] == "generated"


def test_an_interrupted_evaluation_goes_on_where_it_was(
    whole: Json, model: nn.Module, images: Images, tmp_path: Path
) -> None:
    class Interrupting(Silent):
        left = 60

        def on_images(self, images: int) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    class Counting(Silent):
        seen = 0

        def on_images(self, images: int) -> None:
            self.seen += images

    partial, counting = tmp_path / "part.json", Counting()
    with pytest.raises(KeyboardInterrupt):
        run(model, images, Interrupting(), seed=3, partial=partial)
    assert run(model, images, counting, seed=3, partial=partial, resume=True)["corruptions"] == whole["corruptions"]
    # 96 passes of two chunks, of which 60 chunks were done.
    assert counting.seen == 96 * N - 30 * N


def test_a_partial_result_of_another_source_is_refused(model: nn.Module, images: Images, tmp_path: Path) -> None:
    class Other:
        name = "published"

        def images(self, x: Tensor, corruption: str, severity: int, index: Tensor, seed: int) -> Tensor:
            return x

    clean = run(model, images, partial=tmp_path / "part.json", corrupted=Other())
    assert clean["corruptions"]["mean_accuracy"] == pytest.approx(clean["clean_accuracy"])
    with pytest.raises(ValueError, match="corruption_source"):
        run(model, images, partial=tmp_path / "part.json", resume=True)


def test_seeds_are_summed_up(whole: Json) -> None:
    right = {**whole["corruptions"]["right"], "fog": [0] * 5}
    other = whole | {"seed": 4, "corruptions": corruption_fields(right, N)}
    values = [result["corruptions"]["mean_accuracy"] for result in (whole, other)]
    found = over_seeds([whole, other])["corruptions"]
    assert values[0] != values[1] and found["values"] == values and found["mean"] == pytest.approx(sum(values) / 2)


def test_the_interval_is_that_of_as_many_images(whole: Json) -> None:
    found = corruption_fields({"fog": [10, 5], "snow": [0, 5]}, 10)
    assert found["mean_accuracy"] == 0.5 and found["interval95"] == pytest.approx(score_interval(5, 10))
    assert corruption_fields({"fog": [10]}, 10)["interval95"][1] == 1


def test_what_is_generated_is_called_so_on_the_screen_and_read_back(whole: Json) -> None:
    shown = result_text(whole)
    assert "corruptions (generated)" in shown and "generated, not CIFAR-10-C" in shown and "worst case" not in shown
    assert all(corruption in shown for corruption in CORRUPTIONS)
    stored = read_evaluation(whole)
    assert stored.corruption_source == "generated" and stored.corruptions == whole["corruptions"]
    published = whole | {"corruption_source": "published"}
    assert "published CIFAR-10-C" in result_text(published) and "generated" not in result_text(published)
