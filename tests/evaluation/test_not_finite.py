"""What is no number is no robustness: wrong answers, unevaluated images, and when an evaluation is refused."""

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import APGDCE, FGSM, PGD, Attack, AutoAttack, CarliniWagner, Square, Suite, suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate, merge_shards, over_seeds, paired_test
from advdpnp.evaluation.verdicts import UnevaluatedError
from advdpnp.metrics import pack, unpack, wilson
from advdpnp.progress import comparison_text, result_text
from advdpnp.result_files import Verdicts
from advdpnp.runs import Json, read_json, write_json
from attacks.broken import Holes, NoGradient, off_grid
from attacks.robust import digits

N, EPS = 200, 0.1


class Marked:
    """True for these images of the digits, and for what is nearer to one of them than digits are to each other."""

    def __init__(self, *places: int) -> None:
        self._marked = digits(N)[1][list(places)].flatten(1)

    def __call__(self, x: Tensor) -> Tensor:
        far = torch.linalg.vector_norm(x.flatten(1)[:, None] - self._marked, ord=torch.inf, dim=2)
        return (far <= 2.1 * EPS).any(dim=1)


def run(model: nn.Module, *attacks: Attack, n: int = N, **fields: Any) -> Json:
    _, x, y = digits(n)
    images = Images((x * 16).round().to(torch.uint8), y, levels=16)
    wanted = Evaluation(**{"suite": Suite("some", "", attacks, None), "n": n, "facts": {}, "chunk": 64, **fields})
    result = evaluate(model, images, wanted, Silent())
    json.dumps(result, allow_nan=False)
    return result


def kept(row: Json, n: int = N) -> Verdicts:
    found = Verdicts.read(row, n)
    return Verdicts(torch.from_numpy(found.robust), torch.from_numpy(found.unevaluated))


class Short(AutoAttack):
    name = "short"

    @property
    def attacks_to_run(self) -> tuple[Any, ...]:
        return APGDCE(eps=EPS, steps=4), Square(eps=EPS, steps=5)


SHORT = Short(eps=EPS)
BOTH = [PGD(eps=EPS, steps=4), SHORT]
IDS = ["pgd", "searches"]


@pytest.mark.parametrize("name", ["pgd20", "quick", "autoattack", "autoattack-quick"])
def test_a_network_without_an_answer_off_the_grid_is_not_robust(name: str) -> None:
    model, *_ = digits(1)
    result = run(Holes(model, off_grid), n=30, suite=suite(name, EPS, 64))
    assert result["clean_accuracy"] == run(model, n=30)["clean_accuracy"] > 0.9
    assert result["worst_case_accuracy"] == 0 and "worst_case_unevaluated" not in result
    for row in result["attacks"]:
        assert row["robust_accuracy"] == 0 and row.get("mean_cross_entropy") is None
        assert row.get("mean_cross_entropy_images", 0) == 0


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("attack", [*BOTH, Square(eps=EPS, steps=3), FGSM(eps=EPS)], ids=lambda attack: attack.name)
def test_no_answer_is_wrong_whatever_class_the_image_is_of(attack: Attack, value: float) -> None:
    result = run(Holes(digits(1)[0], off_grid, value), attack, n=20)
    assert result["attacks"][0]["robust_accuracy"] == 0


def test_a_clean_image_without_an_answer_is_wrong_and_the_mean_is_that_of_the_others() -> None:
    model, x, y = digits(20)
    with torch.no_grad():
        losses = torch.nn.functional.cross_entropy(model(x), y, reduction="none")
    result = run(Holes(model, lambda x: x[:, 0, 2, 2] > 0.5), FGSM(eps=0.0), n=20)
    holes = x[:, 0, 2, 2] > 0.5
    right = (model(x).argmax(1) == y) & ~holes
    assert torch.equal(unpack(result["clean_verdicts"], 20), right) and 0 < holes.sum() < 20
    assert torch.equal(kept(result["attacks"][0], 20).robust, right)
    assert result["clean_cross_entropy"] == pytest.approx(losses[~holes].mean().item(), rel=1e-5)
    assert (
        result["clean_cross_entropy_images"] == result["attacks"][0]["mean_cross_entropy_images"] == int((~holes).sum())
    )


def test_an_attacked_copy_without_an_answer_breaks_nothing_where_the_network_itself_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, *_ = digits(1)
    monkeypatch.setattr(
        sys.modules["advdpnp.evaluation.evaluate"], "model_to_attack", lambda *_: Holes(model, off_grid)
    )
    for attack in (PGD(eps=1e-4, steps=2), APGDCE(eps=1e-4, steps=2)):
        with pytest.raises(UnevaluatedError) as refused:
            run(model, attack, n=20)
        (row,) = refused.value.result["attacks"]
        # One of the images is so near to the boundary that it falls.
        assert row["robust_accuracy"] == 0 and row["unevaluated"] + row.get("broken", 0) == 20
        assert row["unevaluated"] >= 19


