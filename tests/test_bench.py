"""The benchmark does the same work on every variant, and a kill or a failure costs one variant."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp.bench import bench_text, run_bench, timing
from advdpnp.bench import run as bench_run
from advdpnp.bench.ceilings import _stem_backward, _stem_forward, convolution_rates, measure_ceilings, stem_seconds
from advdpnp.bench.timing import Deadline, Variant, VariantTiming, add_rates
from advdpnp.bench.variants import (
    _training_step,
    attack_gflop,
    count_flops,
    make_bench_model,
    naive_attack,
    step_variants,
    update_gflop,
)
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json, read_json

CPU = torch.device("cpu")
COMPILE = torch.compile


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


def test_every_variant_is_measured_or_says_why_not(result: Json) -> None:
    tables = result["models"]["tiny"]
    for kind, variants in (("attack", 10), ("step", 13)):
        assert len(tables[kind]) == variants
        for name, entry in tables[kind].items():
            if "graph" in name or "step" in name:
                assert "needs a CUDA device" in entry["skipped"]
            else:
                assert len(entry["times"]) == 2 and entry["seconds"] > 0
    assert result["left_out"] == []
    assert tables["bookkeeping"]["share_of_step"] > 0 and tables["bookkeeping"]["checkpoint_seconds"] > 0


def test_exact_variants_craft_the_same_images_and_bf16_stays_near(result: Json) -> None:
    for name, entry in result["models"]["tiny"]["attack"].items():
        if "seconds" in entry:
            assert entry["differing_pixels"] <= (0.2 if name.startswith("bf16") else 1e-3), name
            assert entry["mean_loss"] == pytest.approx(
                result["models"]["tiny"]["attack"]["naive"]["mean_loss"], rel=1e-2
            )


def test_the_text_names_every_measured_variant_and_what_the_processor_lacks(result: Json) -> None:
    text = bench_text(result)
    for name in ("input_gradient", "bf16_folded", "eager", "bf16_compiled"):
        assert any(line.startswith(name + " ") for line in text.splitlines()), name
    assert ("no bf16 instructions" in text) == (not result["machine"]["bf16_instructions"])
    assert "a checkpoint takes" in text


def test_operations_of_resnet8_are_those_of_the_published_count() -> None:
    # 0.0250 GFLOP forward at width 16: two of them in an attack iteration, six and a bit in a naive step's update.
    subject = make_bench_model("resnet8", CPU, batch=2, steps=10)
    work = attack_gflop(subject)
    assert work["lean"] == pytest.approx(0.500, abs=0.002)
    assert work["naive"] == pytest.approx(0.750, abs=0.002)
    assert update_gflop(subject) == pytest.approx(0.148, abs=0.001)


def test_a_matrix_product_is_two_operations_for_each_multiply_add() -> None:
    a, b = torch.rand(3, 5), torch.rand(5, 7)
    assert count_flops(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_naive_attack_stays_in_the_ball_and_leaves_gradients_behind() -> None:
    subject = make_bench_model("tiny", CPU, batch=4, steps=3)
    x, draws = subject.x, IndexNoise(0, subject.index)
    x_adv = naive_attack(subject.model, x, subject.images.labels, subject.budget, draws)
    assert (x_adv - x).abs().max() <= subject.budget.threat.eps + 1e-6
    assert all(parameter.grad is not None for parameter in subject.model.backbone.parameters())


def _table(variants: list[Variant], minutes: float = 5, repeats: int = 1) -> tuple[Json, list[Json]]:
    table: Json = {}
    saved: list[Any] = []

    def save() -> None:
        saved.append({name: dict(entry) for name, entry in table.items()})

    VariantTiming(CPU, repeats, Deadline(minutes), lambda variant: variant.gflop, table, save).measure(variants)
    return table, saved


def test_a_variant_that_fails_is_recorded_and_the_others_go_on() -> None:
    def broken() -> Any:
        raise RuntimeError("no such kernel\nsecond line")

    table, saved = _table([Variant("broken", "fp32", 1.0, broken), Variant("sound", "fp32", 1.0, lambda: lambda: None)])
    assert table["broken"]["error"] == "RuntimeError: no such kernel second line"
    assert "seconds" in table["sound"]
    # Written after each variant, and a kill leaves all rows.
    assert len(saved) == 2 and saved[0]["sound"]["skipped"] == "out of time"


def test_a_variant_is_timed_when_it_is_ready_and_again_in_turn() -> None:
    calls: list[str] = []

    def variant(name: str) -> Variant:
        return Variant(name, "fp32", 0.0, lambda: lambda: calls.append(name))

    table, saved = _table([variant("a"), variant("b")], repeats=3)
    # Warm-up and first time of each, then in turn.
    assert calls == ["a", "a", "b", "b", "a", "b", "a", "b"]
    assert "seconds" in saved[0]["a"] and [len(entry["times"]) for entry in table.values()] == [3, 3]


def test_a_failure_in_a_later_time_costs_its_variant_alone() -> None:
    runs: list[int] = []

    def fails_late() -> None:
        runs.append(len(runs))
        if len(runs) > 2:
            raise RuntimeError("an illegal access")

    variants = [Variant("late", "fp32", 0.0, lambda: fails_late), Variant("sound", "fp32", 0.0, lambda: lambda: None)]
    table, _ = _table(variants, repeats=3)
    assert table["late"]["error"] == "RuntimeError: an illegal access" and len(table["late"]["times"]) == 1
    assert len(table["sound"]["times"]) == 3


def test_on_a_gpu_the_fastest_way_comes_first_and_naive_code_last(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    monkeypatch.setattr(timing, "_warm_up", lambda variant, device, entry: begun.append(variant.name) or (None, None))
    monkeypatch.setattr(VariantTiming, "_time", lambda self, variant, work: None)
    monkeypatch.setattr(timing, "_outcome", lambda entry: "")
    subject = make_bench_model("tiny", CPU, batch=2, steps=2)
    table: Json = {}
    measure = VariantTiming(torch.device("cuda"), 1, Deadline(5), lambda variant: 0.0, table, lambda: None).measure
    variants = step_variants(subject, ("fp32", "bf16"))
    measure(variants)
    assert begun[:3] == ["bf16_step", "bf16_step_cudnn_benchmark", "bf16_graph"] and begun[-1] == "naive"
    # The last, fastest variant is timed first.
    assert list(table) == [variant.name for variant in variants] and next(iter(table)) == "naive"


def test_cudnn_tries_its_algorithms_on_its_own_variant_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    variants = [
        Variant("as_usual", "fp32", 0.0, lambda: lambda: seen.append(torch.backends.cudnn.benchmark)),
        Variant(
            "trying", "fp32", 0.0, lambda: lambda: seen.append(torch.backends.cudnn.benchmark), benchmark_cudnn=True
        ),
    ]
    _table(variants, repeats=2)
    assert seen == [False, False, True, True, False, True]


def test_the_first_network_takes_the_time_that_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left: dict[str, float] = {}

    def measured(name: str, device: Any, result: Json, deadline: Deadline, *_: Any) -> None:
        left[name] = deadline.left()

    monkeypatch.setattr(bench_run, "_measure_model", measured)
    run_bench(["first", "second"], CPU, 4, 2, 1, tmp_path / "b.json", minutes=8)
    assert left["first"] == pytest.approx(8, abs=0.5) and left["second"] == pytest.approx(8, abs=0.5)


@pytest.mark.slow
def test_engines_are_compared_in_processes_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_run, "_measure_model", lambda *_: None)
    lines: list[str] = []
    engines = ["folded", "step"]
    found = run_bench([], CPU, 4, 2, 1, tmp_path / "b.json", minutes=5, engines=engines, tell=lines.append)
    sound, refused = found["engines"]
    assert sound["agrees"] and sound["largest_difference"] == 0
    assert not refused["agrees"] and "needs a CUDA device" in refused["error"]
    assert lines == ["engine folded: agrees with folded", "engine step: is not to be trusted"]
    assert "engine step is not to be trusted: ValueError" in bench_text(found)


@pytest.mark.parametrize(
    ("stdout", "stderr", "error"),
    [("", "Traceback\nImportError: no torch\n", "ImportError: no torch"), ("", "", "exit status -11")],
)
def test_a_comparison_that_dies_is_a_verdict(
    stdout: str, stderr: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = subprocess.CompletedProcess([], -11, stdout, stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: died)
    found = bench_run._check_engine("step", CPU, Deadline(1))
    assert found == {"engine": "step", "agrees": False, "error": error}


def test_a_comparison_without_time_is_not_waited_for() -> None:
    found = bench_run._check_engine("step", CPU, Deadline(0))
    assert found == {"engine": "step", "agrees": False, "error": "out of time"}


@pytest.mark.slow
def test_many_compiled_variants_stay_under_the_compilers_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each batch size compiles the same code again. Tracing alone: the limit is the tracer's.
    from torch._dynamo.exc import FailOnRecompileLimitHit

    monkeypatch.setattr(torch, "compile", lambda *work, **named: COMPILE(*work, **{**named, "backend": "eager"}))
    torch.compiler.reset()
    subjects = [make_bench_model("tiny", CPU, batch, steps=2) for batch in (2, 3, 4)]
    # What is alive counts: a variant stays, to be timed again.
    works = []

    def measure(forget: bool) -> None:
        for subject in subjects:
            if forget:
                torch.compiler.reset()
            works.append(_training_step(subject, "fp32", "compiled"))
            works[-1]()

    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):
        with pytest.raises(FailOnRecompileLimitHit):
            measure(forget=False)
        # As every training begins: with an empty compiler.
        measure(forget=True)
    torch.compiler.reset()


def test_when_the_time_is_up_no_variant_is_begun(tmp_path: Path) -> None:
    table, _ = _table([Variant("late", "fp32", 1.0, lambda: lambda: None)], minutes=0)
    assert table["late"]["skipped"] == "out of time"
    table, _ = _table([Variant("long", "fp32", 31.0, lambda: lambda: None)], minutes=1)
    assert table["long"]["skipped"] == "out of time: needs at least 62 s at the measured fp32 ceiling"
    found = run_bench(["tiny"], CPU, 4, 2, 1, tmp_path / "b.json", minutes=0)
    assert found["left_out"] == ["tiny/attack", "tiny/step"]
    assert "left out: tiny/attack, tiny/step" in bench_text(found)


def test_ratios_are_to_the_naive_variant_and_rates_to_the_ceiling_of_their_precision() -> None:
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
def test_the_table_of_convolutions_has_each_stage_in_every_layout() -> None:
    rows = convolution_rates(CPU, batch=1)
    stages = [(64, 32), (128, 16), (256, 8), (512, 4)]
    layouts = [("fp32", "nchw"), ("fp32", "nhwc"), ("bf16", "nhwc")]
    found = [(row["precision"], row["layout"], row["channels"], row["size"]) for row in rows]
    assert found == [(*layout, *stage) for layout in layouts for stage in stages]
    assert all(row[part] > 0 for row in rows for part in ("forward", "to_images", "to_weights"))


def test_a_padded_stem_gives_the_images_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(64, 3, 3, 3, generator=generator)
    wide = torch.nn.functional.pad(weight, (0, 0, 0, 0, 0, 5))
    # The gradient is that of the output's own scalar product with itself, halved: W^T W x.
    torch.testing.assert_close(_stem_backward(x, wide)(), _stem_backward(x, weight)())
    torch.testing.assert_close(_stem_forward(x, wide)(), _stem_forward(x, weight)())


def test_the_stem_is_timed_as_it_is_and_padded() -> None:
    rows = stem_seconds(CPU, batch=1)
    assert [row["channels"] for row in rows] == [3, 8]
    assert all(0 < row[part] < 10 for row in rows for part in ("forward_seconds", "to_images_seconds"))


@pytest.mark.slow
def test_ceilings_are_positive() -> None:
    ceilings = measure_ceilings(CPU)
    assert set(ceilings) == set(CEILINGS) and all(rate > 0 for rate in ceilings.values())
