"""What attacks search in. Verdicts are always those of the network itself in fp32, without TF32."""

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import nn

from advdpnp.models.classifier import Classifier
from advdpnp.models.frozen import freeze

SearchPrecision = Literal["fp32", "tf32", "bf16"]


def check_precision(precision: str) -> None:
    """Raise ValueError unless attacks can search in it."""
    if precision not in get_args(SearchPrecision):
        known = ", ".join(get_args(SearchPrecision))
        raise ValueError(f"attacks can search in {known}; got {precision!r}")


def attack_surface(model: nn.Module, precision: SearchPrecision = "fp32") -> nn.Module:
    """What attacks search on: a folded copy of our own classifiers, which is faster; other networks themselves."""
    check_precision(precision)
    if isinstance(model, Classifier):
        return freeze(model, torch.bfloat16 if precision == "bf16" else torch.float32)
    if precision == "bf16":
        raise ValueError("only networks that advdpnp has built are searched in bf16: leave it fp32, or tf32 on a GPU")
    return model


@contextlib.contextmanager
def searching(precision: SearchPrecision) -> Iterator[None]:
    """GPU products in TF32 inside, if that is the precision, and as they were outside."""
    settings: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed or precision == "tf32"
        yield
    finally:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed
