import gc
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from advdpnp.weights_file import read_facts, read_tensors, read_weights, weights_bytes

WEIGHTS = {"b": torch.arange(2000.0).reshape(40, 50), "a": torch.tensor([1, 2, 3]), "scalar": torch.tensor(0.5)}
FACTS = {"epoch": 3, "config": {"seed": 0}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "last.safetensors"
    path.write_bytes(weights_bytes(WEIGHTS, FACTS))
    return path


def test_what_was_written_is_read_and_equal_weights_are_equal_files(path: Path) -> None:
    weights, facts, verified = read_weights(path)
    assert verified and facts == FACTS and all(torch.equal(weights[name], WEIGHTS[name]) for name in WEIGHTS)
    assert weights_bytes(dict(reversed(WEIGHTS.items())), FACTS) == path.read_bytes()
    stored = read_facts(path)
    assert stored is not None and stored["epoch"] == 3


def test_every_damaged_byte_is_seen(path: Path) -> None:
    whole = path.read_bytes()
    places = [*range(8), *range(8, len(whole), 97), len(whole) - 1]
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises((ValueError, KeyError)):
            read_weights(path)


@pytest.mark.parametrize("begin", [600, 4000])
def test_zeroed_bytes_are_seen(path: Path, begin: int) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:begin] + bytes(2048) + whole[begin + 2048 :])
    with pytest.raises(ValueError, match=r"last\.safetensors is damaged .*restore it"):
        read_weights(path)


def test_a_file_of_an_earlier_version_is_read_unverified(path: Path) -> None:
    save_file(load_file(path), path, {"advdpnp": '{"epoch": 3, "config": {"seed": 0}}'})
    weights, facts, verified = read_weights(path)
    assert not verified and facts == FACTS and torch.equal(weights["b"], WEIGHTS["b"])


def test_reading_again_and_again_leaves_nothing_behind(path: Path) -> None:
    # Where 100 reads of 3 tensors left 2 integers each, there were 600 blocks more.
    def blocks(reads: int) -> int:
        for _ in range(reads):
            read_weights(path)
        gc.collect()
        return sys.getallocatedblocks()

    before = blocks(100)
    assert blocks(100) < before + 300


def test_tensors_outlive_their_file(path: Path) -> None:
    # Of mapped ones, the first that is used after such a cut ends the process.
    tensors, _ = read_tensors(path)
    os.truncate(path, 0)
    assert all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)


def test_the_metadata_of_anyone_is_read_and_of_what_has_none_it_is_empty(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "a.safetensors", {"format": "pt", "é": "ü"})
    save_file(WEIGHTS, tmp_path / "b.safetensors")
    assert read_tensors(tmp_path / "a.safetensors")[1] == {"format": "pt", "é": "ü"}
    assert read_tensors(tmp_path / "b.safetensors")[1] == {}


def test_tensors_come_in_the_order_of_the_file(tmp_path: Path) -> None:
    # Of 20 tensors the library's own order, another one each time, is as good as never this one.
    save_file({f"layer{number}": torch.zeros(1) for number in range(20)}, tmp_path / "many.safetensors")
    content = (tmp_path / "many.safetensors").read_bytes()
    places = [content.index(f'"layer{number}"'.encode()) for number in range(20)]
    expected = [f"layer{number}" for number in sorted(range(20), key=places.__getitem__)]
    assert list(read_tensors(tmp_path / "many.safetensors")[0]) == expected


def test_what_the_library_repeats_of_a_file_stays_on_one_line(tmp_path: Path) -> None:
    header = b'{"w": {"dtype": "a\\nb' + 4000 * b"c" + b'", "shape": [1], "data_offsets": [0, 4]}}'
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(ValueError, match="unknown variant") as error:
        read_tensors(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 1000
