"""All tensors of a checkpoint by their dotted names, however they are nested."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from advdpnp.external.stored_tensors import StoredArray, StoredTensor, Unreadable
from advdpnp.inert_pickle import Unmade

# Deeper and larger than any checkpoint: lists that hold each other could be walked forever.
_DEEPEST, _MOST = 40, 5_000_000
# As many plain values take the time of a mapping with tensors, and of a layer.
_MAPPING, _LAYER = 250, 25
# Fields of a network.
_NETWORK = ("_parameters", "_buffers", "_modules")


class NamedTensor(NamedTuple):
    """A tensor of a checkpoint.

    Args:
        root: dotted name of the mapping or network that it belongs to, as "state_dict"; "" for the whole file.
        name: its name in there, as "conv1.weight".
        value: the tensor, as it was read.
    """

    root: str
    name: str
    value: Any

    @property
    def path(self) -> str:
        """Its name in the whole file."""
        return joined(self.root, self.name)


def joined(prefix: str, name: str) -> str:
    """Two dotted names as one; either may be empty."""
    return f"{prefix}.{name}" if prefix and name else prefix or name


def named_tensors(content: Any) -> list[NamedTensor]:
    """Tensors in mappings, lists and pickled networks; those of an optimizer are left out.

    Args:
        content: what `read_checkpoint` or `read_inertly` gave.
    Raises:
        ValueError: more entries than a checkpoint has.
    """
    return list(_Walk().tensors(content, "", 0))


class _Walk:
    def __init__(self) -> None:
        self.seen = self.found = 0
        self.inside: set[int] = set()
        self.barren: set[int] = set()

    def tensors(self, value: Any, path: str, depth: int) -> Iterator[NamedTensor]:
        # Objects may refer back to what holds them.
        if depth > _DEEPEST or id(value) in self.inside or id(value) in self.barren:
            return
        self.inside.add(id(value))
        found = self.found
        if _is_network(value):
            for name, tensor in self.of_network(value, depth):
                self.found += 1
                yield NamedTensor(path, name, tensor)
        else:
            for name, child in _children(value):
                self.count()
                tensor = _tensor(child)
                if tensor is not None:
                    self.found += 1
                    yield NamedTensor(path, name, tensor)
                elif isinstance(child, (Mapping, list, tuple, Unmade)):
                    yield from self.tensors(child, joined(path, name), depth + 1)
        self.inside.discard(id(value))
        if self.found == found:
            self.barren.add(id(value))
        else:
            self.count(_MAPPING)

    def of_network(self, network: Unmade, depth: int) -> Iterator[tuple[str, Any]]:
        """What state_dict() would give of a pickled network."""
        parameters, buffers, modules = (network.state[name] for name in _NETWORK)
        passing = network.state.get("_non_persistent_buffers_set")
        left_out = {name for name in passing if isinstance(name, str)} if isinstance(passing, list) else set()
        stored = {**parameters, **{name: buffer for name, buffer in buffers.items() if name not in left_out}}
        for name, value in stored.items():
            self.count()
            tensor = _tensor(value)
            if tensor is not None:
                yield str(name), tensor
        for name, module in modules.items():
            self.count(_LAYER)
            if depth < _DEEPEST and _is_network(module):
                for inner, tensor in self.of_network(module, depth + 1):
                    yield joined(str(name), inner), tensor

    def count(self, weight: int = 1) -> None:
        self.seen += weight
        if self.seen > _MOST:
            raise ValueError(f"it nests more than {_MOST:,} entries, which no checkpoint has")


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        if not {"state", "param_groups"} <= value.keys():
            yield from ((str(name), child) for name, child in value.items() if isinstance(name, (str, int)))
    elif isinstance(value, Unmade):
        yield from _children(value.entries)
        for state in value.state if isinstance(value.state, tuple) else (value.state,):
            yield from _children(state if isinstance(state, Mapping) else {})
        yield from _children(value.elements)
    elif isinstance(value, Sequence):
        yield from ((str(place), child) for place, child in enumerate(value))


def _tensor(value: Any) -> Any:
    found = value.tensor() if isinstance(value, StoredArray) else value
    return found if isinstance(found, (Tensor, StoredTensor, Unreadable)) else None


def _is_network(value: Any) -> bool:
    fields = value.state if isinstance(value, Unmade) else None
    return isinstance(fields, dict) and all(isinstance(fields.get(name), dict) for name in _NETWORK)
