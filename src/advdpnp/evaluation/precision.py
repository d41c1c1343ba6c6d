"""What is computed in what. Verdicts are always those of the network itself in fp32, without TF32."""

import contextlib
from collections.abc import Callable, Iterator
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
def as_stated() -> Iterator[None]:
    """Numbers as results state them, whatever the caller has switched on; outside, all switches are as they were.

    Inside: fp32 and nothing coarser (no autocast, no TF32, float32 by default), and gradients where they are asked for.
    """
    default = torch.get_default_dtype()
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        _ieee_products(),
    ):
        try:
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            torch.set_default_dtype(default)


@contextlib.contextmanager
def _ieee_products() -> Iterator[None]:
    """Products of fp32 numbers that are rounded to fp32 alone, on the CPU too."""
    backends: Any = torch.backends
    kinds = (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.rnn,
    )
    # torch has two interfaces for this and refuses to read the older one where the newer has been used. Both are set,
    # since both are read, by its compiler among others.
    before = [kind.fp32_precision for kind in kinds]
    products, convolutions = _readable(torch.get_float32_matmul_precision), _readable(lambda: backends.cudnn.allow_tf32)
    try:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = False
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def _readable(setting: Callable[[], Any]) -> Any:
    """A setting of torch's older interface, or None where it cannot be told."""
    try:
        return setting()
    except RuntimeError:
        return None


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
