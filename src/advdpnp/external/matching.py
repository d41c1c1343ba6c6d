"""Finds the tensors of a network among those of a checkpoint: under which prefix they lie, and what beside them."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from advdpnp.external.named_tensors import NamedTensor
from advdpnp.ranges import cut, nearest

State = dict[str, Tensor]

# Names that wrappers such as DataParallel put into keys.
_WRAPPERS = {"module", "_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_forward_module"}
# Counts of averaged networks, which the wrapper of an average stores beside them.
_COUNTER = "n_averaged"
# Parts of a training that are no part of the network: the weights of classes in a loss.
_TRAINING = {"criterion", "loss", "loss_fn", "loss_function"}
_AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|shadow)([._]|$)")


@dataclass(frozen=True)
class Match:
    """Tensors under one prefix of a checkpoint, by the names that the network has for them.

    Args:
        prefix: as it stands in the file, without the last dot; "" for none.
        state: the tensors, with those that the network lacks.
        paths: their names in the file.
        averaged: whether they are an average of networks, as far as the names tell.
    """

    prefix: str
    state: State
    paths: frozenset[str]
    averaged: bool

    @property
    def name(self) -> str:
        """The prefix, for people and --weights-key."""
        return self.prefix or "."

    def equals(self, other: "Match") -> bool:
        """Whether the two hold the same values."""
        return self.state.keys() == other.state.keys() and all(
            tensor is other.state[name] or torch.equal(tensor, other.state[name]) for name, tensor in self.state.items()
        )


def under(tensors: Iterable[NamedTensor], key: str) -> dict[str, Any]:
    """Tensors of a checkpoint by their names in the file: those at a key and below it; all for "" and ".".

    Args:
        tensors: what `named_tensors` found.
        key: a dotted name, of nested mappings or the beginning of flat names.
    """
    below = "" if key in ("", ".") else f"{key}."
    found: dict[str, Any] = {}
    for tensor in tensors:
        if not tensor.path.startswith(below):
            continue
        if found.setdefault(tensor.path, tensor.value) is not tensor.value:
            raise ValueError(f"two tensors are called {cut(tensor.path)}: save the weights alone")
    return found


def matches(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], key: str = "") -> list[Match]:
    """Every place of a checkpoint where a network is whole; else the one place where most of it is.

    Args:
        tensors: by their names in the file.
        wanted: the network's state dict.
        key: where the tensors lie; a network right there goes before those that lie deeper.
    Returns:
        Matches that `problems` has nothing against, or one that it has something against. None without tensors.
    """
    plain, start = _without_wrappers(tensors, key.strip("."), wanted)
    own = _shared(wanted)
    best: list[tuple[int, Match]] = []
    for put_on in dict.fromkeys(("", own)):
        names = {name.removeprefix(put_on) for name in wanted}
        counts = _prefixes(plain, names)
        tried: list[tuple[int, Match]] = []
        whole: dict[str, Match] = {}
        # From the deepest on: what is a whole network by itself is no part of one that it lies in.
        for prefix in reversed(counts):
            match = _match(prefix, put_on, plain, whole, names)
            tried.append((counts[prefix], match))
            if not problems(match.state, wanted):
                whole[prefix] = match
        if start in whole and key:
            return [whole[start]]
        if whole:
            return _different([whole[prefix] for prefix in counts if prefix in whole])
        best += reversed(tried)
    if best:
        # The first of equals is the one that changes least.
        return [max(best, key=lambda pair: pair[0])[1]]
    return [_match(start, "", plain, {}, set(wanted))] if tensors else []


def problems(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Why tensors do not fit a network, in words; nothing where they do.

    Args:
        state: under the network's names.
        wanted: the network's state dict.
    """
    # Files that are older than PyTorch 0.4.1 do not count batches, and nothing depends on it.
    missing = [
        name
        for name in wanted
        if not (name in state or name.endswith("num_batches_tracked") or _loaded_by_another(name, wanted, state))
    ]
    # Of one tensor under two names, as aliases in safetensors are, one name is enough.
    used = {id(tensor) for name, tensor in state.items() if name in wanted}
    unexpected = [name for name, tensor in state.items() if name not in wanted and id(tensor) not in used]
    shaped = [
        f"{name} {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and not is_lazy(tensor) and state[name].shape != tensor.shape
    ]
    odd = [
        f"{name} is {kind}"
        for name, tensor in wanted.items()
        if name in state and (kind := _odd_kind(state[name], tensor))
    ]
    found = []
    if odd:
        found.append(f"{len(odd)} are no numbers for this network ({', '.join(odd[:3])})")
    if missing:
        found.append(f"{len(missing)} missing ({', '.join(_with_nearest(missing[:3], unexpected))})")
    if unexpected:
        found.append(f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])})")
    if shaped:
        found.append(f"{len(shaped)} of another shape ({'; '.join(shaped[:3])})")
    elif not odd and (contradictions := _contradictions(state, wanted)):
        found.append(f"{len(contradictions)} pairs that are one tensor there differ ({', '.join(contradictions[:3])})")
    return found


def _without_wrappers(
    tensors: Mapping[str, Tensor], key: str, wanted: Iterable[str]
) -> tuple[dict[str, tuple[str, Tensor]], str]:
    """Names without what wrappers add, each with its name in the file, and the key; unchanged if names would meet."""
    foreign = _WRAPPERS - {part for own in wanted for part in own.split(".")}

    def plain(path: str) -> str:
        return ".".join(part for part in path.split(".") if part not in foreign)

    found = {plain(path): (path, tensor) for path, tensor in tensors.items()}
    if len(found) < len(tensors):
        return {path: (path, tensor) for path, tensor in tensors.items()}, key
    return found, plain(key)


