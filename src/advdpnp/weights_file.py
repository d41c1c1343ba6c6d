"""Files of weights: safetensors with what they belong to, and a checksum that is verified on reading."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advdpnp.bounded_files import MOST_TEXT, check_plain, read_bytes
from advdpnp.ranges import cut
from advdpnp.stored_values import parsed

if TYPE_CHECKING:
    from torch import Tensor

# The one entry of the metadata: safetensors writes several in random order, and equal weights shall be equal files.
_ENTRY = "advdpnp"
# A file of weights is as large as its network; this is that of the largest which one machine holds.
_MOST = 1 << 40
_LENGTH = 8


def weights_bytes(weights: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> bytes:
    """The content of a file of weights.

    Args:
        weights: tensors by name, on any device; some may share memory, as tied weights do.
        facts: JSON values that say what the weights are.
    """
    from safetensors.torch import save

    tensors, stored = {}, set()
    for name, tensor in weights.items():
        whole = tensor.detach().cpu().contiguous()
        memory = whole.untyped_storage().data_ptr()
        # safetensors refuses tensors that share memory.
        tensors[name] = whole.clone() if memory in stored else whole
        stored.add(memory)
    return save(tensors, {_ENTRY: json.dumps({**facts, "sha256": _checksum(tensors, facts)})})


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any]]":
    """What a safetensors file holds, anyone's: tensors on the CPU, in the order of the file, and its metadata.

    Raises:
        ValueError: damaged, or no such file; the message says how, and does not name the file. OSError: it cannot be
            read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    # Not `safe_open`: its tensors are mapped, so that a file which is cut while they are used ends the process, and
    # safetensors 0.8 leaks two integers of Python with each of them.
    content = read_bytes(path, _MOST)
    try:
        weights = load(content)
        header = parsed(content[_LENGTH : _LENGTH + int.from_bytes(content[:_LENGTH], "little")].decode())
    except KeyError as error:
        raise ValueError(f"torch has no numbers of the type {error}") from None
    except (SafetensorError, RuntimeError, TypeError) as error:
        # The library names what the file holds, which may be lines of any length.
        raise ValueError(cut(error)) from None
    metadata = header.pop("__metadata__", None)
    # In the order of the file: that of `load` is another one each time.
    return {name: weights[name] for name in header}, metadata or {}


def read_weights(path: Path) -> "tuple[dict[str, Tensor], dict[str, Any], bool]":
    """What `weights_bytes` was given, and whether there is a checksum: files of earlier versions have none.

    Raises:
        ValueError: damaged. KeyError: it does not say what its weights are. OSError: it cannot be read.
    """
    try:
        weights, metadata = read_tensors(path)
        facts = parsed(metadata[_ENTRY])
    except (ValueError, TypeError) as error:
        raise _damaged(path, f"{error}") from None
    if not isinstance(facts, dict):
        raise _damaged(path, "what it says of its weights is no object")
    stored = facts.pop("sha256", None)
    if stored is not None and stored != (found := _checksum(weights, facts)):
        raise _damaged(path, f"expected the sha256 {str(stored)[:12]}..., got {found[:12]}...")
    return weights, facts, stored is not None


def read_facts(path: Path) -> dict[str, Any] | None:
    """The facts of a file of weights alone, its tensors unverified; imports no torch.

    None where there are none, or where the file is not as long as its header says.
    """
    try:
        check_plain(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_LENGTH), "little")
            header = parsed(file.read(min(length, MOST_TEXT)).decode())
        facts = dict(parsed(header.pop("__metadata__")[_ENTRY]))
        ends = [tensor["data_offsets"][1] for tensor in header.values()]
        return facts if path.stat().st_size == _LENGTH + length + max(ends, default=0) else None
    except (AttributeError, LookupError, OSError, TypeError, ValueError):
        return None


def _damaged(path: Path, problem: str) -> ValueError:
    return ValueError(f"{path} is damaged ({problem}): restore it, or train again with --resume")


def _checksum(weights: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> str:
    """SHA-256 of names, types, shapes and bytes of all tensors, whatever their order, and of the facts."""
    import torch

    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(weights.items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
