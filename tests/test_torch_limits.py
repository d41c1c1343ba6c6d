"""Small files that would make torch.load fill the memory are refused, with weights_only=True being no help."""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from advdpnp.external.checkpoint_file import read_checkpoint
from advdpnp.inert_pickle import LimitError
from advdpnp.torch_limits import check_limits


def number(value: int) -> bytes:
    raw = pickle.encode_long(value)
    return b"\x8a" + bytes([len(raw)]) + raw


def archive(path: Path, pickled: bytes, packed: int = zipfile.ZIP_STORED, data: bytes = b"") -> Path:
    with zipfile.ZipFile(path, "w", packed) as file:
        file.writestr("a/version", "3")
        file.writestr("a/byteorder", "little")
        file.writestr("a/data.pkl", b"\x80\x02" + pickled + b".")
        file.writestr("a/data/0", data)
    return path


TEXT = b"X" + (10_000).to_bytes(4, "little") + b"x" * 10_000
BOMBS = {
    # 6 GB of zeros in a file of a hundred bytes.
    "bytes": (b"cbuiltins\nbytearray\n(" + number(6 << 30) + b"tR", "bytearray for 6,442,450,944 elements"),
    "a tensor": (b"ctorch\nTensor\n(" + number(1 << 40) + b"tR", "torch.Tensor for"),
    "a shape": (
        b"ctorch._utils\n_rebuild_qtensor\n(NK\x00(" + number(1 << 20) * 2 + b"t(K\x00K\x00tNN\x89NtR",
        "_rebuild_qtensor for",
    ),
    # One text of 10 kB, encoded 10,000 times: 100 MB.
    "copies": (
        b"c_codecs\nencode\nq\x00" + TEXT + b"q\x01X\x06\0\0\0latin1q\x02](" + b"h\x00h\x01h\x02\x86R" * 10_000 + b"e",
        "again and again",
    ),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("form", ["zip", "legacy"])
def test_a_file_that_asks_for_more_than_it_holds_is_refused(name: str, form: str, tmp_path: Path) -> None:
    pickled, says = BOMBS[name]
    if form == "zip":
        path = archive(tmp_path / "a.pt", pickled)
    else:
        path = tmp_path / "a.pt"
        head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {}))
        path.write_bytes(head + b"\x80\x02" + pickled + b"." + pickle.dumps([], 2))
    with pytest.raises(LimitError, match=says):
        check_limits(path)
    with pytest.raises(ValueError, match=says) as refused:
        read_checkpoint(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)


def test_a_packed_archive_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", b"}", zipfile.ZIP_DEFLATED, bytes(10_000_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match="packed smaller than it is"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_of_tensors_is_let_through(zipped: bool, tmp_path: Path) -> None:
    values = OrderedDict(
        wide=torch.zeros(1).expand(1 << 13, 1 << 13),
        part=torch.arange(100.0)[3:5],
        meta=torch.empty(1 << 40, device="meta"),
        number=torch.tensor(3),
        seed=2**62,
        shape=torch.Size((1 << 20, 1 << 20)),
        half=torch.nn.Parameter(torch.zeros(2, 3, dtype=torch.bfloat16)),
    )
    torch.save(
        {"state": values, "rng": torch.get_rng_state()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped
    )
    check_limits(tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt")["state"]["seed"] == 2**62


def test_a_name_in_a_file_is_told_on_one_line(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.pt", b"ctorch\nTens\x0bor\x1b[2J\n(" + number(1 << 40) + b"tR")
    with pytest.raises(ValueError, match=r"torch\.Tens or\?\[2J for 1,099,511,627,776 elements"):
        read_checkpoint(path)
