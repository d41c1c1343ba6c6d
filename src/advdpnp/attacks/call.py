"""How every attack is called: what is refused, and in which precision the network is asked."""

import functools
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from advdpnp.attacks.attack import Attack, Logits, check_images, check_labels, check_mode
from advdpnp.losses import at_least_fp32
from advdpnp.noise import Noise
from advdpnp.threat import check_fits

CallT = TypeVar("CallT", bound=Callable[..., Tensor])


class Attacked:
    """The network as an attack asks it: iterates and logits are at least fp32, whatever it computes in itself.

    It gets a copy of the images, so that one that writes to its input changes nobody else's.

    Args:
        logits_fn: (B, channels, H, W) in [0, 1] -> logits (B, C).
        dtype: of the images that it takes.
    """

    def __init__(self, logits_fn: Logits, dtype: torch.dtype) -> None:
        self._logits_fn, self._dtype = logits_fn, dtype

    def __call__(self, x: Tensor) -> Tensor:
        return at_least_fp32(self._logits_fn(x.to(self._dtype, copy=True)))


def attack_call(run: CallT) -> CallT:
    """The `__call__` of an attack, with arguments as `run` may take them.

    Raises ValueError on input that would make the result meaningless; no images give no images. `run` gets images that
    are detached and at least fp32, and the network as `Attacked`. An autocast around the call reaches the network
    alone, and an inference mode around it ends here, since attacks need gradients.
    """

    @functools.wraps(run)
    def call(attack: Attack, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        with torch.inference_mode(False):
            model = _module(logits_fn)
            if model is not None:
                check_mode(model)
            check_images(x)
            check_fits(attack.norm, attack.eps, tuple(x.shape[1:]))
            check_labels(y, len(x))
            images = at_least_fp32(_usable(x))
            if len(x) == 0:
                return images
            network = Attacked(logits_fn, _taken(logits_fn, model, x))
            with torch.no_grad():
                check_labels(y, len(x), network(images[:1]).shape[1])
            return run(attack, network, images, _usable(y), noise=noise)

    return cast(CallT, call)


def _module(logits_fn: Logits) -> nn.Module | None:
    """The network, where it is one or a method of one."""
    owner = logits_fn if isinstance(logits_fn, nn.Module) else getattr(logits_fn, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _usable(values: Tensor) -> Tensor:
    """The same values without history; tensors of an inference mode have no place in a graph, but copies do."""
    return values.clone() if values.is_inference() else values.detach()


@torch.no_grad()
def _taken(logits_fn: Logits, model: nn.Module | None, x: Tensor) -> torch.dtype:
    """What the network takes images in: as they are, if it does not fail on them, else as its own tensors are."""
    tensors: tuple[Any, ...] = () if model is None else (model.parameters(), model.buffers())
    own = next((tensor.dtype for tensor in chain(*tensors) if tensor.is_floating_point()), x.dtype)
    if own == x.dtype:
        return own
    try:
        logits_fn(_usable(x)[:1].clone())
    except RuntimeError:
        return own
    return x.dtype
