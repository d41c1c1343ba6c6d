"""Training mode and eval mode of networks, programs of torch.export included."""

import functools
from typing import TypeVar

from torch import fx, nn

ModelT = TypeVar("ModelT", bound=nn.Module)


def is_program(module: nn.Module) -> bool:
    """Whether a module is what `ExportedProgram.module()` gives.

    Its mode is written into its graph: the flag `training` is set and means nothing, and `train` and `eval` are
    replaced by functions that only raise.
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
    """The network itself, whose programs of torch.export now say eval mode, and whose `train` and `eval` do nothing."""
    for program in list(filter(is_program, model.modules())):
        for part in program.modules():
            part.training = False
        program.train = functools.partial(_stay, program)  # type: ignore[method-assign]
        program.eval = functools.partial(_stay, program)  # type: ignore[method-assign]
    return model


def _stay(program: ModelT, mode: bool = True) -> ModelT:
    return program
