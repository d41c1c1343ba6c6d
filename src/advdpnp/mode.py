"""Training and eval mode of networks that may contain programs of torch.export."""

import functools
from typing import TypeVar

from torch import fx, nn

ModelT = TypeVar("ModelT", bound=nn.Module)


def is_program(module: nn.Module) -> bool:
    """Whether a module is what `ExportedProgram.module()` gives.

    Its mode is fixed in its graph: the flag `training` is set and means nothing, and `train` and `eval` raise.
    """
    return isinstance(module, fx.GraphModule) and "eval" in vars(module)


def holds_program(model: nn.Module) -> bool:
    """Whether a network is, or has in it, a program of torch.export."""
    return any(map(is_program, model.modules()))


def training_parts(model: nn.Module) -> list[str]:
    """Paths of the modules that are in training mode; the network itself is "the whole"."""
    settled = {id(part) for program in filter(is_program, model.modules()) for part in program.modules()}
    return [name or "the whole" for name, part in model.named_modules() if part.training and id(part) not in settled]


def settle(model: ModelT) -> ModelT:
    """Mark a network's programs of torch.export as in eval mode, and make their `train` and `eval` do nothing.

    Returns:
        The network itself, changed in place.
    """
    for program in list(filter(is_program, model.modules())):
        for part in program.modules():
            part.training = False
        program.train = functools.partial(_stay, program)  # type: ignore[method-assign]
        program.eval = functools.partial(_stay, program)  # type: ignore[method-assign]
    return model


def _stay(program: ModelT, mode: bool = True) -> ModelT:
    return program
