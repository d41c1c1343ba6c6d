"""Checkpoints as trainers write them become safetensors with the same tensors, whatever lies beside them."""

import argparse
import collections
import dataclasses
import pathlib
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from advdpnp.external import convert_weights, load_weights, read_checkpoint

STATE = {
    "conv.weight": torch.arange(24.0).view(4, 6).T,
    "conv.bias": torch.arange(4).bfloat16() / 3,
    "bn.num_batches_tracked": torch.tensor(7),
    "half": torch.rand(3).half(),
    "flags": torch.tensor([True, False]),
    "complex": torch.tensor([1 + 2j]),
    "empty": torch.zeros(0, 3),
}


@dataclasses.dataclass
class Settings:
    rate: float = 0.1


class Slotted:
    __slots__ = ("inside",)

    def __init__(self) -> None:
        self.inside = {"rate": 1}


class AttributeDict(dict[str, Any]):
    """As trainers have them: a dictionary with a state of its own."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


BESIDE = {
    "args": argparse.Namespace(rate=0.1, path=pathlib.Path("a")),
    "settings": Settings(),
    "slotted": Slotted(),
    "hyper_parameters": AttributeDict(rate=1),
    "score": np.float64(0.3),
    "sizes": {torch.Size([2]), (1, 2)},
    "types": [torch.float32, torch.device("cpu"), int, collections.Counter("ab")],
    "many": collections.defaultdict(list, {"a": [1]}),
}


def zipped(content: Any, path: Path) -> None:
    torch.save(content, path)


def legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def pickled(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def old_pickled(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


FORMS = pytest.mark.parametrize("write", [zipped, legacy, pickled, old_pickled])


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in wanted.items()
    )


@FORMS
def test_tensors_come_out_of_every_form_whatever_lies_beside_them(
    write: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    write({"state_dict": STATE, **BESIDE}, tmp_path / "w.pt")
    done = convert_weights(tmp_path / "w.pt")
    assert done.out == tmp_path / "w.safetensors" and done.tensors == len(STATE) and done.keys == (".",)
    assert same(load_file(done.out), STATE)
    left = " ".join(done.left_out)
    for name in ("args (argparse.Namespace)", "Settings)", "Slotted)", "AttributeDict)", "score (numpy", "many"):
        assert name in left


def test_an_optimizer_s_tensors_are_left_out(tmp_path: Path) -> None:
    big = {"used": torch.ones(10), "optimizer": {"state": {0: torch.zeros(100)}, "param_groups": []}}
    torch.save(big, tmp_path / "w.pt")
    assert convert_weights(tmp_path / "w.pt").nbytes == 40


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@FORMS
def test_a_pickled_network_becomes_its_state_dict_without_its_code(
    write: Callable[[Any, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = types.ModuleType("strangers_network")
    exec(
        "from torch import nn\n"
        "import torch\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layers = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2, bias=False))\n"
        "        self.scale = nn.Parameter(torch.rand(2))\n"
        "        self.register_buffer('kept', torch.rand(2))\n"
        "        self.register_buffer('passing', torch.rand(2), persistent=False)\n"
        "        self.tied = self.layers[0]\n",
        code.__dict__,
    )
    monkeypatch.setitem(sys.modules, "strangers_network", code)
    network = code.Net()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    write(network, tmp_path / "whole.pt")
    write({"model": nn.DataParallel(network), "epoch": 3}, tmp_path / "inside.pt")
    monkeypatch.delitem(sys.modules, "strangers_network")
    convert_weights(tmp_path / "whole.pt")
    convert_weights(tmp_path / "inside.pt")
    # Tied names are one tensor in the file, and read as two.
    assert same(read_checkpoint(tmp_path / "whole.safetensors"), state)
    again = code.Net()
    load_weights(again, read_checkpoint(tmp_path / "inside.safetensors"))
    assert same(again.state_dict(), state)
    assert "strangers_network" not in sys.modules


def test_several_weights_are_all_written_and_one_by_key(tmp_path: Path) -> None:
    first, second = nn.Linear(2, 3), nn.Linear(2, 3)
    states = [dict(network.state_dict()) for network in (first, second)]
    score = {"best": {"a": torch.tensor(1.0)}}
    content = {"state_dict": states, "args": argparse.Namespace(), "callbacks": score}
    torch.save(content, tmp_path / "w.pt")
    done = convert_weights(tmp_path / "w.pt")
    assert done.keys == ("state_dict.0", "state_dict.1")
    model = nn.Linear(2, 3)
    with pytest.raises(ValueError, match=r"several weights \(state_dict.0, state_dict.1\)"):
        load_weights(model, read_checkpoint(done.out))
    load_weights(model, read_checkpoint(done.out), "state_dict.1")
    assert same(dict(model.state_dict()), states[1])
    one = convert_weights(tmp_path / "w.pt", tmp_path / "one.safetensors", "state_dict.0")
    assert same(load_file(one.out), states[0])
    with pytest.raises(ValueError, match=r"no weights under 'ema'; there are: state_dict.0, state_dict.1"):
        convert_weights(tmp_path / "w.pt", tmp_path / "other.safetensors", "ema")


def test_a_storage_in_parts_is_written_once_for_two_names_and_whole_for_each_part(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    parts = {"whole": whole, "again": whole, "row": whole[1], "column": whole[:, 2], "step": whole.flatten()[1::3]}
    for write in (zipped, legacy):
        write(parts, tmp_path / "w.pt")
        out = convert_weights(tmp_path / "w.pt", tmp_path / f"{write.__name__}.safetensors").out
        with safe_open(out, "pt") as file:
            assert set(file.keys()) == {"whole", "row", "column", "step"}
            assert file.metadata()["again"] == "whole"
        assert same(read_checkpoint(out), parts)


def test_storages_of_a_gpu_and_of_old_pytorch_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
    for write in (zipped, legacy):
        write(STATE, tmp_path / f"{write.__name__}.pt")
        assert same(load_file(convert_weights(tmp_path / f"{write.__name__}.pt").out), STATE)


class Subclass(Tensor):
    """A tensor that is more than one."""


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantiz.*", "ignore:.*nested.*", "ignore:.*TypedStorage.*")
@pytest.mark.parametrize(
    "make, what",
    [
        (lambda: torch.eye(2).to_sparse(), "a sparse tensor"),
        (lambda: torch.eye(2).to_sparse_csr(), "a sparse tensor"),
        (lambda: torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8), "a quantized tensor"),
        (lambda: torch.empty(2, device="meta"), "a tensor without data"),
        (lambda: torch.ones(2).as_subclass(Subclass), "of the subclass external.test_conversion.Subclass"),
        (lambda: torch.tensor([1j]).conj(), "conjugation put off"),
        (lambda: np.array(["a"]), "a numpy array of a kind"),
        (lambda: np.asfortranarray(np.eye(2)), "a numpy array of a kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_plain_tensor_is_refused_by_name(make: Callable[[], Any], what: str, tmp_path: Path) -> None:
    torch.save({"good": torch.ones(2), "bad": make()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=rf"bad is .*{what}") as refused:
        convert_weights(tmp_path / "w.pt")
    assert "\n" not in str(refused.value) and not (tmp_path / "w.safetensors").exists()


def test_parameters_and_numpy_arrays_are_tensors(tmp_path: Path) -> None:
    arrays = {kind: np.arange(6).astype(kind).reshape(2, 3) for kind in ("f4", "f8", "f2", "i8", "u1", "bool")}
    pickled({"a": nn.Parameter(torch.ones(2)), **arrays}, tmp_path / "w.pkl")
    expected = {"a": torch.ones(2), **{kind: torch.from_numpy(array) for kind, array in arrays.items()}}
    assert same(load_file(convert_weights(tmp_path / "w.pkl").out), expected)


def test_an_old_file_that_was_cut_anywhere_in_its_storages_says_so(tmp_path: Path) -> None:
    legacy(STATE, tmp_path / "old.pt")
    content = (tmp_path / "old.pt").read_bytes()
    # In their content, and in the eight bytes of a length before it.
    for cut in range(1, 60):
        (tmp_path / "cut.pt").write_bytes(content[:-cut])
        with pytest.raises(ValueError, match="a storage of"):
            convert_weights(tmp_path / "cut.pt")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_files_are_refused_in_one_line_and_nothing_is_overwritten(tmp_path: Path) -> None:
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(str(tmp_path / "script.pt"))
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pt").write_text("weights, weights")
    torch.save(STATE, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:900])
    legacy(STATE, tmp_path / "old.pt")
    (tmp_path / "cutold.pt").write_bytes((tmp_path / "old.pt").read_bytes()[:-3])
    (tmp_path / "tar.pt").write_bytes(b"\0" * 257 + b"ustar" + b"\0" * 300)
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    for name, message in (
        ("script.pt", "TorchScript"),
        ("empty.pt", "damaged"),
        ("text.pt", "damaged"),
        ("cut.pt", "damaged"),
        ("cutold.pt", "a storage of"),
        ("tar.pt", "before 0.4"),
        ("none.pt", "no tensors"),
        ("whole.safetensors", "from a torch file"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            convert_weights(tmp_path / name)
        assert "\n" not in str(refused.value)
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        convert_weights(tmp_path / "nowhere.pt")
    convert_weights(tmp_path / "whole.pt")
    before = (tmp_path / "whole.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match="is there already: give another name with --out"):
        convert_weights(tmp_path / "whole.pt")
    assert (tmp_path / "whole.safetensors").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