@pytest.mark.parametrize("attack", BOTH, ids=IDS)
def test_images_without_a_gradient_are_unevaluated_counted_and_widen_the_interval(attack: Attack) -> None:
    model, *_ = digits(1)
    ordinary = kept(run(model, attack)["attacks"][0]).robust
    robust = ordinary.nonzero().squeeze(1).tolist()
    bad = [robust[0], robust[70]]
    result = run(NoGradient(model, Marked(*bad)), attack)
    (row,) = result["attacks"]
    # The mark lies around these two images alone.
    assert kept(row).unevaluated.nonzero().squeeze(1).tolist() == bad
    expected = ordinary.clone()
    expected[bad] = False
    assert torch.equal(kept(row).robust, expected) and row["unevaluated"] == 2
    k = int(expected.sum())
    interval = [wilson(k, N)[0], wilson(k + 2, N)[1]]
    assert row["robust_accuracy"] == result["worst_case_accuracy"] == k / N
    assert row["interval95"] == result["worst_case_interval95"] == interval
    assert result["worst_case_unevaluated"] == 2
    for line in result_text(result | {"data": "digits", "checkpoint": "last"}).splitlines()[2:4]:
        assert "2 unevaluated" in line


def test_an_attack_that_breaks_an_image_decides_over_one_that_has_no_gradient() -> None:
    model, *_ = digits(1)
    square = Square(eps=2 * EPS, steps=40)
    right, fallen = run(model, FGSM(eps=EPS), square)["attacks"]
    broken = (kept(right).robust & ~kept(fallen).robust).nonzero().squeeze(1).tolist()
    # Square needs no gradient, so that it breaks the images of which there is none.
    result = run(NoGradient(model, Marked(*broken)), FGSM(eps=EPS), square)
    first, second = result["attacks"]
    assert first["unevaluated"] == len(broken) > 5 and first["verdicts"] != right["verdicts"]
    assert second["verdicts"] == fallen["verdicts"]
    assert "unevaluated" not in second and "worst_case_unevaluated" not in result


@pytest.mark.parametrize("attack", [PGD(eps=EPS, steps=5, restarts=4), APGDCE(eps=EPS, steps=5, restarts=4)], ids=IDS)
def test_a_restart_that_breaks_an_image_decides_over_one_that_has_no_gradient(attack: Attack) -> None:
    model, *_ = digits(1)

    def sometimes(x: Tensor) -> Tensor:
        return x.flatten(1).sum(dim=1) * 1e4 % 1 < 0.1

    with pytest.raises(UnevaluatedError) as refused:
        run(NoGradient(model, sometimes), attack, n=40)
    (row,) = refused.value.result["attacks"]
    fell = ~kept(row, 40).withstood
    right = unpack(refused.value.result["clean_verdicts"], 40)
    once = ~kept(run(model, replace(attack, restarts=1), n=40)["attacks"][0], 40).robust  # type: ignore[type-var]
    assert int((fell & right).sum()) >= int((once & right).sum()) - 1 > 0


def test_one_image_in_a_hundred_may_be_unevaluated_and_no_more() -> None:
    model, *_ = digits(1)
    robust = kept(run(model, FGSM(eps=EPS), n=100)["attacks"][0], 100).robust.nonzero().squeeze(1).tolist()
    result = run(NoGradient(model, Marked(robust[3])), FGSM(eps=EPS), n=100)
    assert result["worst_case_unevaluated"] == 1
    with pytest.raises(UnevaluatedError, match=r"2 of 100 images are unevaluated: .*; above 1% .* make its gradient"):
        run(NoGradient(model, Marked(*robust[3:5])), FGSM(eps=EPS), n=100)


def test_nothing_is_written_over_an_interruption_and_the_bit_survives_it(tmp_path: Path) -> None:
    model, *_ = digits(1)
    attacks = (PGD(eps=EPS, steps=3), SHORT)
    robust = kept(run(model, *attacks)["attacks"][1]).robust.nonzero().squeeze(1).tolist()
    sick = NoGradient(model, Marked(robust[0], robust[-1]))
    whole = timeless(run(sick, *attacks))
    assert [row["unevaluated"] for row in whole["attacks"]] == [2, 2]
    assert timeless(run(sick, *attacks, search_chunk=8, batch_size=64)) == _with_chunk(whole, 8)
    for images, steps in ((2, 10**9), (6, 10**9), (99, 1), (99, 3), (99, 5)):

        class Stop(Silent):
            def __init__(self, *left: int) -> None:
                self.left = list(left)

            def on_images(self, images: int) -> None:
                self.count(0)

            def on_steps(self, left: int, bound: float) -> None:
                self.count(1)

            def count(self, place: int) -> None:
                self.left[place] -= 1
                if self.left[place] == 0:
                    raise KeyboardInterrupt

        partial = tmp_path / f"{images}-{steps}.json"
        with pytest.raises(KeyboardInterrupt):
            stopped(sick, attacks, Stop(images, steps), partial)
        assert timeless(run(sick, *attacks, partial=partial, resume=True)) == whole


def stopped(model: nn.Module, attacks: tuple[Attack, ...], callback: Silent, partial: Path) -> None:
    _, x, y = digits(N)
    wanted = Evaluation(suite=Suite("some", "", attacks, None), n=N, facts={}, chunk=64, partial=partial)
    evaluate(model, Images((x * 16).round().to(torch.uint8), y, levels=16), wanted, callback)


def timeless(result: Json) -> Json:
    """Without clock times, and without norms, which depend on which of several attempts breaks an image first."""
    result = copy.deepcopy(result)
    for row in result["attacks"]:
        for one in (row, *row.get("searches", ())):
            for name in ("seconds", "largest_norm", "mean_norm"):
                one.pop(name, None)
    return result


def _with_chunk(result: Json, chunk: int) -> Json:
    result = copy.deepcopy(result)
    for row in result["attacks"][1:]:
        for one in (row, *row["searches"]):
            one["chunk"] = chunk
    return result


def test_a_partial_result_of_an_earlier_version_is_read_as_without_such_images(tmp_path: Path) -> None:
    model, *_ = digits(1)
    attacks, partial = (PGD(eps=EPS, steps=3), SHORT), tmp_path / "old.json"
    whole = run(model, *attacks, partial=partial)
    content = read_json(partial)
    for entry in content["entries"].values():
        del entry["hindered"], entry["finite"]
    for progress in content["stages"].values():
        del progress["hindered"]
    write_json(partial, content)
    assert run(model, *attacks, partial=partial, resume=True) == whole


@pytest.mark.parametrize("attack", BOTH, ids=IDS)
def test_shards_and_seeds_carry_the_bit(attack: Attack) -> None:
    model, *_ = digits(1)
    robust = kept(run(model, attack)["attacks"][0]).robust.nonzero().squeeze(1).tolist()
    sick = NoGradient(model, Marked(*robust[4:6]))
    whole = run(sick, attack)
    shards = [run(sick, attack, shard=(k, 3)) for k in (1, 2, 3)]
    merged = merge_shards(shards)
    (row,), (expected,) = merged["attacks"], whole["attacks"]
    for key in ("robust_accuracy", "interval95", "verdicts", "unevaluated", "unevaluated_bits"):
        assert row[key] == expected[key]
    assert merged["worst_case_unevaluated"] == 2
    if "mean_cross_entropy" in expected:
        assert row["mean_cross_entropy"] == pytest.approx(expected["mean_cross_entropy"], rel=1e-6)
    seeds = over_seeds([whole, run(sick, attack, seed=1)])
    assert seeds["attacks"][0]["unevaluated"] == [2, 2] and seeds["worst_case"]["unevaluated"] == [2, 2]
    assert seeds["attacks"][0]["unevaluated_bits"][0] == expected["unevaluated_bits"]
    text = result_text(whole | {"data": "digits", "checkpoint": "last", "seeds": seeds})
    assert "unevaluated 2, 2" in text


def test_shards_with_too_many_unevaluated_images_are_refused_together() -> None:
    model, *_ = digits(1)
    robust = kept(run(model, FGSM(eps=EPS), n=100)["attacks"][0], 100).robust.nonzero().squeeze(1).tolist()
    sick = NoGradient(model, Marked(*robust[:2]))
    shards = [run(sick, FGSM(eps=EPS), n=100, shard=(k, 2)) for k in (1, 2)]
    with pytest.raises(UnevaluatedError, match="2 of 100 images are unevaluated"):
        merge_shards(shards)


def stored(robust: list[int], unevaluated: list[int]) -> Json:
    found = Verdicts(torch.tensor(robust).bool(), torch.tensor(unevaluated).bool())
    row = {"name": "pgd", "norm": "linf", "eps": "0.1", "steps": 20, "step_size": "0.01", "restarts": 1,
           "random_start": True, **found.accuracy(), **found.bits()}  # fmt: skip
    facts = {"data": "d", "suite": "s", "indices": "0-4", "chunk": 8, "n": 5}
    return facts | {"clean_verdicts": pack(torch.ones(5).bool()), "attacks": [row]}


