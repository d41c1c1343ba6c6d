"""No host read in a captured step and no mixed devices, found without a GPU: see pretend_cuda.py."""

import fnmatch
import json
import os
from pathlib import Path

import pytest

import pretended_runs
import warm

HERE = Path(__file__).parent
FAST = ("train/*/step/plain", "train/adv-dpnp/graph/plain", "evaluate/quick", "evaluate/small-autoattack", "fault/*")
CASES = [name for name, _ in pretended_runs.cases()]


def outcomes(*patterns: str) -> dict[str, str]:
    """What each case ran into, from a process of its own: pretending changes torch."""
    path = os.pathsep.join([str(HERE.parent / "src"), str(HERE)])
    done = warm.run([str(HERE / "pretended_runs.py"), *patterns], env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    assert found, patterns
    return found


@pytest.fixture(scope="module")
def quick() -> dict[str, str]:
    return outcomes(*FAST)


def test_every_defense_trains_as_one_captured_step_and_is_evaluated(quick: dict[str, str]) -> None:
    sound = {name: error for name, error in quick.items() if not name.startswith("fault/")}
    assert len(sound) == len(pretended_runs.DEFENSES) + 3
    assert not {name: error for name, error in sound.items() if error}


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("read_by_the_host", "HostReadError: aten._local_scalar_dense.default while a graph is captured"),
        ("shape_from_data", "HostReadError: aten.index.Tensor while a graph is captured"),
        ("constant_of_the_host", "HostReadError: a copy to the device while a graph is captured"),
        ("tensor_of_the_cpu", "MixedDevicesError: aten.mul.Tensor has tensors of cuda:0 and of the CPU: [(3,)]"),
    ],
)
def test_what_a_gpu_would_refuse_is_found(fault: str, expected: str, quick: dict[str, str]) -> None:
    assert quick[f"fault/{fault}"] == expected


def test_the_benchmarks_variants_are_all_there() -> None:
    from advdpnp.bench.variants import attack_variants, make_bench_model, step_variants

    subject = make_bench_model("tiny", pretended_runs.torch.device("cpu"), batch=2, steps=2)
    made = {"attack": attack_variants(subject, ("fp32", "bf16")), "step": step_variants(subject, ("fp32", "bf16"))}
    for kind, names in pretended_runs.VARIANTS.items():
        assert {variant.name for variant in made[kind]} == set(names)


@pytest.mark.slow
@pytest.mark.parametrize("group", ["train/*/folded/*", "train/*/graph/*", "train/*/step/*", "evaluate/*", "bench/*"])
def test_every_engine_defense_suite_and_variant(group: str) -> None:
    fast = {name for pattern in FAST for name in fnmatch.filter(CASES, pattern)}
    wanted = set(fnmatch.filter(CASES, group)) - fast
    found = outcomes(*wanted)
    assert set(found) == wanted
    assert not {name: error for name, error in found.items() if error}
