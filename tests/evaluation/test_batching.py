"""AutoAttack over a data set: no verdict depends on how it was run."""

import copy
import functools
import itertools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp import metrics
from advdpnp.attacks import APGDCE, APGDT, FABT, AutoAttack, MarginPGD, Square, Suite
from advdpnp.attacks.stepwise import ChunkedModel, StepwiseAttack, ranked_targets, succeeds, targets
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate, merge_shards, over_seeds
from advdpnp.evaluation.single_pass import chunks_in_flight, model_to_attack, search_chunk
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json
from attacks.robust import digits, exact

N, CHUNK = 60, 8
EPS = 0.14
ATTACKS_TO_RUN: tuple[StepwiseAttack[Any], ...] = (
    APGDCE(eps=EPS, steps=1),
    # Some of its attempts have a target, and some none.
    MarginPGD(eps=EPS, steps=1, targets=2),
    APGDT(eps=EPS, steps=3, targets=3),
    FABT(eps=EPS, steps=6, targets=2),
    Square(eps=EPS, steps=30),
)


class Short(AutoAttack):
    """AutoAttack's searches with small budgets."""

    name = "short"
    tiers = (("first three", 3),)

    @property
    def attacks_to_run(self) -> tuple[StepwiseAttack[Any], ...]:
        return ATTACKS_TO_RUN


SUITE = Suite("short", "", (Short(eps=EPS),), features=None)


def subject(model: nn.Module | None = None) -> tuple[nn.Module, Images]:
    """A network whose rounding does not depend on the shape of a batch, on any processor, or another one; images."""
    network, x, y = exact(digits(N))
    return model or network, Images((x * 16).round().to(torch.uint8), y, levels=16)


def run(model: nn.Module, images: Images, callback: Silent | None = None, **fields: Any) -> Json:
    wanted = Evaluation(**{"suite": SUITE, "n": N, "facts": {}, "chunk": 32, "search_chunk": CHUNK, **fields})
    return evaluate(model, images, wanted, callback or Silent())


@functools.cache
def whole() -> Json:
    """The ordinary run."""
    return run(*subject())


def verdicts(result: Json) -> Tensor:
    """(attacks + 1, n) bool: clean, and after each attack."""
    row = result["attacks"][0]
    packed = [result["clean_verdicts"], *(search["verdicts"] for search in row["searches"])]
    return torch.stack([metrics.unpack(text, result["n"]) for text in packed])


def timeless(result: Json) -> Json:
    """The result without clock times."""
    for row in result["attacks"]:
        for one in (row, *row["searches"], *row["tiers"]):
            del one["seconds"]
    return result


def alone(model: nn.Module, images: Images, number: int) -> list[bool]:
    """What a plain loop finds for one image: right when clean, and after each search.

    The image fills a whole chunk, since a network may round differently in batches of other shapes.
    """
    attacked_model = model_to_attack(model)
    index = torch.full((CHUNK,), number)
    x, y = images.batch(index)
    network, judge, noise = ChunkedModel(attacked_model), ChunkedModel(model), IndexNoise(0, index)
    right = [bool(judge.logits(x).argmax(1)[0] == y[0])]
    ranked = ranked_targets(network.logits(x), y)
    for search in ATTACKS_TO_RUN:
        right.append(right[-1] and not any(_succeeds(search, a, network, judge, x, y, ranked, noise)
                                           for a in range(search.attempts(10))))  # fmt: skip
    return right


def _succeeds(
    search: StepwiseAttack[Any], attempt: int, network: ChunkedModel, judge: ChunkedModel,
    x: Tensor, y: Tensor, ranked: Tensor, noise: IndexNoise,
) -> bool:  # fmt: skip
    state = search.init(x, y, targets(search, attempt, ranked, y), attempt, noise)
    for _ in range(search.length):
        seen = search.step(network, state, noise)
        if (
            succeeds(search, state, seen, torch.ones(CHUNK).bool())[0]
            and judge.logits(seen.points).argmax(1)[0] != y[0]
        ):
            return True
    return False


def test_every_verdict_is_that_of_a_plain_loop_over_single_images() -> None:
    model, images = subject()
    expected = torch.tensor([alone(model, images, number) for number in range(24)]).T
    found = verdicts(whole())
    assert (found[:, :24] != expected).sum() == 0
    # Each kind of verdict occurs.
    assert 0 < found[-1].sum() < found[1].sum() < found[0].sum() < N


@pytest.mark.parametrize("batch_size", [24, 200])
def test_no_verdict_depends_on_the_batch_size(batch_size: int) -> None:
    differing = verdicts(whole()) != verdicts(run(*subject(), batch_size=batch_size))
    assert differing.sum() == 0


def test_no_verdict_depends_on_the_order_of_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = subject()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    expected = verdicts(whole())[:, order]
    monkeypatch.setattr(Evaluation, "places", lambda self, device: order)
    assert (verdicts(run(model, images)) != expected).sum() == 0


