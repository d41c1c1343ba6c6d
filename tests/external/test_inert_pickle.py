"""Crafted pickles do nothing when a checkpoint is converted: nothing runs, nothing is imported, one line is said."""

import codecs
import copyreg
import importlib.abc
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from advdpnp.external import convert_weights
from advdpnp.external.torch_file import read_inertly

WEIGHTS = {"w": torch.arange(6.0).view(2, 3)}


class Alarm(importlib.abc.MetaPathFinder):
    """Notes every import of a module that is not loaded yet."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        self.names.append(name)


@pytest.fixture
def inert(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder; fails if anything is imported, or a file `ran` appears in it."""
    # What a conversion itself needs is loaded before.
    torch.save(WEIGHTS, tmp_path / "first.pt")
    convert_weights(tmp_path / "first.pt")
    # For names in archives.
    codecs.lookup("cp437")
    alarm = Alarm()
    monkeypatch.setattr(sys, "meta_path", [alarm, *sys.meta_path])
    before = set(sys.modules)
    yield tmp_path
    assert alarm.names == [] and set(sys.modules) == before
    assert not (tmp_path / "ran").exists()


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def archive(pickled: bytes, path: Path, **files: bytes) -> Path:
    """A file as torch.save writes it, of a pickle of one's own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as zipped:
        zipped.writestr("a/version", "3")
        zipped.writestr("a/data.pkl", pickled)
        for name, content in files.items():
            zipped.writestr(f"a/data/{name}", content)
    return path


def ran(folder: Path) -> bytes:
    """An argument for a shell."""
    return b"(" + text(f"touch {folder}/ran") + b"t"


# Each pushes one object, after the folder's command as (text,).
ATTACKS: dict[str, Callable[[Path], bytes]] = {
    "reduce": lambda folder: b"cposix\nsystem\n" + ran(folder) + b"R",
    "stack global": lambda folder: text("os") + text("system") + b"\x93" + ran(folder) + b"R",
    "inst": lambda folder: b"(" + text(f"touch {folder}/ran") + b"iposix\nsystem\n",
    "obj": lambda folder: b"(cposix\nsystem\n" + text(f"touch {folder}/ran") + b"o",
    "newobj": lambda folder: b"csubprocess\nPopen\n" + b"((" + text("touch") + text(f"{folder}/ran") + b"lt\x81",
    "newobj_ex": lambda folder: b"csubprocess\nPopen\n" + ran(folder) + b"}\x92",
    "eval": lambda folder: b"cbuiltins\neval\n(" + text(f"open({str(folder / 'ran')!r}, 'w')") + b"tR",
    "getattr": lambda folder: (
        b"cbuiltins\ngetattr\n(cos\npath\n" + text("os") + b"tR0cbuiltins\ngetattr\n(cos\nx\n" + text("system") + b"tR"
    ),
    "dotted": lambda folder: text("torch") + text("serialization.os.system") + b"\x93" + ran(folder) + b"R",
    "import": lambda folder: b"cantigravity\nfly\n)R",
    "hub": lambda folder: b"ctorch.hub\nload\n(" + text("someone/repository") + text("model") + b"tR",
    "setstate": lambda folder: (
        b"ctorch.nn.modules.module\nModule\n)\x81}(" + text("__setstate__") + b"cposix\nsystem\nub" + text("x") + b"b"
    ),
    "slots": lambda folder: b"cargparse\nNamespace\n)\x81N}(" + text("__class__") + b"cposix\nsystem\nu\x86b",
    "copyreg": lambda folder: b"ccopyreg\nadd_extension\n(" + text("os") + text("system") + b"K\xf0tR",
    "reconstructor": lambda folder: b"ccopyreg\n_reconstructor\n(cposix\nsystem\ncbuiltins\nobject\nNtR",
    "extension": lambda folder: b"\x82\xf0" + ran(folder) + b"R",
    "partial": lambda folder: b"cfunctools\npartial\n(cposix\nsystem\n" + text(f"touch {folder}/ran") + b"tR)R",
    "ordered dict": lambda folder: b"ccollections\nOrderedDict\n)R}(" + text("items") + b"cposix\nsystem\nub",
    "state for a list": lambda folder: b"](K\x01ecposix\nsystem\nb",
}


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("form", ["zip", "pickle", "legacy"])
def test_nothing_of_a_crafted_pickle_runs_and_its_weights_are_kept(name: str, form: str, inert: Path) -> None:
    copyreg.add_extension("posix", "system", 0xF0)
    try:
        # {"evil": ..., "w": an array of two float32}
        weights = pickle.dumps(np.array([1, 2], np.float32), protocol=2)[2:-1]
        pickled = b"\x80\x04}(" + text("evil") + ATTACKS[name](inert) + text("w") + weights + b"u."
        path = inert / "evil.pt"
        if form == "zip":
            archive(pickled, path)
        else:
            head = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
            path.write_bytes(pickled if form == "pickle" else head + pickled + pickle.dumps([], 2))
        done = convert_weights(path)
    finally:
        copyreg.remove_extension("posix", "system", 0xF0)
    assert {key: value.tolist() for key, value in load_file(done.out).items()} == {"w": [1.0, 2.0]}


def test_the_same_pickles_go_off_where_pickles_are_trusted(tmp_path: Path) -> None:
    for name in ("reduce", "inst", "obj", "stack global"):
        pickle.loads(b"\x80\x04" + ATTACKS[name](tmp_path) + b".")
        (tmp_path / "ran").unlink()


def storage(key: str = "0", count: int = 6, kind: bytes = b"ctorch\nFloatStorage\n") -> bytes:
    return b"(" + text("storage") + kind + text(key) + text("cpu") + number(count) + b"tQ"


def number(value: int) -> bytes:
    raw = pickle.encode_long(value)
    return b"\x8a" + bytes([len(raw)]) + raw


def numbers(*values: int) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(held: bytes, offset: int = 0, size: tuple[int, ...] = (2, 3), stride: tuple[int, ...] = (3, 1)) -> bytes:
    made = held + number(offset) + numbers(*size) + numbers(*stride)
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + made + b"\x89ccollections\nOrderedDict\n)RtR"


def state(value: bytes) -> bytes:
    return b"\x80\x02}(" + text("w") + value + b"u."


DATA = torch.arange(6.0).numpy().tobytes()


def test_a_pickle_made_by_hand_is_what_torch_reads(inert: Path) -> None:
    path = archive(state(tensor(storage())), inert / "w.pt", **{"0": DATA})
    assert torch.equal(torch.load(path, weights_only=True)["w"], WEIGHTS["w"])
    assert torch.equal(read_inertly(path)["w"].read(), WEIGHTS["w"])


@pytest.mark.parametrize(
    "value, message",
    [
        (tensor(storage(count=7)), "a storage of 28 bytes where there are 24"),
        (tensor(storage(count=1 << 61)), "a storage of"),
        (tensor(storage(count=1 << 70)), "no number of elements"),
        (tensor(storage(count=-1)), "no number of elements"),
        (tensor(storage(), offset=1), "reaches beyond its storage"),
        (tensor(storage(), offset=-1), "no number of elements"),
        (tensor(storage(), stride=(4, 1)), "reaches beyond its storage"),
        (tensor(storage(), stride=(-3, 1)), "no number of elements"),
        (tensor(storage(), size=(1 << 40, 1 << 40)), "reaches beyond its storage"),
        (tensor(storage(), size=(2, 3), stride=(3,)), "reaches beyond its storage"),
        (tensor(storage(), size=(1,) * 65, stride=(1,) * 65), "without a shape"),
        (tensor(storage(), size=(1 << 40,), stride=(0,)), "name the same data again and again"),
        (tensor(storage(kind=b"cposix\nsystem\n")), "storage of unknown type"),
        (tensor(storage(kind=b"ctorch\nSystemStorage\n")), "storage of unknown type"),
        (tensor(storage("../../etc/passwd")), "KeyError"),
        (tensor(storage("/etc/passwd")), "KeyError"),
        (tensor(b"(" + text("file") + text("/etc/passwd") + b"tQ"), "no storage"),
        (tensor(b"K\x01"), "a tensor without a storage"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nctorch\nTensor\n)NtR", "of unknown making"),
        (b"ctorch._utils\n_rebuild_parameter\n)R", "TypeError"),
        (b"(" + text("storage") + b"(" + storage() + b"tQtQ", "no storage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tensor_that_lies_about_its_storage_is_refused(value: bytes, message: str, inert: Path) -> None:
    path = archive(state(value), inert / "w.pt", **{"0": DATA})
    with pytest.raises(ValueError, match=message) as refused:
        convert_weights(path)
    assert "\n" not in str(refused.value) and str(path) in str(refused.value)
    assert not path.with_suffix(".safetensors").exists()


# An array of one float32.
ARRAY = pickle.dumps(np.array([1], np.float32), protocol=2)[2:-1]


def laughing(opening: bytes, double: bytes, levels: int = 60) -> bytes:
    """A value that holds the one before it twice, many times over."""
    return opening + b"q\x00" + b"".join(b"0" + double + b"q\x00" for _ in range(levels))


@pytest.mark.parametrize(
    "value, message",
    [
        # Lists of lists, walked: 2^40 entries.
        (laughing(b"]", b"](h\x00h\x00e"), "holds no tensors"),
        (laughing(ARRAY, b"](h\x00h\x00e", 30), "nests more than 5,000,000 entries"),
        # Tuples of tuples, hashed as a key: 2^60 steps.
        (b"}" + laughing(b")", b"(h\x00h\x00t") + b"NsK\x01", "holds no tensors"),
        (b"K\x01" * 5 + b"r\xff\xff\xff\xff", "holds no tensors"),
        (b"\x8d" + struct.pack("<Q", 1 << 62), "damaged"),
        (b"\x8b" + struct.pack("<i", 1 << 30), "damaged"),
        (b"X\xff\xff\xff\xff", "damaged"),
        (b"L" + b"9" * 5000 + b"L\n", "damaged"),
        (b"R", "damaged"),
        (b"0" * 5, "damaged"),
        (b"h\x09", "damaged"),
        (b"e", "damaged"),
        (b"\x97", "no checkpoint needs"),
        (b"\xff", "damaged"),
        (b"", "damaged"),
        (b"P12\n", "something outside"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_would_take_all_memory_or_time_ends_with_one_line(
    value: bytes, message: str, inert: Path
) -> None:
    for path in (archive(b"\x80\x02" + value + b".", inert / "w.pt"), inert / "plain.pt"):
        if path.name == "plain.pt":
            path.write_bytes(b"\x80\x02" + value + b".")
        with pytest.raises(ValueError, match=message) as refused:
            convert_weights(path)
        assert "\n" not in str(refused.value)
