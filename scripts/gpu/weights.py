"""Weights in files that are small enough to come back, each with its SHA-256, and back into one state."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from advdpnp.runs import Json, Run, write_bytes, write_json
from gpu.context import Context
from gpu.processes import DONE
from gpu.scale import MIB

PART_BYTES = 15 * MIB
# What a safetensors file has beside its tensors: names, shapes and places.
_HEADER = 64 * 1024


def parts_of(tensors: Mapping[str, Tensor], limit: int = PART_BYTES) -> list[dict[str, Tensor]]:
    """Tensors in as few parts of at most `limit` bytes as largest-first finds; a larger tensor is a part of its own."""
    parts: list[dict[str, Tensor]] = []
    sizes: list[int] = []
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].nbytes, item[0])):
        place = next((k for k, size in enumerate(sizes) if size + tensor.nbytes <= limit - _HEADER), None)
        if place is None:
            parts.append({})
            sizes.append(0)
            place = len(parts) - 1
        parts[place][name] = tensor.contiguous()
        sizes[place] += tensor.nbytes
    return parts


def write_parts(tensors: Mapping[str, Tensor], out: Path, stem: str, limit: int = PART_BYTES) -> dict[str, str]:
    """Write <stem>-1of2.safetensors and so on; the SHA-256 of each file."""
    parts, sums = parts_of(tensors, limit), {}
    for number, part in enumerate(parts, start=1):
        name, content = f"{stem}-{number}of{len(parts)}.safetensors", save(part)
        write_bytes(out / name, content)
        sums[name] = hashlib.sha256(content).hexdigest()
    return sums


def read_parts(folder: Path, sums: Mapping[str, str]) -> dict[str, Tensor]:
    """The union of the parts.

    Args:
        folder: where they are.
        sums: SHA-256 of each file, by name.
    Raises:
        ValueError: a file is missing, or is not the one that was written.
    """
    tensors: dict[str, Tensor] = {}
    for name, expected in sums.items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path} is missing: expected {len(sums)} parts, {', '.join(sums)}; bring it too")
        content = path.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != expected:
            raise ValueError(f"{path} is damaged (SHA-256 {found[:12]}, not {expected[:12]}): bring it again")
        try:
            tensors |= load(content)
        except SafetensorError as error:
            raise ValueError(f"{path} is damaged ({error}): bring it again") from None
    return tensors


def to_bf16(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Floating-point tensors in bf16, half the bytes; the others as they are."""
    return {name: w.to(torch.bfloat16) if w.is_floating_point() else w for name, w in weights.items()}


def weights_stage(context: Context) -> int:
    """Write the last weights of the arms in the options, in bf16."""
    found: Json = {}
    for label in context.options["arms"]:
        run = Run(context.run_folder(label))
        weights, epoch = run.read_weights("last")
        out = context.places.out
        found[label] = {
            "epoch": epoch,
            "precision": "bf16",
            "files": write_parts(to_bf16(weights), out, f"{label}-bf16"),
        }
        write_json(context.places.work / "weights.json", found)
    return DONE