@pytest.mark.parametrize("parts", [2, 7])
def test_shards_merge_to_the_verdicts_of_the_whole(parts: int) -> None:
    model, images = subject()
    shards = [run(model, images, shard=(k, parts)) for k in range(1, parts + 1)]
    merged = merge_shards(shards)
    assert (verdicts(merged) != verdicts(whole())).sum() == 0
    for key in ("n", "indices", "clean_accuracy", "worst_case_accuracy", "worst_case_interval95"):
        assert merged[key] == whole()[key]
    assert merged["clean_cross_entropy"] == pytest.approx(whole()["clean_cross_entropy"], rel=1e-6)
    row, expected = merged["attacks"][0], whole()["attacks"][0]
    for key in ("robust_accuracy", "interval95", "attacked", "broken", "unconfirmed"):
        assert row[key] == expected[key]


def test_shards_of_different_evaluations_are_not_merged() -> None:
    model, images = subject()
    first, second = (run(model, images, shard=(k, 2), seed=k) for k in (1, 2))
    with pytest.raises(ValueError, match=r"shard 2 is of another evaluation .*seed"):
        merge_shards([first, second])
    with pytest.raises(ValueError, match="expected shard 1 of 2; got 2 of 2"):
        merge_shards([second, first])


class Stop(Silent):
    """Ctrl-C after some iterations."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def on_steps(self, left: int, bound: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_resumed_wherever_it_was_interrupted_the_result_is_the_same(tmp_path: Path) -> None:
    model, images = subject()
    expected = timeless(copy.deepcopy(whole()))
    for stop in (1, 30, 60):
        partial = tmp_path / f"{stop}.json"
        with pytest.raises(KeyboardInterrupt):
            run(model, images, Stop(stop), partial=partial)
        resumed = timeless(run(model, images, partial=partial, resume=True))
        # Which of several attempts is the first to break an image may differ, and so its norm in the last bits.
        for key in ("largest_norm", "mean_norm"):
            for one, other in zip(_rows(resumed), _rows(expected), strict=True):
                assert one.pop(key, None) == pytest.approx(other.get(key), rel=0.2)
        assert resumed == {**expected, "attacks": _without_norms(expected["attacks"])}


def _rows(result: Json) -> Iterable[Json]:
    for row in result["attacks"]:
        yield row
        yield from row["searches"]


def _without_norms(rows: list[Json]) -> list[Json]:
    kept = [{key: value for key, value in row.items() if key not in ("largest_norm", "mean_norm")} for row in rows]
    return [row | ({"searches": _without_norms(row["searches"])} if "searches" in row else {}) for row in kept]


def test_a_finished_evaluation_resumes_without_asking_the_network_for_more(tmp_path: Path) -> None:
    model, images = subject()
    run(model, images, partial=tmp_path / "done.json")
    steps: list[int] = []

    class Count(Silent):
        def on_search(self, name: str, images: int, left: int) -> None:
            steps.append(left)

    run(model, images, Count(), partial=tmp_path / "done.json", resume=True)
    assert steps == [0] * len(ATTACKS_TO_RUN)


def test_the_running_bound_falls_to_the_result_and_the_work_left_to_none() -> None:
    model, images = subject()
    bounds: list[float] = []
    left: list[int] = []

    class Watch(Silent):
        def on_steps(self, steps: int, bound: float) -> None:
            bounds.append(bound)
            left.append(steps)

    result = run(model, images, Watch())
    assert all(later <= earlier for earlier, later in itertools.pairwise(bounds))
    assert bounds[0] <= result["clean_accuracy"] and bounds[-1] == result["worst_case_accuracy"]
    assert left[-1] == 0 and min(left) == 0


class Liar(nn.Module):
    """An attacked model that misclassifies every image."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x)
        return -logits


def test_a_success_counts_only_where_the_network_itself_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = subject()
    monkeypatch.setattr(sys.modules["advdpnp.evaluation.evaluate"], "model_to_attack", lambda *_: Liar(model))
    result = run(model, images, suite=Suite("one", "", (APGDCE(eps=0.0, steps=2),), features=None))
    (row,) = result["attacks"]
    assert row["robust_accuracy"] == result["clean_accuracy"]
    assert row["broken"] == 0 and row["unconfirmed"] == row["attacked"] == round(N * result["clean_accuracy"])


def test_logits_that_are_no_numbers_are_a_success() -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits = x.flatten(1)[:, :10] * 0 + torch.eye(10)[0]
            off_grid = ((x * 16).round() - x * 16).abs().flatten(1).amax(1, keepdim=True) > 1e-4
            return torch.where(off_grid, torch.nan, logits)

    _, images = subject()
    result = run(Broken().eval(), images, suite=Suite("one", "", (APGDCE(eps=0.1, steps=3),), features=None))
    (row,) = result["attacks"]
    assert row["broken"] == row["attacked"] == round(N * result["clean_accuracy"]) > 0
    assert row["robust_accuracy"] == 0