def _shared(names: Iterable[str]) -> str:
    """The parts with which all names begin, at most all but the last of each, with a dot."""
    shared = ""
    # As far as the shortest name goes.
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared += f"{parts[0]}."
    return shared


def _prefixes(plain: Iterable[str], names: set[str]) -> dict[str, int]:
    """How many of the names lie under each prefix, without the last dot, where many do; the shortest come first."""
    counts: Counter[str] = Counter()
    for path in plain:
        parts = path.split(".")
        counts.update(".".join(parts[:at]) for at in range(len(parts)) if ".".join(parts[at:]) in names)
    most = max(counts.values(), default=0)
    # Counters of batches and tied weights may be missing; blocks of a network share some of its names.
    serious = {prefix: count for prefix, count in counts.items() if 2 * count >= most}
    return dict(sorted(serious.items(), key=lambda pair: pair[0].count(".") + bool(pair[0])))


def _match(
    prefix: str, put_on: str, plain: Mapping[str, tuple[str, Tensor]], networks: Iterable[str], names: set[str]
) -> Match:
    begin = f"{prefix}." if prefix else ""
    inside = {path.removeprefix(begin): stored for path, stored in plain.items() if path.startswith(begin)}
    others = [f"{other}.".removeprefix(begin) for other in networks if f"{other}.".startswith(begin)]
    beside = _beside(inside, names, others)
    held = {name: stored for name, stored in inside.items() if name not in beside}
    given = {path for path, _ in held.values()}
    above = prefix.split(".") if prefix else []
    counted = any(".".join([*above[:at], _COUNTER]) in plain for at in range(len(above) + 1))
    shown = _given_prefix(held, names, prefix)
    averaged = counted or bool(_AVERAGE.search(shown.lower()))
    return Match(shown, {put_on + name: tensor for name, (_, tensor) in held.items()}, frozenset(given), averaged)


def _given_prefix(held: Mapping[str, tuple[str, Tensor]], names: set[str], prefix: str) -> str:
    """The prefix as it stands in the file, with what wrappers put into it."""
    for name, (path, _) in held.items():
        if name in names and (path == name or path.endswith(f".{name}")):
            return path.removesuffix(name).removesuffix(".")
    return prefix


def _beside(inside: Mapping[str, tuple[str, Tensor]], names: set[str], others: list[str]) -> set[str]:
    """What lies among a network's tensors and is none of them: other networks, metrics, counters, losses."""
    modules: dict[str, bool] = {}
    for name, (_, tensor) in inside.items():
        module = name.rpartition(".")[0]
        # What metrics count, weights never are: whole numbers, or a single one.
        counts = tensor.dim() == 0 or _is_whole(tensor)
        modules[module] = modules.get(module, True) and counts
    own = {name.rpartition(".")[0] for name in names}
    first = {name.split(".")[0] for name in names}

    def is_beside(name: str) -> bool:
        top, module = name.split(".")[0], name.rpartition(".")[0]
        return (
            name.split(".")[-1] == _COUNTER
            or any(name.startswith(other) for other in others)
            or (top not in first and "." in name and (top in _TRAINING or (modules[module] and module not in own)))
        )

    return {name for name in inside if name not in names and is_beside(name)}


def _different(found: Iterable[Match]) -> list[Match]:
    """Of matches with the same values, the first."""
    kept: list[Match] = []
    for match in found:
        if not any(match.equals(other) for other in kept):
            kept.append(match)
    return kept


def _odd_kind(stored: Tensor, wanted: Tensor) -> str:
    """What a stored tensor is, if a network's cannot take its values; else ""."""
    if stored.is_meta:
        return "without data"
    if stored.is_quantized or stored.is_nested:
        return "quantized" if stored.is_quantized else "nested"
    if stored.layout != torch.strided:
        return "sparse"
    if stored.is_complex() and not wanted.is_complex():
        return "complex"
    # What is quantized by hand lies there too, without the scale that it is to be multiplied by.
    return f"of whole numbers, {stored.dtype}" if _is_whole(stored) and not _is_whole(wanted) else ""


def _is_whole(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex())


def _tied(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of a network are in the same memory."""
    if is_lazy(a) or is_lazy(b) or a.is_meta or a.device != b.device or not a.numel():
        return False
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _same_elements(a: Tensor, b: Tensor) -> bool:
    return (a.storage_offset(), a.shape, a.stride()) == (b.storage_offset(), b.shape, b.stride())


def _loaded_by_another(name: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    """Whether a tensor is tied to one that is loaded and covers it, so that it gets its values."""
    tensor = wanted[name]
    tied = [other for key, other in wanted.items() if key in state and _tied(tensor, other)]
    return any(
        _same_elements(tensor, other) or other.numel() * other.element_size() == other.untyped_storage().nbytes()
        for other in tied
    )


def _contradictions(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    """Names that are one tensor in the network and have different values in the file."""
    first: dict[tuple[Any, ...], str] = {}
    found = []
    for name, tensor in wanted.items():
        if name not in state or is_lazy(tensor) or tensor.is_meta or not tensor.numel():
            continue
        place = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        other = first.setdefault(place, name)
        if other != name and not torch.equal(state[name].double(), state[other].double()):
            found.append(f"{name} and {other}")
    return found


def _with_nearest(missing: list[str], unexpected: list[str]) -> Iterator[str]:
    for name in missing:
        near = nearest(name, unexpected, 1, cutoff=0.5)
        yield f"{name}, nearest {near}" if near else name
