"""Images of one's choice: their verdicts, shards, paired tests and reports, which never meet those of other images."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advdpnp import api
from advdpnp.attacks import PGD, Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate, merge_shards
from advdpnp.evaluation.single_pass import usual_chunk
from advdpnp.experiments import experiment
from advdpnp.metrics import unpack
from advdpnp.report import write_report
from advdpnp.runs import Json
from external.networks import digits, trained

CHOSEN = (3, 4, 5, 50, 90, 91)
SUITE = Suite("s", "", (PGD(eps=0.15, steps=3),), features=None)
ATTACK = "pgd:steps=3"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=0", "recipe.attack.steps=1")
    return api.train(experiment("digits/tiny/at", settings=settings), tmp_path_factory.mktemp("runs")).folder


def verdicts(result: Json) -> np.ndarray:
    stored = [result["clean_verdicts"], *(row["verdicts"] for row in result["attacks"])]
    return np.stack([unpack(text, result["n"]).numpy() for text in stored])


def measured(**fields: Any) -> Json:
    wanted = Evaluation(suite=SUITE, facts={}, **{"chunk": 32, **fields})
    return evaluate(trained(), digits(), wanted, Silent())


def test_chosen_images_have_the_verdicts_that_they_have_among_all() -> None:
    whole, chosen = measured(n=100), measured(n=len(CHOSEN), chosen=CHOSEN)
    assert (chosen["n"], chosen["indices"]) == (6, "3-5,50,90-91")
    assert np.array_equal(verdicts(chosen), verdicts(whole)[:, CHOSEN])
    assert 0 < verdicts(whole)[1].mean() < 1


def test_shards_of_chosen_images_make_the_whole() -> None:
    parts = [measured(n=len(CHOSEN), chosen=CHOSEN, shard=(part, 3)) for part in (1, 2, 3)]
    assert [part["indices"] for part in parts] == [f"3-5,50,90-91 part {part} of 3" for part in (1, 2, 3)]
    merged, whole = merge_shards(parts), measured(n=len(CHOSEN), chosen=CHOSEN)
    assert merged["indices"] == whole["indices"] and np.array_equal(verdicts(merged), verdicts(whole))
    other = measured(n=len(CHOSEN), chosen=(*CHOSEN[:-1], 92), shard=(3, 3))
    with pytest.raises(ValueError, match="images to: 3-5,50,90-91, not 3-5,50,90,92"):
        merge_shards([*parts[:2], other])


@pytest.mark.parametrize("chosen", [(1, 0, 2), (0, 0, 1), (0, 1)])
def test_positions_out_of_order_or_of_another_count_are_refused(chosen: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="chosen must be n = 3 ascending positions"):
        Evaluation(suite=SUITE, n=3, facts={}, chosen=chosen)


def test_positions_beyond_the_test_set_are_refused_before_anything_runs(run: Path) -> None:
    with pytest.raises(ValueError, match="--indices must be from 0 to 359, the test images there are; got 360"):
        api.evaluate(run, [ATTACK], indices="0,360")
    assert not (run / "eval").exists()


def test_limit_takes_the_first_of_the_chosen_images(run: Path) -> None:
    result = api.evaluate(run, [ATTACK], indices="7,3,9", limit=2, suite_name="limited")
    assert result["indices"] == "3,7"
    with pytest.raises(ValueError, match="--limit must be from 1 to 3, the images of --indices; got 4"):
        api.evaluate(run, [ATTACK], indices="7,3,9", limit=4, suite_name="limited")


def test_the_first_images_are_the_same_whether_limited_or_named(run: Path) -> None:
    limited = api.evaluate(run, [ATTACK], limit=20, suite_name="first")
    finished = api.evaluate(run, [ATTACK], indices="0-19", suite_name="first", resume=True)
    assert finished == limited and limited["indices"] == "0-19"


def test_results_of_other_images_are_neither_compared_nor_in_one_table(
    run: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = api.train(
        experiment("digits/tiny/trades", settings=("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=0")),
        tmp_path / "runs",
    ).folder
    api.evaluate(run, "pgd20", indices="0-8,30")
    api.evaluate(other, "pgd20", indices="0-8,31")
    with pytest.raises(ValueError, match=r"indices: 0-8,30, not 0-8,31.*evaluate both"):
        api.compare(run, other, "pgd20")
    page = write_report([run, other], tmp_path / "page")
    with (tmp_path / "page/results.csv").open() as file:
        rows = {(row["indices"], row["method"]) for row in csv.DictReader(file) if row["suite"] == "pgd20"}
    assert rows == {("0-8,30", "AT"), ("0-8,31", "TRADES")}
    assert "10 test images (0-8,30)" in page.read_text() and "10 test images (0-8,31)" in page.read_text()


@pytest.mark.parametrize(
    ("n", "rows"), [(1, 16), (16, 16), (17, 32), (64, 64), (65, 128), (128, 128), (129, 128), (10_000, 128)]
)
def test_the_rows_of_a_forward_follow_the_number_of_images(n: int, rows: int) -> None:
    assert usual_chunk(n) == rows


def test_one_image_costs_the_forwards_of_16_and_has_the_verdict_that_it_has_among_128() -> None:
    class Counting(torch.nn.Module):
        rows = 0

        def __init__(self) -> None:
            super().__init__()
            self.inner = trained()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            Counting.rows += len(x)
            logits: torch.Tensor = self.inner(x)
            return logits

    def cost(n: int) -> tuple[int, Json]:
        Counting.rows = 0
        found = api.evaluate_model(Counting().eval(), *images.batch(torch.arange(n)), suite=[PGD(eps=0.15)])
        return Counting.rows, found

    images = digits()
    (few, one), (many, all_) = cost(1), cost(128)
    assert one["chunk"] == 16 and all_["chunk"] == 128
    assert np.array_equal(verdicts(one), verdicts(all_)[:, :1])
    assert few < many / 5


def test_labels_of_images_that_are_not_chosen_do_not_matter() -> None:
    images = digits()
    labels = images.labels.clone()
    labels[10:] = 99
    odd = Images(images.pixels, labels, images.levels)
    wanted = Evaluation(suite=SUITE, n=2, facts={}, chosen=(3, 5), chunk=16)
    assert evaluate(trained(), odd, wanted, Silent())["n"] == 2
    with pytest.raises(ValueError, match="labels must be in"):
        evaluate(trained(), odd, Evaluation(suite=SUITE, n=2, facts={}, chosen=(3, 50), chunk=16), Silent())
