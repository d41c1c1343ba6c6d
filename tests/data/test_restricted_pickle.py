import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from advdpnp.data.formats.restricted_pickle import read_pickle

from .conftest import Writer, cifar, python2, python3


class Runs:
    """Unpickles by running a command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def rejected(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        read_pickle(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("writer", [python2, python3])
def test_a_cifar_dictionary_comes_back_as_it_was_written(tmp_path: Path, writer: Writer) -> None:
    content = cifar(7, seed=0)
    (tmp_path / "batch").write_bytes(writer(content))
    read = read_pickle(tmp_path / "batch")
    assert read.keys() == content.keys()
    assert read[b"labels"] == content[b"labels"]
    assert read[b"batch_label"] == b"batch"
    np.testing.assert_array_equal(read[b"data"], content[b"data"])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("hidden", [False, True], ids=["alone", "in an object array"])
def test_a_pickle_that_runs_a_command_is_refused_and_nothing_runs(tmp_path: Path, protocol: int, hidden: bool) -> None:
    ran = tmp_path / "ran"
    attack = Runs(f"touch {ran}")
    content = {b"labels": [0], b"data": np.array([attack], dtype=object) if hidden else attack}
    message = rejected(tmp_path / "batch", pickle.dumps(content, protocol=protocol))
    assert f"asks for {os.name}.system," in message
    assert not ran.exists()
    pickle.loads(pickle.dumps(attack))
    assert ran.exists(), "the attack of this test is a real one"


@pytest.mark.parametrize(
    "name", ["builtins\neval", "builtins\ngetattr", "numpy\nload", "numpy.core.multiarray\nscalar"]
)
def test_the_forbidden_global_is_named(tmp_path: Path, name: str) -> None:
    message = rejected(tmp_path / "batch", b"\x80\x02c" + name.encode() + b"\n.")
    assert f"asks for {name.replace(chr(10), '.')}," in message


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((2, 3), np.int8),
        np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3)),
        np.array([None, {}], dtype=object),
        np.zeros(2, dtype=[("field", "u1")]),
    ],
    ids=["float", "signed", "column-major", "object", "fields"],
)
def test_only_row_major_bytes_are_arrays(tmp_path: Path, data: np.ndarray) -> None:
    assert "no row-major uint8 array" in rejected(tmp_path / "batch", pickle.dumps({b"data": data}, protocol=2))


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path: Path) -> None:
    whole = python2({b"data": np.zeros((2, 3), np.uint8)})
    rejected(tmp_path / "batch", whole.replace(b"M\x03\x00", b"M\x04\x00"))


def test_a_place_in_the_memo_costs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "batch"
    # The empty dictionary, noted as number 2**31 - 1.
    path.write_bytes(b"\x80\x02}r\xff\xff\xff\x7f.")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_pickle(path) == {}
    # In kilobytes.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps([1, 2]), b"\x80\x02}(cnumpy\nndarray\nN)Ru."])
def test_what_is_no_dictionary_is_refused(tmp_path: Path, content: bytes) -> None:
    rejected(tmp_path / "batch", content)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([python2, python3]))(cifar(2, seed=0))
    content = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "batch"
    path.write_bytes(content[: data.draw(st.integers(0, len(whole)))])
    try:
        assert isinstance(read_pickle(path), dict)
    except ValueError as error:
        assert "\n" not in str(error)


TEXT = b"X" + (10_000).to_bytes(4, "little") + b"x" * 10_000


@pytest.mark.parametrize(
    ("pickled", "says"),
    [
        # Room for 6 GB is asked for with nine bytes.
        (b"\x80\x05\x96" + (6 << 30).to_bytes(8, "little") + b".", "an operation that no CIFAR file needs"),
        # 10 kB of text, a thousand times over: 10 MB of a file of 20 kB, and so on.
        (
            b"\x80\x02c_codecs\nencode\nq\x00"
            + TEXT
            + b"q\x01X\x06\0\0\0latin1q\x02]("
            + b"h\x00h\x01h\x02\x86R" * 1000
            + b"e.",
            "repeats its bytes",
        ),
        # Keys of one hash, of which each is compared with all before it.
        (b"\x80\x02}(" + b"".join(pickle.dumps(k * (2**61 - 1), 2)[2:-1] + b"N" for k in range(9)) + b"u.", "no texts"),
        (b"\x80\x02}" + b"K\x01Ns.", "no texts"),
        (b"(K\x01Nd.", "no texts"),
        (b"\x80\x04\x8f(K\x01\x90.", "an operation that no CIFAR file needs"),
    ],
    ids=["room", "copies", "hashes", "one key", "old form", "set"],
)
def test_a_small_file_takes_no_memory_and_no_time(tmp_path: Path, pickled: bytes, says: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert says in rejected(tmp_path / "batch", pickled)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_a_file_larger_than_any_of_its_kind_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(python3(cifar(7, seed=0)))
    with pytest.raises(ValueError, match="at most 100 bytes"):
        read_pickle(tmp_path / "batch", 100)
