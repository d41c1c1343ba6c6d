"""A pretended GPU: tensors that lie on the CPU and say that they are on cuda:0.

It finds, without a GPU, what only a GPU would refuse: operations on tensors of both devices, and reads by the host, or
copies to the device, while a CUDA graph is captured. It says nothing about speed or kernels. `install` changes torch
for the whole process, so it belongs in a process of its own.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

aten = torch.ops.aten
CUDA = torch.device("cuda:0")

# Their result, or its shape, is known only when the device has finished.
_READS = {
    aten._local_scalar_dense.default,
    aten.equal.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.unique_dim.default,
    aten._unique2.default,
    aten.bincount.default,
    aten.repeat_interleave.Tensor,
}
_INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}


class HostReadError(RuntimeError):
    """The host and the device would have to wait for each other while a graph is captured."""


class MixedDevicesError(RuntimeError):
    """An operation has tensors of the CPU and of the GPU."""


class Recorder:
    """Whether a capture runs, and how many there have been."""

    def __init__(self) -> None:
        self.capturing, self.captures = False, 0

    @contextmanager
    def capture(self) -> Iterator[None]:
        """What runs inside is captured."""
        before, self.capturing = self.capturing, True
        try:
            yield
        finally:
            self.capturing = before

    def wait(self, what: object) -> None:
        """Host and device wait for each other."""
        if self.capturing:
            raise HostReadError(f"{what} while a graph is captured")


RECORDER = Recorder()


class OnCuda(Tensor):
    """A tensor that says it is on cuda:0; its values are in `inner`, on the CPU."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "OnCuda":
        made: OnCuda = Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            layout=inner.layout,
            device="cpu",
            requires_grad=False,
        )
        made.inner = inner
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"OnCuda({self.inner})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)

    @property
    def data(self) -> Tensor:
        return OnCuda(self.inner.detach())

    @data.setter
    def data(self, value: "OnCuda") -> None:
        Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.inner = value.inner

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        target = kwargs.get("device") or next((a for a in args if isinstance(a, (str, torch.device))), None)
        if target is None or torch.device(target).type == "cuda":
            return Tensor.to(self, *args, **kwargs)
        # torch takes the tensor for one of the CPU already, and would do nothing.
        rest = [argument for argument in args if not isinstance(argument, (str, torch.device))]
        kwargs.pop("device", None)
        return Tensor.to(self.cpu(), *rest, **kwargs)

    def cpu(self, *_: Any, **__: Any) -> Tensor:
        RECORDER.wait("cpu()")
        return _Leave.apply(self)

    def tolist(self) -> Any:
        RECORDER.wait("tolist()")
        return self.inner.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("a tensor on cuda:0 has no numpy array; copy it to the host's memory first")


class _Leave(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: OnCuda) -> Tensor:
        return tensor.inner.detach().clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> OnCuda:
        return OnCuda(gradient)


def _on_cuda(value: object) -> bool:
    return isinstance(value, OnCuda)


def _check_devices(func: Any, args: Any, here: list[Tensor]) -> None:
    # A number of the host's memory may go along.
    strange = [tensor for tensor in here if tensor.dim() > 0]
    if not strange:
        return
    if func in _INDEXING and _on_cuda(args[0]):
        RECORDER.wait(f"indices of the CPU in {func}")
    else:
        raise MixedDevicesError(f"{func} has tensors of cuda:0 and of the CPU: {[tuple(t.shape) for t in strange]}")


def _check_waits(func: Any, args: Any) -> None:
    masks = func in _INDEXING and any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    if func in _READS or masks:
        RECORDER.wait(func)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the CPU tensors inside, if a GPU would do it."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, OnCuda)]
    wanted = kwargs.get("device")
    copies = func in (aten._to_copy.default, aten.copy_.default)
    if there:
        if not copies:
            _check_devices(func, args, [tensor for tensor in tensors if not _on_cuda(tensor)])
        _check_waits(func, args)
    if wanted is not None and torch.device(wanted).type == "cuda":
        kwargs = kwargs | {"device": torch.device("cpu")}
        if func is aten._to_copy.default and not _on_cuda(args[0]):
            RECORDER.wait("a copy to the device")
        goes_there = True
    else:
        goes_there = bool(there)
    if func is aten.copy_.default and _on_cuda(args[0]) != _on_cuda(args[1]):
        RECORDER.wait("a copy between the devices")
        goes_there = _on_cuda(args[0])
    bare_args, bare_kwargs = tree_map(lambda value: value.inner if isinstance(value, OnCuda) else value, (args, kwargs))
    result = func(*bare_args, **bare_kwargs)
    if not goes_there:
        return result
    # What works in place hands back its own argument.
    known = {id(tensor.inner): tensor for tensor in there}

    def dressed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return known[id(value)] if id(value) in known else OnCuda(value)

    return tree_map(dressed, result)


class PretendedCuda(TorchDispatchMode):
    """Makes the tensors that are asked for on a cuda device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        wanted = kwargs.get("device")
        if wanted is not None and torch.device(wanted).type == "cuda":
            return _run(func, args, kwargs)
        if any(map(_on_cuda, tree_flatten((args, kwargs))[0])):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


def capture(work: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """In place of `cuda_graph`: warm-ups, then the capture; a replay is the work again, into the same tensor."""
    for _ in range(3):
        work()
    with RECORDER.capture():
        result = work()
    RECORDER.captures += 1

    def replay() -> Tensor:
        with RECORDER.capture():
            again = work()
        with torch.no_grad():
            return result.copy_(again)

    return replay


def _made_on(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """torch.tensor and torch.as_tensor, which know devices without dispatching."""

    def made(value: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        if isinstance(value, OnCuda):
            return value.to(*args, **kwargs) if args or kwargs else value
        tensor = make(value, *args, **kwargs)
        return tensor if device is None else tensor.to(device)

    return made


def _one_hot(index: Tensor, classes: int) -> Tensor:
    # torch's own looks at the values of an index on the CPU.
    return (index.unsqueeze(-1) == torch.arange(classes, device=index.device)).long()


def install() -> PretendedCuda:
    """Pretend from now on, in this process; the caller enters what is returned."""
    from advdpnp.training import crafting, step

    autocast = torch.autocast
    # A parameter that moves becomes a new one: a plain one's storage cannot be replaced by a pretended tensor.
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.cuda._lazy_init = lambda: None
    torch.cuda.is_available = lambda: True
    torch.cuda.get_device_name = lambda *_: "pretended"
    torch.tensor, torch.as_tensor = _made_on(torch.tensor), _made_on(torch.as_tensor)
    torch.nn.functional.one_hot = _one_hot
    torch.autocast = lambda kind, *args, **kwargs: autocast("cpu", *args, **kwargs)
    torch.compile = lambda *work, **_: work[0] if work else lambda function: function
    step.cuda_graph = crafting.cuda_graph = capture
    return PretendedCuda()
