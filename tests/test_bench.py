"""The benchmark does the same work on every rung, and a kill or a failure costs one rung."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp.bench import bench_text, run_bench
from advdpnp.bench import run as bench_run
from advdpnp.bench.ceilings import convolution_rates, measure_ceilings
from advdpnp.bench.flops import count_flops
from advdpnp.bench.ladder import attack_gflop, make_subject, naive_attack, update_gflop
from advdpnp.bench.timing import Deadline, Rung, add_rates, measure
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json, read_json

CPU = torch.device("cpu")


CEILINGS = {"fp32_tflop_per_second": 0.1, "bf16_tflop_per_second": 0.2, "copy_gb_per_second": 20.0}


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """Compilation and matrix products in emulated bf16 take half a minute; both have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda *work, **_: work[0] if work else lambda function: function)
        patch.setattr(bench_run, "measure_ceilings", lambda device: dict(CEILINGS))
        yield


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Json:
    path = tmp_path_factory.mktemp("bench") / "b.json"
    found = run_bench(["tiny"], CPU, batch=4, steps=2, repeats=2, out=path, minutes=5)
    assert read_json(path) == found
    return found


def test_every_rung_is_measured_or_says_why_not(result: Json) -> None:
    ladders = result["models"]["tiny"]
    for ladder, rungs in (("attack", 9), ("step", 11)):
        assert len(ladders[ladder]) == rungs
        for name, entry in ladders[ladder].items():
            if "graph" in name or name.endswith("step"):
                assert "needs a CUDA device" in entry["skipped"]
            else:
                assert len(entry["times"]) == 2 and entry["seconds"] > 0
    assert result["left_out"] == []
    assert ladders["bookkeeping"]["share_of_step"] > 0 and ladders["bookkeeping"]["checkpoint_seconds"] > 0


def test_exact_rungs_craft_the_same_images_and_bf16_stays_near(result: Json) -> None:
    for name, entry in result["models"]["tiny"]["attack"].items():
        if "seconds" in entry:
            assert entry["differing_pixels"] <= (0.2 if name.startswith("bf16") else 1e-3), name
            assert entry["mean_loss"] == pytest.approx(
                result["models"]["tiny"]["attack"]["naive"]["mean_loss"], rel=1e-2
            )


def test_the_text_names_every_measured_rung_and_what_the_processor_lacks(result: Json) -> None:
    text = bench_text(result)
    for name in ("input_gradient", "bf16_folded", "eager", "bf16_compiled"):
        assert any(line.startswith(name + " ") for line in text.splitlines()), name
    assert ("no bf16 instructions" in text) == (not result["machine"]["bf16_instructions"])
    assert "a checkpoint takes" in text


def test_operations_of_resnet8_are_those_of_the_published_count() -> None:
    # 0.0250 GFLOP forward at width 16: two of them in an attack iteration, six and a bit in a naive step's update.
    subject = make_subject("resnet8", CPU, batch=2, steps=10)
    work = attack_gflop(subject)
    assert work["lean"] == pytest.approx(0.500, abs=0.002)
    assert work["naive"] == pytest.approx(0.750, abs=0.002)
    assert update_gflop(subject) == pytest.approx(0.148, abs=0.001)


def test_a_matrix_product_is_two_operations_for_each_multiply_add() -> None:
    a, b = torch.rand(3, 5), torch.rand(5, 7)
    assert count_flops(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_naive_attack_stays_in_the_ball_and_leaves_gradients_behind() -> None:
    subject = make_subject("tiny", CPU, batch=4, steps=3)
    x, draws = subject.x, IndexNoise(0, subject.index)
    x_adv = naive_attack(subject.model, x, subject.images.labels, subject.budget, draws)
    assert (x_adv - x).abs().max() <= subject.budget.threat.eps + 1e-6
    assert all(parameter.grad is not None for parameter in subject.model.backbone.parameters())


def _table(rungs: list[Rung], minutes: float = 5) -> tuple[Json, list[Json]]:
    table: Json = {}
    saved: list[Any] = []

    def save() -> None:
        saved.append({name: dict(entry) for name, entry in table.items()})

    measure(rungs, CPU, 1, Deadline(minutes), lambda rung: rung.gflop, table, save)
    return table, saved


def test_a_rung_that_fails_is_recorded_and_the_ladder_goes_on() -> None:
    def broken() -> Any:
        raise RuntimeError("no such kernel\nsecond line")

    table, saved = _table([Rung("broken", "fp32", 1.0, broken), Rung("sound", "fp32", 1.0, lambda: lambda: None)])
    assert table["broken"]["error"] == "RuntimeError: no such kernel second line"
    assert "seconds" in table["sound"]
    # Written after each set-up and after each time.
    assert len(saved) == 3 and "sound" not in saved[0]


def test_when_the_time_is_up_no_rung_is_begun(tmp_path: Path) -> None:
    table, _ = _table([Rung("late", "fp32", 1.0, lambda: lambda: None)], minutes=0)
    assert table["late"]["skipped"] == "out of time"
    table, _ = _table([Rung("long", "fp32", 31.0, lambda: lambda: None)], minutes=1)
    assert table["long"]["skipped"] == "out of time: needs at least 62 s at the measured fp32 ceiling"
    found = run_bench(["tiny"], CPU, 4, 2, 1, tmp_path / "b.json", minutes=0)
    assert found["left_out"] == ["tiny/attack", "tiny/step"]
    assert "left out: tiny/attack, tiny/step" in bench_text(found)


def test_ratios_are_to_the_naive_rung_and_rates_to_the_ceiling_of_their_precision() -> None:
    table: Json = {
        "naive": {"precision": "fp32", "gflop_per_image": 3.0, "seconds": 2.0},
        "bf16_folded": {"precision": "bf16", "gflop_per_image": 2.0, "seconds": 0.5},
    }
    add_rates(table, 10, CEILINGS)
    assert table["bf16_folded"]["times_naive"] == 4.0
    assert table["naive"]["fraction_of_ceiling"] == pytest.approx(0.015 / 0.1)
    assert table["bf16_folded"]["fraction_of_ceiling"] == pytest.approx(0.04 / 0.2)
    assert table["bf16_folded"]["images_per_second"] == 20.0


@pytest.mark.slow
def test_the_table_of_convolutions_has_each_stage_in_both_precisions() -> None:
    rows = convolution_rates(CPU, batch=1)
    assert [(row["channels"], row["size"]) for row in rows] == 2 * [(64, 32), (128, 16), (256, 8), (512, 4)]
    assert all(row[part] > 0 for row in rows for part in ("forward", "to_images", "to_weights"))


@pytest.mark.slow
def test_ceilings_are_positive() -> None:
    ceilings = measure_ceilings(CPU)
    assert set(ceilings) == set(CEILINGS) and all(rate > 0 for rate in ceilings.values())
