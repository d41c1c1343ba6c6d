"""Folded copies of a network for attacks in eval mode: BatchNorm folded into convolutions, parameters frozen.

A module with a convolution whose output goes to a BatchNorm alone declares the pair by attribute names, in a class
attribute such as `folds = (("conv1", "bn1"),)`. A model without such modules is copied and frozen as it is. A `Helper`
inside the model is shared and not copied, since it never changes.
"""

import functools
from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import ParametrizationList

from advdpnp.models.classifier import Classifier, Helper
from advdpnp.models.copying import copied
from advdpnp.models.first_layer import first_layer

ModelT = TypeVar("ModelT", bound=nn.Module)


def fold_batchnorm(model: ModelT, dtype: torch.dtype = torch.float32) -> ModelT:
    """A copy whose logits in eval mode are the model's, with less work for each input gradient.

    Args:
        model: any network; it is not changed.
        dtype: what the backbone computes in, torch.float32 or torch.bfloat16 (the whole network, where it is no
            `Classifier`); embedding and logits are float32 in either case.
    Returns:
        A module of the model's class: channels_last, without gradients for parameters, always in eval mode.
    """
    folded = copied(model, [module for module in model.modules() if isinstance(module, Helper)])
    for conv, batch_norm in _fold_pairs(model):
        layer = cast(nn.Conv2d, folded.get_submodule(conv))
        layer.bias = nn.Parameter(layer.weight.new_empty(layer.out_channels))
        folded.set_submodule(batch_norm, nn.Identity())
    if dtype != torch.float32:
        _compute_in(folded, dtype)
    folded.requires_grad_(False).eval()
    for _, tensor in _tensors(folded):
        if tensor.dim() == 4:
            tensor.data = tensor.data.to(memory_format=torch.channels_last)
    refold(folded, model)
    folded.train = functools.partial(_stay_in_eval, folded)  # type: ignore[method-assign]
    return folded


@torch.no_grad()
def refold(folded: nn.Module, model: nn.Module) -> None:
    """Update a folded copy to the model's parameters and statistics, in place and without a wait for the device.

    Args:
        folded: what `fold_batchnorm(model)` returned.
        model: the same model, with other parameters or statistics.
    """
    targets, sources = dict(_tensors(folded)), dict(_tensors(model))
    for conv, batch_norm in _fold_pairs(model):
        weight, bias = targets.pop(f"{conv}.weight"), targets.pop(f"{conv}.bias")
        _fold_into(weight, bias, model.get_submodule(conv), model.get_submodule(batch_norm))
    for name, target in targets.items():
        target.copy_(sources[name])


def unfolded(folded: nn.Module) -> list[str]:
    """Names of the BatchNorm layers that are left in a folded copy."""
    return [name for name, module in _own_modules(folded) if isinstance(module, _BatchNorm)]


def _own_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Modules by path, without helpers and what is in them."""
    helpers = [module for module in model.modules() if isinstance(module, Helper)]
    yield from model.named_modules(memo={inner for helper in helpers for inner in helper.modules()})


def _fold_pairs(model: nn.Module) -> Iterator[tuple[str, str]]:
    """Paths of each convolution and the BatchNorm that folds into it."""
    for path, module in _own_modules(model):
        prefix = f"{path}." if path else ""
        for conv, batch_norm in getattr(module, "folds", ()):
            if _foldable(module.get_submodule(conv), module.get_submodule(batch_norm)):
                yield prefix + conv, prefix + batch_norm


def _foldable(conv: nn.Module, batch_norm: nn.Module) -> bool:
    """Whether the weight is a parameter, and not computed as by weight_norm, and the BatchNorm an affine map."""
    given = "weight" in conv._parameters and "bias" in conv._parameters
    return given and getattr(batch_norm, "weight", None) is not None and batch_norm.running_mean is not None


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for path, module in _own_modules(model):
        prefix = f"{path}." if path else ""
        for name, tensor in chain(module.named_parameters(recurse=False), module.named_buffers(recurse=False)):
            yield prefix + name, tensor


def _fold_into(weight: Tensor, bias: Tensor, conv: Any, batch_norm: Any) -> None:
    # bn(conv(x)) = s (W * x) + b - s m, with s = gamma / sqrt(var + eps) and m less the convolution's own bias.
    scale = batch_norm.weight * torch.rsqrt(batch_norm.running_var + batch_norm.eps)
    mean = batch_norm.running_mean if conv.bias is None else batch_norm.running_mean - conv.bias
    torch.mul(conv.weight, scale.view(-1, 1, 1, 1), out=weight)
    torch.addcmul(batch_norm.bias, mean, scale, value=-1, out=bias)


def _compute_in(folded: nn.Module, dtype: torch.dtype) -> None:
    backbone = folded.backbone if isinstance(folded, Classifier) else folded
    first = _kept_layer(folded)
    for module in backbone.modules():
        # BatchNorm reads low-precision images with float32 statistics, which lose nothing that way.
        if not isinstance(module, _BatchNorm) and module is not first:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
        # What a weight is computed with, such as the singular vectors of spectral_norm.
        if isinstance(module, nn.Conv2d | nn.Linear | ParametrizationList):
            for buffer in module.buffers():
                buffer.data = buffer.data.to(dtype)
    # Each layer casts what it reads, so that taps and feature maps work as well as the backbone's own forward.
    for _, module in _own_modules(folded):
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_pre_hook(_cast_input)
    if first is not None:
        first.register_forward_hook(functools.partial(_cast_to, dtype))
    backbone.register_forward_hook(_cast_output)


def _kept_layer(model: nn.Module) -> nn.Module | None:
    """The first layer, which stays in float32; None where its weight is computed from others."""
    first = first_layer(model)
    return first if first is not None and "weight" in first._parameters and not first._buffers else None


def _cast_to(dtype: torch.dtype, _: nn.Module, __: object, output: Tensor) -> Tensor:
    return output.to(dtype)


def _cast_input(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return inputs[0].to(cast(Tensor, layer.weight).dtype)


def _cast_output(_: nn.Module, __: object, output: Tensor) -> Tensor:
    return output.float()


def _stay_in_eval(folded: ModelT, mode: bool = True) -> ModelT:
    return folded
