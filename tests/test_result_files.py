"""How results are written and merged: bits, intervals, rules of shards, and which fields tell evaluations apart."""

import base64
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from advdpnp import metrics
from advdpnp.api import evaluate_model
from advdpnp.attacks import FGSM, PGD, Suite, record
from advdpnp.attacks.square import Square as SquareAttack
from advdpnp.checksums import sealed
from advdpnp.result_files import (
    ResultFiles,
    merge_shards,
    pack,
    paired_fields,
    score_interval,
    shard_differences,
    unpack,
)
from advdpnp.results import attack_of
from advdpnp.runs import Run

KEY = {
    "name": "pgd",
    "norm": "linf",
    "eps": "0.1",
    "steps": 5,
    "step_size": "0.01",
    "restarts": 1,
    "random_start": True,
}


@pytest.mark.parametrize("n", [1, 7, 10, 360, 10_000])
def test_intervals_are_those_of_scipy_bit_for_bit(n: int) -> None:
    for k in sorted({0, 1, n // 3, n // 2, n - 1, n}):
        expected = binomtest(k, n).proportion_ci(0.95, method="wilson")
        assert score_interval(k, n) == (float(expected.low), float(expected.high)) == metrics.wilson(k, n)


@pytest.mark.parametrize("n", [1, 8, 13])
def test_packed_bits_begin_with_the_first_image_in_the_highest_bit(n: int) -> None:
    bits = np.arange(n) % 3 == 0
    value = sum(1 << (8 * math.ceil(n / 8) - 1 - place) for place in range(n) if place % 3 == 0)
    assert base64.b64decode(pack(bits)) == value.to_bytes(math.ceil(n / 8), "big")
    assert np.array_equal(unpack(pack(bits), n), bits) and metrics.pack(torch.from_numpy(bits)) == pack(bits)
    with pytest.raises(ValueError, match="not of the same result"):
        unpack(pack(bits), n + 8)


def row(verdicts: str, **more: Any) -> dict[str, Any]:
    """ "r" robust, "u" unevaluated, "b" broken."""
    masks = [np.array([kind == one for kind in verdicts]) for one in "ru"]
    found = {"robust_accuracy": 0.0, "interval95": [0.0, 0.0], "verdicts": pack(masks[0]), "seconds": 0.25}
    bits = {"unevaluated": int(masks[1].sum()), "unevaluated_bits": pack(masks[1])} if masks[1].any() else {}
    return KEY | found | bits | more


def shard(part: int, parts: int, clean: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    n, last = len(clean), 10
    return {
        "schema": 1, "data": "d", "suite": "s", "n": n, "indices": f"{part - 1}-{last} step {parts}",
        "shard": [part, parts], "chunk": 8, "seed": 0, "clean_accuracy": 0.0, "clean_interval95": [0.0, 0.0],
        "clean_cross_entropy": float(part), "clean_verdicts": pack(np.array([kind == "r" for kind in clean])),
        "attacks": rows, "worst_case_accuracy": 0.0, "worst_case_interval95": [0.0, 0.0],
    } | more  # fmt: skip


def test_numbers_of_shards_are_summed_bounded_and_averaged_as_their_fields_declare() -> None:
    searched = [
        {"attacked": 3, "broken": 2, "unconfirmed": 0, "largest_norm": 0.1, "mean_norm": 0.05, "chunk": 64},
        {"attacked": 2, "broken": 1, "unconfirmed": 1, "largest_norm": 0.09, "mean_norm": 0.08, "chunk": 32},
    ]
    tiers = [row(verdicts) | {"name": "first"} for verdicts in ("rrr", "ub")]
    first = shard(1, 2, "rrr", [row("rbb", **searched[0], mean_cross_entropy=1.0, tiers=tiers[:1])])
    second = shard(2, 2, "rr", [row("ub", **searched[1], mean_cross_entropy=2.0, tiers=tiers[1:])])
    merged = merge_shards([first, second])
    (found,) = merged["attacks"]
    # By hand: images 0, 2, 4 are the first part's and 1, 3 the second's: r u b b b.
    assert unpack(found["verdicts"], 5).tolist() == [True, False, False, False, False]
    assert unpack(found["unevaluated_bits"], 5).tolist() == [False, True, False, False, False]
    assert (found["attacked"], found["broken"], found["unconfirmed"], found["seconds"]) == (5, 3, 1, 0.5)
    # Of the part of the attack that has a name: r u r b r.
    (tier,) = found["tiers"]
    assert unpack(tier["verdicts"], 5).tolist() == [True, False, True, False, True]
    assert (tier["name"], tier["robust_accuracy"], tier["unevaluated"], tier["seconds"]) == ("first", 0.6, 1, 0.5)
    assert (found["largest_norm"], found["chunk"]) == (0.1, 32)
    assert found["mean_norm"] == pytest.approx((2 * 0.05 + 0.08) / 3, rel=1e-15)
    assert found["mean_cross_entropy"] == pytest.approx((3 * 1.0 + 2 * 2.0) / 5, rel=1e-15)
    assert merged["clean_accuracy"] == 1.0 and merged["clean_cross_entropy"] == pytest.approx(1.4)
    assert (found["robust_accuracy"], merged["worst_case_accuracy"]) == (0.2, 0.2)
    assert found["interval95"] == [score_interval(1, 5)[0], score_interval(2, 5)[1]]
    assert (merged["n"], merged["indices"], merged["shards"], merged["worst_case_unevaluated"]) == (5, "0-4", 2, 1)
    assert "shard" not in merged
    # As the files have them, with checksums of their own.
    assert merge_shards([sealed(first), sealed(second)]) == merged
    with pytest.raises(ValueError, match="expected the sha256"):
        merge_shards([sealed(first), sealed(second) | {"clean_cross_entropy": 7.0}])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed: 0, not 1"),
        ({"weights": "a"}, "weights: None, not a"),
        ({"a_fact_of_a_later_version": 3}, "a_fact_of_a_later_version: None, not 3"),
        ({"attacks": [row("rr", decay=0.5)]}, "attack.1.decay: None, not 0.5"),
        ({"search_precision": "bf16"}, "search_precision: None, not bf16"),
        ({"clean_accuracy": 0.3, "environment": {"device": "cuda"}, "warnings": ["x"]}, ""),
        ({"attacks": [row("bb", notes=["x"], broken=2)]}, ""),
    ],
)
def test_shards_are_of_one_evaluation_if_all_but_what_they_measured_is_equal(change: dict[str, Any], said: str) -> None:
    first = shard(1, 2, "rr", [row("rr")])
    assert shard_differences(first, shard(2, 2, "rb", [row("rb")]) | change) == said


def test_a_paired_test_asks_for_the_same_images_and_attacks_and_no_more() -> None:
    first = shard(1, 1, "rr", [row("rr")])
    assert paired_fields(first) == paired_fields(first | {"weights": "a", "recipe": "paper", "seed": 3, "epoch": 2})
    for name in ("data", "suite", "indices", "chunk", "search_precision"):
        assert paired_fields(first) != paired_fields(first | {name: "other"})


def test_files_of_an_evaluation_lie_where_earlier_versions_put_them(tmp_path: Any) -> None:
    files, folder = ResultFiles(Run(tmp_path), "quick"), tmp_path / "eval"
    assert files.result == folder / "quick.json" and files.shard(2, 3) == folder / "shards/quick.2-of-3.json"
    assert (
        files.partial(0) == folder / "quick.partial.json" and files.partial(1) == folder / "quick.seed-1.partial.json"
    )
    assert files.partial(0, 2, 3) == folder / "shards/quick.2-of-3.partial.json"
    with pytest.raises(FileNotFoundError, match=r"run `advdpnp evaluate .* --suite quick` first"):
        files.read()


def test_rows_of_a_real_evaluation_hold_nothing_that_is_not_declared() -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    x = torch.rand(24, 1, 4, 4)
    attacks = (FGSM(eps=0.05), SquareAttack(eps=0.05, steps=3), PGD(eps=0.05, steps=2, restarts=2))
    result = evaluate_model(model, x, model(x).argmax(dim=1), suite=Suite("mine", "", attacks, None))
    assert [attack_of(found) for found in result["attacks"]] == [record(one) for one in attacks]
    assert result["attacks"][1]["broken"] >= 0
