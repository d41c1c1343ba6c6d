"""Loads the weights of a checkpoint into a network."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from advdpnp.external.checkpoint_file import CURE
from advdpnp.external.matching import Match, matches, problems, under
from advdpnp.external.named_tensors import NamedTensor, named_tensors

# How many names a message lists.
_LISTED = 8


@dataclass(frozen=True)
class LoadedWeights:
    """What was taken of a checkpoint, and what was not.

    Args:
        key: prefix of the network's tensors in the file, as --weights-key takes it; "." for none.
        entries: how many tensors were taken.
        averaged: whether they are an average of networks (EMA, SWA), as far as the names tell.
        others: keys of other weights in the file that fit the network too.
        unused: what else the file holds.
        cautions: what the user should know, such as weights that are stored in half precision.
    """

    key: str
    entries: int
    averaged: bool
    others: tuple[str, ...]
    unused: tuple[str, ...]
    cautions: tuple[str, ...]

    def text(self, source: str) -> str:
        """In a line, for people; `source` is the name of the file."""
        where = f"{printable(self.key)} of {source}" if self.key != "." else source
        said = f"weights: {where}, {self.entries} entries" + (", an average of networks" if self.averaged else "")
        if self.others:
            said += f"; {listed(self.others)} would fit too, see --weights-key"
        return said + (f"; not used: {listed(self.unused)}" if self.unused else "")


def load_weights(model: nn.Module, content: Any, key: str = "", source: str = "the weights file") -> LoadedWeights:
    """Load the tensors of a network out of a checkpoint, wherever they lie in it.

    They are found by their names: under a prefix such as "state_dict.model" all of them must be there. What wrappers as
    DataParallel add to names does not matter. What lies beside the prefix is left out and reported.

    Args:
        model: the network, changed in place.
        content: what `read_checkpoint` gave: a state dict, or one within mappings and lists.
        key: prefix to look under, where several fit: of nested mappings, lists ("state_dict.0") or flat names; "." for
            the top level.
        source: name of the file, for messages.
    Raises:
        ValueError: no or several weights that fit; missing, unexpected or mis-shaped entries.
    """
    wanted = model.state_dict()
    try:
        found = named_tensors(content)
        everything, tensors = under(found, ""), under(found, key)
    except ValueError as error:
        raise ValueError(f"{source} cannot be used: {error}") from None
    if not everything:
        held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise ValueError(f"{source} holds no state dict, only {printable(held) or 'nothing'}: {CURE}")
    if not tensors:
        there = [match.name for match in matches(everything, wanted) if not problems(match.state, wanted)]
        raise ValueError(f"{source} has no weights under {key!r}; there are: {listed(there or roots(found))}")
    fitting = matches(tensors, wanted, key)
    if len(fitting) > 1:
        names = [match.name for match in fitting]
        raise ValueError(
            f"{source} holds several weights ({listed(names)}): choose one with --weights-key, as {printable(names[0])}"
        )
    chosen = fitting[0]
    if wrong := problems(chosen.state, wanted):
        where = f"{source}, under {printable(chosen.name)}," if chosen.prefix else source
        raise ValueError(
            f"{where} does not fit the network of {len(wanted)} entries: {printable(', '.join(wrong))}: "
            "give the callable and --model-arg that these weights were trained with"
        )
    model.load_state_dict(chosen.state, strict=False)
    narrow = sorted({str(t.dtype) for t in chosen.state.values() if t.dtype in (torch.float16, torch.bfloat16)})
    said = [f"weights are stored as {', '.join(narrow)}: they are computed with in float32"] if narrow else []
    others = [m for m in matches(everything, wanted) if not (m.equals(chosen) or problems(m.state, wanted))]
    unused = _unused(content, found, [chosen, *others])
    also = tuple(match.name for match in others)
    return LoadedWeights(chosen.name, len(chosen.state), chosen.averaged, also, unused, tuple(said))


def roots(tensors: Iterable[NamedTensor]) -> list[str]:
    """Where the weights of a file are, as --weights-key takes it; "." is the top level."""
    return list(dict.fromkeys(tensor.root or "." for tensor in tensors))


def listed(names: Iterable[str]) -> str:
    """Names from a file, at most eight of them, for a message."""
    shown = list(names)
    rest = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(printable(name) for name in shown[:_LISTED]) + rest


def printable(text: str) -> str:
    """A text from a file as a terminal may have it: no control characters, and not endless."""
    short = text if len(text) <= 500 else f"{text[:500]}..."
    return "".join(character if character.isprintable() else "?" for character in short)


def _unused(content: Any, found: Iterable[NamedTensor], fitting: Sequence[Match]) -> tuple[str, ...]:
    """What a file holds beside weights that fit, each by as much of its name as sets it apart from the first."""
    taken = fitting[0].prefix.split(".") if fitting[0].prefix else []
    known = frozenset().union(*(match.paths for match in fitting))
    names, holding = [], set()
    for tensor in found:
        parts = tensor.path.split(".")
        holding |= {".".join(parts[: at + 1]) for at in range(len(parts))}
        if tensor.path not in known and parts[-1] != "n_averaged":
            pairs = enumerate(zip(parts, taken, strict=False))
            apart = next((at for at, (one, other) in pairs if one != other), len(taken))
            names.append(".".join(parts[: apart + 1]))
    plain = [str(name) for name in content if str(name) not in holding] if isinstance(content, Mapping) else []
    return tuple(dict.fromkeys([*names, *plain]))
