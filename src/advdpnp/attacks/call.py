"""How every attack is called: what is refused, and in which precision the network is asked."""

import functools
from collections.abc import Callable
from itertools import chain
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from advdpnp.attacks.attack import Attack, Logits, check_images, check_labels, check_mode
from advdpnp.attacks.watched import Watched, out_of_inference
from advdpnp.losses import at_least_fp32
from advdpnp.noise import Noise
from advdpnp.threat import check_fits

CallT = TypeVar("CallT", bound=Callable[..., Tensor])


def attack_call(run: CallT) -> CallT:
    """The `__call__` of an attack, with arguments as `run` may take them.

    Raises ValueError on input that would make the result meaningless, and where the network's answers leave it open; no
    images give no images. `run` gets images that are detached and at least fp32, and the network as `Watched`: the
    caller's, which counts for itself what is left open, or one for this call. An autocast around the call reaches the
    network alone, and an inference mode around it ends here, since attacks need gradients.
    """

    @functools.wraps(run)
    def call(attack: Attack, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            model = _module(logits_fn)
            if model is not None:
                check_mode(model)
            check_images(x)
            check_fits(attack.norm, attack.eps, tuple(x.shape[1:]))
            check_labels(y, len(x))
            images, labels = at_least_fp32(_usable(x)), _usable(y)
            if len(x) == 0:
                return images
            if isinstance(logits_fn, Watched):
                return run(attack, logits_fn, images, labels, noise=noise)
            usable = out_of_inference(logits_fn) if isinstance(logits_fn, nn.Module) else logits_fn
            network = Watched(usable, len(x), x.device, _taken(usable, model, x))
            check_labels(labels, len(x), network(images[:1]).shape[1])
            x_adv = run(attack, network, images, labels, noise=noise)
            network.check_answers(x_adv, labels)
            return x_adv

    return cast(CallT, call)


def _module(logits_fn: Logits) -> nn.Module | None:
    """The network, where it is one or a method of one."""
    owner = logits_fn if isinstance(logits_fn, nn.Module) else getattr(logits_fn, "__self__", None)
    return owner if isinstance(owner, nn.Module) else None


def _usable(values: Tensor) -> Tensor:
    """The same values without history; tensors of an inference mode have no place in a graph, but copies do."""
    return values.clone() if values.is_inference() else values.detach()


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