def test_the_first_searches_have_their_own_number_where_they_have_a_name() -> None:
    (row,) = run(*subject())["attacks"]
    (tier,), third = row["tiers"], row["searches"][2]
    named = {name: third[name] for name in ("robust_accuracy", "interval95", "verdicts")}
    assert {name: value for name, value in tier.items() if name != "seconds"} == {"name": "first three"} | named
    assert tier["robust_accuracy"] > row["robust_accuracy"] and tier["seconds"] <= row["seconds"]


def test_norms_of_the_successes_are_within_the_radius() -> None:
    for row in run(*subject())["attacks"][0]["searches"]:
        assert 0 <= row["mean_norm"] <= row["largest_norm"] <= EPS * (1 + 1e-5) + 1e-7
        assert (row["largest_norm"] > 0) == (row["broken"] > 0)


def test_when_memory_runs_out_the_chunk_is_halved_recorded_and_nothing_finished_is_lost() -> None:
    model, images = subject()

    class Hungry(nn.Module):
        """Takes 32 rows at first, and 4 once it has been asked often."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.asked = model, 0

        def forward(self, x: Tensor) -> Tensor:
            self.asked += 1
            if self.asked > 40 and len(x) > 4:
                raise torch.OutOfMemoryError("CUDA out of memory")
            logits: Tensor = self.model(x)
            return logits

    found, expected = run(Hungry().eval(), images), whole()
    assert found["attacks"][0]["chunk"] == 4
    assert [search["chunk"] for search in found["attacks"][0]["searches"]] == [8, *[4] * (len(ATTACKS_TO_RUN) - 1)]
    assert found["attacks"][0]["robust_accuracy"] == expected["worst_case_accuracy"]


def test_a_network_that_fits_in_no_memory_is_an_error() -> None:
    class Hungry(nn.Module):
        asked = 0

        def forward(self, x: Tensor) -> Tensor:
            Hungry.asked += 1
            if Hungry.asked > 30:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return x.flatten(1)[:, :10]

    with pytest.raises(torch.OutOfMemoryError):
        run(Hungry().eval(), subject()[1])


def test_seeds_give_mean_spread_and_count() -> None:
    model, images = subject()
    results = [whole(), *(run(model, images, seed=seed) for seed in (1, 2))]
    found = over_seeds(results)
    values = torch.tensor([result["worst_case_accuracy"] for result in results], dtype=torch.float64)
    assert found["count"] == 3 and found["seeds"] == [0, 1, 2]
    assert found["worst_case"]["mean"] == pytest.approx(values.mean().item())
    assert found["worst_case"]["spread"] == pytest.approx(values.std().item())
    assert found["attacks"][0]["values"] == [row["attacks"][0]["robust_accuracy"] for row in results]


@pytest.mark.parametrize("classes", [2, 3, 100])
def test_any_number_of_classes_is_attacked_with_the_standard_searches(classes: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).eval()
    _, images = subject()
    with torch.no_grad():
        y = model(images.batch(torch.arange(N))[0]).argmax(1)
    result = run(model, Images(images.pixels, y, 16), search_chunk=16)
    row = result["attacks"][0]
    assert result["clean_accuracy"] == 1 and row["robust_accuracy"] < 1
    assert bool(row["notes"]) == (classes < 4)
    if classes < 4:
        assert "margin" in row["notes"][0] and str(classes) in row["notes"][0]


def test_a_search_in_low_precision_is_named_and_its_verdicts_are_those_of_fp32() -> None:
    model, images = subject(digits(N)[0])
    result, fp32 = run(model, images, search_precision="bf16"), run(model, images)
    assert result["search_precision"] == "bf16" and "search_precision" not in fp32
    assert result["clean_verdicts"] == fp32["clean_verdicts"]
    # Neither search is the stronger one: of the images that fall to one alone, either has its half.
    assert metrics.mcnemar(verdicts(result)[-1], verdicts(fp32)[-1]) > 1e-4
    with pytest.raises(ValueError, match="attacks can search in fp32, tf32, bf16; got 'fp16'"):
        run(model, images, search_precision="fp16")
    with pytest.raises(ValueError, match="only networks that advdpnp has built"):
        run(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval(), images, search_precision="bf16")


def test_bad_shards_are_refused_in_one_line() -> None:
    for shard in ((0, 2), (3, 2), (1, N + 1)):
        with pytest.raises(ValueError, match=r"a shard (is )?K/M"):
            run(*subject(), shard=shard)


def test_smaller_images_are_searched_in_larger_chunks_and_no_more_rows_are_in_flight_than_a_chunk_has() -> None:
    def chunk(*shape: int) -> int:
        return search_chunk(Images(torch.zeros(1, *shape, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)))

    assert [chunk(3, 224, 224), chunk(3, 32, 32), chunk(1, 28, 28), chunk(1, 8, 8)] == [4, 16, 32, 64]
    assert [chunks_in_flight(size, 0) for size in (4, 16, 32, 64, 512)] == [4, 4, 4, 2, 1]
    assert [chunks_in_flight(16, rows) for rows in (1, 16, 40, 64)] == [1, 1, 2, 4]
