"""Copies of networks of any kind."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

ModelT = TypeVar("ModelT", bound=nn.Module)


def copied(model: ModelT, shared: Iterable[Tensor | nn.Module] = ()) -> ModelT:
    """A deep copy of a network.

    Weights that a hook computes before every forward (`torch.nn.utils.weight_norm`, `spectral_norm` and `prune`), and
    activations that a module keeps, are tensors with a gradient history; they are copied by value.

    Args:
        model: any network; it is not changed.
        shared: tensors and modules that copy and original have in common.
    """
    with _Values():
        return copy.deepcopy(model, {id(part): part for part in shared})


def converted(model: ModelT, to: Literal["float", "double"]) -> ModelT:
    """A copy that computes in another precision, as far as its forward names none.

    Args:
        model: any network; it is not changed.
        to: float32 or float64, of all its tensors of floating point, those that are no parameters and no buffers too.
    """
    twin: ModelT = getattr(copied(model), to)()
    for module in twin.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.is_floating_point():
                vars(module)[name] = getattr(value, to)()
    return twin


class _Values(TorchFunctionMode):
    """While active, a deep copy of a non-leaf tensor, which PyTorch refuses, is a copy of its value."""

    def __torch_function__(
        self, function: Any, types: Iterable[Any], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if function is not Tensor.__deepcopy__ or args[0].is_leaf:
            return function(*args, **(kwargs or {}))
        tensor, memo = args
        return memo.setdefault(id(tensor), tensor.detach().clone())
