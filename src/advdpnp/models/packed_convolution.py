"""Convolutions of a folded copy on a CPU that bring their weights into oneDNN's layout once, not in each call.

An attack calls a network whose weights stay as they are ten times and more, forward and backward, and every call of
torch's convolution reorders the weights anew. That is little beside the images, unless weights are many and images few.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Below it the detour through Python costs as much as it saves.
_WEIGHTS = 2**16
_ONEDNN: Any = torch.ops.mkldnn
# Names that torch keeps for its own compiler; where one is missing, nothing is packed.
_OPERATIONS = (
    "_reorder_convolution_weight",
    "_convolution_pointwise",
    "_reorder_convolution_transpose_weight",
    "_convolution_transpose_pointwise",
)


def pack_convolutions(folded: nn.Module) -> None:
    """Let the large plain convolutions of a folded copy keep their weights in oneDNN's layout; results stay the same.

    Weights that are written in place, as `refold` does, are brought into it once more. Each such layer has up to two
    more copies of its weights then, one for each direction. Gradients reach the input alone and cannot be
    differentiated again, and a compiler cannot look into such a layer.

    Args:
        folded: what `fold_batchnorm` returned; changed in place. On another device nothing is done.
    """
    if not torch.backends.mkldnn.is_available() or not all(  # type: ignore[no-untyped-call]
        hasattr(_ONEDNN, name) for name in _OPERATIONS
    ):
        return
    for layer in folded.modules():
        if _packable(layer):
            layer.__class__ = PackedConv2d


def _packable(layer: nn.Module) -> bool:
    if type(layer) is not nn.Conv2d or "weight" not in layer._parameters or layer.weight.numel() < _WEIGHTS:
        return False
    plain = layer.groups == 1 and layer.dilation == (1, 1) and layer.padding_mode == "zeros"
    known = layer.weight.dtype in _dtypes() and layer.weight.device.type == "cpu"
    return plain and known and not isinstance(layer.padding, str) and not layer.weight.requires_grad


def _dtypes() -> tuple[torch.dtype, ...]:
    """What oneDNN computes in here; in bf16 torch's own convolution goes another way on older processors."""
    low = hasattr(_ONEDNN, "_is_mkldnn_bf16_supported") and _ONEDNN._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if low else (torch.float32,)


class PackedConv2d(nn.Conv2d):
    """A convolution of a frozen network on a CPU; made of an `nn.Conv2d` by `pack_convolutions`."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.dim() != 4:
            lone: Tensor = super()._conv_forward(input, weight, bias)
            return lone
        return cast(Tensor, _Convolution.apply(input, self))  # type: ignore[no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        # What is packed can be made again.
        return {name: value for name, value in self.__dict__.items() if name != "_packed"}

    def ahead(self, x: Tensor) -> Tensor:
        """(B, channels in, H, W) to (B, channels out, H', W')."""
        return self._convolved(x, self._weights("ahead", x.shape), self.bias)

    def back(self, gradient: Tensor, shape: torch.Size) -> Tensor:
        """The gradient of the output to that of the input, which has the shape given."""
        weight = self._weights("back", shape)
        if self._mirrored:
            return self._convolved(gradient, weight, None)
        beyond = self._sides(shape)[1]
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return _ONEDNN._convolution_transpose_pointwise(  # type: ignore[no-any-return]
            gradient, weight, None, self.padding, beyond, self.stride, self.dilation, 1, "none", [], ""
        )

    def _convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        return _ONEDNN._convolution_pointwise(  # type: ignore[no-any-return]
            x, weight, bias, self.padding, self.stride, self.dilation, 1, "none", [], ""
        )

    def _weights(self, way: str, shape: torch.Size) -> Tensor:
        """Packed for inputs of this size; kept until the weights change."""
        packed: dict[Any, tuple[int, Tensor]] = self.__dict__.setdefault("_packed", {})
        version, found = packed.get((way, shape[2:]), (-1, self.weight))
        if version != self.weight._version:
            found = self._packed_ahead(shape) if way == "ahead" else self._packed_back(shape)
            packed[way, shape[2:]] = self.weight._version, found
        return found

    def _packed_ahead(self, shape: torch.Size) -> Tensor:
        arguments = (self.padding, self.stride, self.dilation, 1, list(shape))
        return _ONEDNN._reorder_convolution_weight(self.weight, *arguments)  # type: ignore[no-any-return]

    def _packed_back(self, shape: torch.Size) -> Tensor:
        after, beyond = self._sides(shape)
        output = [shape[0], self.out_channels, *after]
        if self._mirrored:
            turned = self.weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)
            arguments = (self.padding, self.stride, self.dilation, 1, output)
            return _ONEDNN._reorder_convolution_weight(turned, *arguments)  # type: ignore[no-any-return]
        return _ONEDNN._reorder_convolution_transpose_weight(  # type: ignore[no-any-return]
            self.weight, self.padding, beyond, self.stride, self.dilation, 1, output
        )

    @property
    def _mirrored(self) -> bool:
        """Whether the way back is the convolution with the weights turned around, which oneDNN packs better."""
        sides = zip(self.kernel_size, self._pads, strict=True)
        return self.stride == (1, 1) and all(kernel == 2 * pad + 1 for kernel, pad in sides)

    @property
    def _pads(self) -> tuple[int, int]:
        return cast(tuple[int, int], self.padding)

    def _sides(self, shape: torch.Size) -> tuple[list[int], list[int]]:
        """Height and width of the output, and how far the way back from there falls short of those of the input."""
        rooms = [
            side + 2 * pad - kernel for side, pad, kernel in zip(shape[2:], self._pads, self.kernel_size, strict=True)
        ]
        after = [room // step + 1 for room, step in zip(rooms, self.stride, strict=True)]
        return after, [room % step for room, step in zip(rooms, self.stride, strict=True)]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: PackedConv2d) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        return layer.ahead(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.back(gradient, ctx.shape), None
