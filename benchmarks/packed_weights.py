"""Convolutions whose weights are put into oneDNN's layout once, for `benchmarks/tried.py`; not part of the package."""

from typing import Any

import torch
from torch import Tensor, nn

_ONEDNN: Any = torch.ops.mkldnn


def with_packed_weights(folded: nn.Module) -> nn.Module:
    """A folded copy whose plain convolutions reorder their weights once for each shape of input, not in each call.

    Args:
        folded: what `fold_batchnorm` returned, on the CPU; changed in place. Its weights must stay as they are.
    """
    for layer in folded.modules():
        if (
            type(layer) is nn.Conv2d
            and layer.groups == 1
            and layer.padding_mode == "zeros"
            and layer.dilation == (1, 1)
        ):
            layer.__class__ = PackedConv2d
            layer.packed = {}
    return folded


class PackedConv2d(nn.Conv2d):
    """Forward, and the gradient of the input alone."""

    packed: dict[torch.Size, tuple[Tensor, Tensor, list[int]]]

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _Convolution.apply(input, self)

    def reordered(self, shape: torch.Size) -> tuple[Tensor, Tensor, list[int]]:
        """Weights for the forward and the backward pass, and what the transposed convolution adds to its output."""
        if shape not in self.packed:
            sizes = zip(shape[2:], self.weight.shape[2:], self.stride, self.padding, strict=True)
            after, beyond = zip(*(_sizes(*one) for one in sizes), strict=True)
            output = [shape[0], self.out_channels, *after]
            ahead = _ONEDNN._reorder_convolution_weight(
                self.weight, self.padding, self.stride, self.dilation, 1, list(shape)
            )
            if self._mirrored:
                # The gradient is the convolution with the weights turned around, which is packed better.
                turned = self.weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)
                back = _ONEDNN._reorder_convolution_weight(turned, self.padding, self.stride, self.dilation, 1, output)
            else:
                back = _ONEDNN._reorder_convolution_transpose_weight(
                    self.weight, self.padding, list(beyond), self.stride, self.dilation, 1, output
                )
            self.packed[shape] = ahead, back, list(beyond)
        return self.packed[shape]

    @property
    def _mirrored(self) -> bool:
        return self.stride == (1, 1) and all(2 * pad + 1 == side for pad, side in zip(self.padding, self.kernel_size))

    def ahead(self, input: Tensor) -> Tensor:
        weight, _, _ = self.reordered(input.shape)
        return _convolved(input, weight, self.bias, self)

    def back(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        _, weight, beyond = self.reordered(shape)
        if self._mirrored:
            return _convolved(gradient, weight, None, self)
        return _ONEDNN._convolution_transpose_pointwise(
            gradient, weight, None, self.padding, beyond, self.stride, self.dilation, 1, "none", [], ""
        )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, layer: PackedConv2d) -> Tensor:
        ctx.layer, ctx.shape = layer, input.shape
        return layer.ahead(input)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return ctx.layer.back(gradient, ctx.shape), None


def _convolved(input: Tensor, weight: Tensor, bias: Tensor | None, layer: nn.Conv2d) -> Tensor:
    return _ONEDNN._convolution_pointwise(
        input, weight, bias, layer.padding, layer.stride, layer.dilation, 1, "none", [], ""
    )


def _sizes(side: int, kernel: int, stride: int, padding: int) -> tuple[int, int]:
    """Of one side: what comes out, and how much the way back falls short of what went in."""
    out = (side + 2 * padding - kernel) // stride + 1
    return out, side - ((out - 1) * stride - 2 * padding + kernel)
