"""For how many classes the weights in a file are."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

# Levels of nested mappings and lists in which the layer is looked for.
_DEPTH = 4


def stored_classes(content: Any, layer: str, network: nn.Module) -> int | None:
    """Classes of the network that a file is of; None where the file does not have its last layer.

    Args:
        content: what `read_checkpoint` gave.
        layer: path of the layer that gives the network's logits, see `advdpnp.models.adapted.answer_layer`.
        network: of any number of classes.
    """
    features = network.get_parameter(f"{layer}.weight").shape[1]
    return next((rows for rows in _rows(content, f"{layer}.weight", features, _DEPTH)), None)


def _rows(content: Any, name: str, features: int, depth: int) -> list[int]:
    if isinstance(content, Mapping) and depth:
        found = [
            len(value)
            for key, value in content.items()
            if isinstance(value, Tensor)
            and value.dim() == 2
            and value.shape[1] == features
            and f".{key}".endswith(f".{name}")
        ]
        deeper = [rows for value in content.values() for rows in _rows(value, name, features, depth - 1)]
        return found + deeper
    if isinstance(content, list | tuple) and depth:
        return [rows for value in content for rows in _rows(value, name, features, depth - 1)]
    return []