def test_a_comparison_leaves_out_images_that_are_unevaluated_on_either_side() -> None:
    first, second = stored([1, 1, 0, 0, 1], [0, 0, 1, 0, 0]), stored([0, 1, 1, 0, 0], [1, 0, 0, 0, 0])
    clean, attacked, worst = paired_test(first, second)
    assert "left_out" not in clean and (clean["first"], clean["second"]) == (1, 1)
    for row in (attacked, worst):
        # Images 1, 3 and 4 are left: 1, 0, 1 against 1, 0, 0.
        assert (row["left_out"], row["first"], row["second"]) == (2, pytest.approx(2 / 3), pytest.approx(1 / 3))
        assert (row["only_first"], row["only_second"], row["p"]) == (1, 0, 1.0)
    assert comparison_text([clean, attacked, worst]).count("2 unevaluated images left out") == 2
    with pytest.raises(ValueError, match="all 5 images are unevaluated"):
        paired_test(stored([0] * 5, [1] * 5), second)


def test_worst_case_of_three_kinds_of_verdicts() -> None:
    def kinds(text: str) -> Verdicts:
        return Verdicts(torch.tensor([kind == "r" for kind in text]), torch.tensor([kind == "u" for kind in text]))

    both = kinds("rrruuufff") & kinds("rufrufruf")
    assert torch.equal(both.robust, kinds("rufuuffff").robust)
    assert torch.equal(both.unevaluated, kinds("rufuuffff").unevaluated)


def late(model: Callable[[Tensor], Tensor], x: Tensor) -> nn.Module:
    """No gradient but near the first 16 images."""
    near = x[:16].flatten(1)

    def far(points: Tensor) -> Tensor:
        return torch.cdist(points.flatten(1), near, p=torch.inf).amin(dim=1) > 0.25

    return NoGradient(model, far)


@pytest.mark.parametrize("protocol", ["pgd20", "quick", [CarliniWagner(eps=0.2, steps=5)], [APGDCE(eps=0.2, steps=5)]])
def test_gradients_that_fail_after_the_first_images_are_refused(protocol: Any) -> None:
    import advdpnp

    model, x, y = digits(60)
    with pytest.raises(ValueError, match=r"\d+ of 60 images are unevaluated") as refused:
        advdpnp.evaluate(late(model, x), x, y, suite=protocol, eps=0.2)
    found = refused.value.result  # type: ignore[attr-defined]
    truth = advdpnp.evaluate(model, x, y, suite=protocol, eps=0.2)
    assert found["worst_case_accuracy"] <= truth["worst_case_accuracy"] <= found["worst_case_interval95"][1]


def test_a_gradient_that_is_infinite_is_none() -> None:
    class Root(nn.Module):
        """Right answers, through a square root at 0."""

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = model(x)
            return logits + (x[:, :, 0, 0] * 0).sqrt()

    model, *_ = digits(1)
    for attack in BOTH:
        with pytest.raises(UnevaluatedError) as refused:
            run(Root().eval(), attack, n=20)
        assert refused.value.result["worst_case_accuracy"] == 0


def test_classes_of_probability_0_are_evaluated_like_impossible_ones() -> None:
    import advdpnp

    model, x, y = digits(40, 5)

    class Padded(nn.Module):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.value, self.model = value, model

        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.pad(self.model(x), (0, 3), value=self.value)

    protocol = ["fgsm", "pgd:steps=5", "cw:steps=5", "apgd-ce:steps=5", "fab-t:steps=4", "square:steps=20"]
    impossible, unlikely = (
        advdpnp.evaluate(Padded(value).eval(), x, y, suite=protocol, eps=EPS) for value in (-torch.inf, -1e4)
    )
    assert [row["verdicts"] for row in impossible["attacks"]] == [row["verdicts"] for row in unlikely["attacks"]]
    assert "worst_case_unevaluated" not in impossible
    result = advdpnp.evaluate(Padded(-torch.inf).eval(), x, y, suite="autoattack-quick", eps=EPS)
    assert "worst_case_unevaluated" not in result


def test_one_of_the_first_images_without_a_gradient_is_counted_like_any_other() -> None:
    import advdpnp

    model, x, y = digits(120)
    # The image that withstands, so that no attack decides it.
    truth = advdpnp.evaluate(model, x, y, suite="pgd20", eps=0.02)
    place = int((unpack(truth["attacks"][0]["verdicts"], 120)[:16]).nonzero()[0])
    one = x[place].flatten()[None]

    def near(points: Tensor) -> Tensor:
        return torch.cdist(points.flatten(1), one, p=torch.inf)[:, 0] < 0.03

    with pytest.warns(UserWarning, match="the gradient of 1 of 16 images is not finite"):
        found = advdpnp.evaluate(NoGradient(model, near), x, y, suite="pgd20", eps=0.02)
    assert found["worst_case_unevaluated"] == 1
    assert found["worst_case_accuracy"] == pytest.approx(truth["worst_case_accuracy"] - 1 / 120)
