"""Weights in parts: small enough, together the state, and refused when a bit is wrong."""

from pathlib import Path

import pytest
import torch

from gpu.scale import ARMS, MIB, REAL
from gpu.train import arm_experiment
from gpu.weights import PART_BYTES, parts_of, read_parts, to_bf16, write_parts

STATE = {f"w{i}": torch.rand(40, 40 + i) for i in range(5)} | {"count": torch.tensor(3), "empty": torch.zeros(0)}


def test_the_union_of_the_parts_is_the_state_bit_for_bit(tmp_path: Path) -> None:
    sums = write_parts(STATE, tmp_path, "weights", limit=64 * 1024 + 15_000)
    assert list(sums) == [f"weights-{k}of3.safetensors" for k in (1, 2, 3)]
    found = read_parts(tmp_path, sums)
    assert found.keys() == STATE.keys() and all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_largest_first_fills_parts_and_a_larger_tensor_has_one_of_its_own() -> None:
    sizes = {"a": 9, "b": 9, "c": 9, "d": 5, "e": 2, "f": 2, "g": 2, "h": 20}
    tensors = {name: torch.zeros(size * 1024, dtype=torch.uint8) for name, size in sizes.items()}
    parts = parts_of(tensors, limit=(64 + 15) * 1024)
    assert [sorted(part) for part in parts] == [["h"], ["a", "d"], ["b", "e", "f", "g"], ["c"]]


@pytest.mark.parametrize("place", [0, 100, -1])
def test_a_flipped_byte_is_refused(place: int, tmp_path: Path) -> None:
    sums = write_parts(STATE, tmp_path, "weights")
    (name,) = sums
    content = bytearray((tmp_path / name).read_bytes())
    content[place] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged \(SHA-256"):
        read_parts(tmp_path, sums)


def test_a_missing_part_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing: expected 1 parts"):
        read_parts(tmp_path, {"weights-1of1.safetensors": ""})


def test_a_resnet18_is_three_files_in_fp32_two_in_bf16_and_its_momentum_one() -> None:
    state = arm_experiment(ARMS[1], REAL, 1, 128, "folded").build().state_dict()
    counts = []
    for tensors in (state, to_bf16(state), {name: w.to(torch.int8) for name, w in state.items()}):
        parts = parts_of(tensors)
        assert all(sum(w.nbytes for w in part.values()) + 64 * 1024 <= PART_BYTES for part in parts)
        counts.append(len(parts))
    assert counts == [3, 2, 1] and PART_BYTES < 16 * MIB


def test_only_floating_point_is_rounded() -> None:
    rounded = to_bf16(STATE)
    assert rounded["count"].dtype == torch.int64 and rounded["w0"].dtype == torch.bfloat16
