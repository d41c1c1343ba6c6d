"""Writes the tensors of a checkpoint, whatever else is in it, as safetensors; runs nothing of it."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from advdpnp.external.matching import under
from advdpnp.external.named_tensors import NamedTensor, named_tensors
from advdpnp.external.stored_tensors import StoredTensor, Unreadable
from advdpnp.external.torch_file import read_inertly
from advdpnp.external.weights import listed, printable, roots
from advdpnp.inert_pickle import GlobalName, Unmade

SUFFIX = ".safetensors"
# Tensors may share their data; a crafted file could name the same data without end.
_MOST_TIMES_THE_FILE = 4
_ALLOWANCE = 1 << 20
# How far it is looked for the classes that an entry asks for, and how many are named.
_KINDS, _FIRST = 3, 100


@dataclass(frozen=True)
class ConvertedWeights:
    """What a conversion wrote.

    Args:
        out: the file.
        keys: where weights lie in it, as --weights-key takes it; "." alone where it is one state dict.
        tensors: how many.
        nbytes: their size in bytes.
        left_out: what the checkpoint holds besides, with the classes of objects.
    """

    out: Path
    keys: tuple[str, ...]
    tensors: int
    nbytes: int
    left_out: tuple[str, ...]


def convert_weights(path: Path, out: Path | None = None, key: str = "") -> ConvertedWeights:
    """Write the tensors of a torch file as safetensors, without running or importing anything that it names.

    A file with one state dict, or one pickled network, becomes that state dict. Of a file with several, such as a
    network and its average, all are written, each under its key, and --weights-key chooses when they are loaded. An
    optimizer's tensors are left out.

    Args:
        path: written by torch.save or pickle.dump.
        out: the file to write; by default beside the other, with the suffix .safetensors. It must not exist.
        key: write only what lies under this prefix, as "state_dict.model".
    Raises:
        FileNotFoundError: no such file. FileExistsError: `out` is there. ValueError: damaged, no tensors, or tensors
            without plain values. Nothing is written then.
    """
    out = path.with_suffix(SUFFIX) if out is None else out
    if path.suffix == SUFFIX or out.suffix != SUFFIX:
        raise ValueError(f"weights are converted from a torch file to a {SUFFIX} file; got {path} to {out}")
    if out.exists():
        raise FileExistsError(f"{out} is there already: give another name with --out, or remove it")
    content = read_inertly(path)
    try:
        found = named_tensors(content)
        chosen = _chosen(found, key)
        tensors, left_out = under(chosen, ""), _left_out(content, chosen)
        _check_readable(tensors, path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be converted: {error}") from None
    written = _write(tensors, out)
    return ConvertedWeights(out, tuple(roots(chosen)), len(tensors), written, left_out)


def _chosen(found: list[NamedTensor], key: str) -> list[NamedTensor]:
    """What is written, under the names that it gets."""
    if not found:
        raise ValueError("it holds no tensors")
    if key:
        inside = under(found, key)
        if not inside:
            raise ValueError(f"it has no weights under {key!r}; there are: {listed(roots(found))}")
        begin = "" if key == "." else f"{key}."
        return [NamedTensor("", path.removeprefix(begin), value) for path, value in inside.items()]
    # Mappings of single numbers hold scores, not weights.
    weighty = {tensor.root for tensor in found if not tensor.value.scalar}
    kept = [tensor for tensor in found if tensor.root in weighty] or found
    alone = len({tensor.root for tensor in kept}) == 1
    return [NamedTensor("", tensor.name, tensor.value) for tensor in kept] if alone else kept


def _check_readable(tensors: Mapping[str, Any], path: Path) -> None:
    for name, tensor in tensors.items():
        if isinstance(tensor, Unreadable):
            raise ValueError(
                f"{printable(name)} is {tensor.reason}, which safetensors does not hold: "
                "choose other weights with --weights-key, or save it as a plain tensor"
            )
    total = sum(tensor.nbytes for tensor in _distinct(tensors).values())
    if total > _MOST_TIMES_THE_FILE * path.stat().st_size + _ALLOWANCE:
        raise ValueError(f"its tensors name the same data again and again, and would take {total:,} bytes")


def _distinct(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Tensors without second names."""
    first: dict[Any, str] = {}
    for name, tensor in tensors.items():
        first.setdefault(tensor.key, name)
    return {name: tensors[name] for name in first.values()}


def _write(tensors: Mapping[str, StoredTensor], out: Path) -> int:
    """Write a whole file or nothing; its size. A second name of a tensor is noted, as safetensors' save_model does."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    names = {tensor.key: name for name, tensor in reversed(_distinct(tensors).items())}
    kept = _separate({name: tensors[name] for name in reversed(names.values())})
    aliases = {name: names[tensor.key] for name, tensor in tensors.items() if names[tensor.key] != name}
    out.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=f".{out.name}.")
    os.close(handle)
    try:
        save_file(kept, temporary, {"format": "pt", **aliases})
        Path(temporary).chmod(0o644)
        Path(temporary).replace(out)
    except (SafetensorError, UnicodeError) as error:
        raise ValueError(f"{out} cannot be written ({' '.join(str(error).split())}): nothing was") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return sum(tensor.nbytes for tensor in kept.values())


def _separate(tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    """Their values; what overlaps another one in the file is copied, since safetensors takes no shared memory."""
    read = {}
    source, reached = 0, 0
    for name, tensor in sorted(tensors.items(), key=lambda named: named[1].place):
        of, start, end = tensor.place
        overlaps = of == source and start < reached
        read[name] = tensor.read().clone() if overlaps else tensor.read()
        source, reached = of, max(end, reached) if of == source else end
    return {name: read[name] for name in tensors}


def _left_out(content: Any, chosen: list[NamedTensor]) -> tuple[str, ...]:
    """Entries of the file of which nothing is written, with the classes that they ask for."""
    values = {id(tensor.value) for tensor in chosen}
    if not isinstance(content, Mapping):
        return ()
    plain, of_classes = [], []
    for name, value in content.items():
        if any(id(tensor.value) in values for tensor in named_tensors({"": value})):
            continue
        kinds = list(dict.fromkeys(_kinds(value)))
        if kinds:
            more = ", ..." if len(kinds) > _KINDS else ""
            of_classes.append(f"{name} ({', '.join(kinds[:_KINDS])}{more})")
        else:
            plain.append(str(name))
    return (*of_classes, *plain)


def _kinds(value: Any, depth: int = 0) -> Iterator[str]:
    """Classes and functions that are named in the first entries of a value."""
    if isinstance(value, Unmade):
        yield value.kind
    elif isinstance(value, GlobalName):
        yield value.text
    elif isinstance(value, (Mapping, list, tuple)) and depth < _KINDS:
        for inside in islice(value.values() if isinstance(value, Mapping) else value, _FIRST):
            yield from _kinds(inside, depth + 1)
