"""Reads a weights file from anywhere, without running code from it."""

import pickle
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advdpnp.inert_pickle import LimitError
from advdpnp.torch_limits import check_limits
from advdpnp.weights_file import read_tensors

# Files of whole networks, and what to do with them.
_NO_WEIGHTS = {
    ".pt2": "a program of torch.export, which is a whole network: give it as --model, without --weights",
    ".onnx": "an ONNX graph, which gives no gradients to attack with: evaluate the run or exported folder that it is "
    "from, or a .pt2 file of it as --model",
}
CURE = "save its weights alone with torch.save(model.state_dict(), ...), where you trust it"


def read_checkpoint(path: Path) -> Any:
    """What a weights file holds, tensors on the CPU: safetensors, or a torch file of either format.

    Raises:
        FileNotFoundError: no such file. ValueError: damaged, or it holds more than tensors and plain values, such as
            a whole pickled module; nothing of it is run.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}: give a .safetensors or torch file")
    if path.suffix in _NO_WEIGHTS:
        raise ValueError(f"{path} is {_NO_WEIGHTS[path.suffix]}")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state, aliases = read_tensors(path)
    except ValueError as error:
        raise ValueError(f"{path} is damaged, or no safetensors file ({error}): restore it") from None
    # `safetensors.torch.save_model` drops all names but one of a tied tensor, and notes {dropped: kept}.
    return state | {name: state[kept] for name, kept in aliases.items() if name not in state and kept in state}


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch advises its own developers on old storage classes here.
            warnings.simplefilter("ignore")
            check_limits(path)
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a crafted file can fail in any way that the reader can
        raise ValueError(_refusal(path, error)) from None


def _refusal(path: Path, error: Exception) -> str:
    if isinstance(error, LimitError):
        return f"{path} is damaged, or crafted ({error}): {CURE}"
    text = " ".join(str(error).split())
    if "TorchScript" in text:
        return f"{path} is a TorchScript program, not weights: {CURE}"
    wanted = re.search(r"(?:GLOBAL|Unsupported class|Unsupported global:?) (?:GLOBAL )?([\w.]+)", text)
    # A pickle of a newer protocol is refused before the first name.
    if wanted or (isinstance(error, pickle.UnpicklingError) and _is_pickle(path)):
        asked = f"wants to run code ({wanted[1]})" if wanted else "is a pickle, and may want to run code"
        return (
            f"{path} {asked}, as files do that hold more than tensors and plain values, and is refused: "
            f"`{convert_command(path)}` takes its tensors out without running any of it"
        )
    return f"{path} is damaged, or no weights file ({type(error).__name__}): {CURE}"


def _is_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1) == b"\x80"


def convert_command(path: Path) -> str:
    """The command that writes the tensors of a file as safetensors."""
    return shlex.join(["advdpnp", "weights", "convert", str(path)])
