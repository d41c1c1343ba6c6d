"""The interface of attacks: how one is called, what results say of it, and the checks of its input."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import chain
from typing import Any, ClassVar, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from advdpnp.attacks.monitored_model import MonitoredModel, out_of_inference
from advdpnp.losses import at_least_fp32
from advdpnp.mode import holds_program, training_parts
from advdpnp.noise import Noise
from advdpnp.ranges import check_fields
from advdpnp.threat import Norm, check_fits, check_level, eps_text

Logits = Callable[[Tensor], Tensor]
CallT = TypeVar("CallT", bound=Callable[..., Tensor])


class Attack(Protocol):
    """A frozen dataclass that is called with logits, images and labels; it knows neither model class nor defense."""

    name: ClassVar[str]

    @property
    def norm(self) -> Norm: ...
    @property
    def eps(self) -> float: ...
    @property
    def steps(self) -> int | None:
        """Iterations; None where the attack is made of several with budgets of their own."""

    @property
    def step_size(self) -> float | None:
        """Length of a step; None where the attack sets its own."""

    @property
    def restarts(self) -> int: ...
    @property
    def random_start(self) -> bool: ...

    def __call__(self, logits_fn: Logits, x: Tensor, y: Tensor, *, noise: Noise | None = None) -> Tensor:
        """Adversarial images.

        Args:
            logits_fn: (B, channels, H, W) in [0, 1] -> logits (B, C); a module must be in eval mode, and may compute
                in any precision: it is given the images as they are, or as its own weights are if it fails on that.
            x: (B, channels, H, W) floats in [0, 1]; no images give no images.
            y: (B,) int64 true labels in [0, C).
            noise: random numbers of these images; by default keyed by the position in the batch, seed 0.
        Returns:
            (B, channels, H, W) float32, or float64 where x is, detached, within eps of x and in [0, 1]. The
            attack computes in that precision, also on a network in half precision or under autocast.
        Raises:
            ValueError: images or labels out of range, wrong shapes, a radius wider than the box of these images, or a
                module of which a part is in training mode; or images that are not misclassified, where logits or a
                gradient were not finite (an evaluation counts them instead).
        """


def record(attack: Attack) -> dict[str, Any]:
    """The attack as result files have it: budgets as text, such as "8/255", then fields that differ from defaults."""
    described = {
        "name": attack.name,
        "norm": attack.norm,
        "eps": eps_text(attack.eps),
        "steps": attack.steps,
        "step_size": None if attack.step_size is None else eps_text(attack.step_size),
        "restarts": attack.restarts,
        "random_start": attack.random_start,
    }
    others = (field for field in fields(cast(Any, attack)) if field.name not in described)
    # In results that lack a field, as older ones do, it had its default.
    values = {
        field.name: getattr(attack, field.name) for field in others if getattr(attack, field.name) != field.default
    }
    return described | values


def is_scale_free(attack: Attack) -> bool:
    """Whether the attack works as well on logits that are multiplied by a million, as attacks on a margin do.

    The softmax of such logits is 0 and 1, where cross-entropy has no gradient. An attack says so by a class attribute
    `scale_free`; one that has none is not.
    """
    return bool(getattr(attack, "scale_free", False))


def label(described: Mapping[str, Any]) -> str:
    """A recorded attack in a few words: "pgd-20 linf 8/255"."""
    steps = "" if described["steps"] is None else f"-{described['steps']}"
    return f"{described['name']}{steps} {described['norm']} {described['eps']}"


def check_images(x: Tensor) -> None:
    """Raise ValueError unless x is (B, channels, H, W) floating point in [0, 1]."""
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(f"images must be (B, channels, H, W) floats; got {tuple(x.shape)} {x.dtype}")
    if len(x) == 0:
        return
    low, high = x.amin().item(), x.amax().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"images must be in [0, 1]; got values from {low:.4g} to {high:.4g}. "
            "Divide bytes by 255, and put normalization inside the model"
        )


def check_labels(y: Tensor, batch: int, num_classes: int | None = None) -> None:
    """Raise ValueError unless y is (batch,) int64, and in [0, num_classes) where that is given."""
    if y.shape != (batch,) or y.dtype != torch.int64:
        raise ValueError(f"labels must be ({batch},) int64, one for each image; got {tuple(y.shape)} {y.dtype}")
    if num_classes is None:
        return
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"labels must be in [0, {num_classes}), the model's classes; got {low} to {high}")


def check_mode(model: nn.Module) -> None:
    """Raise ValueError on a network of which any part is in training mode."""
    if parts := training_parts(model):
        cure = "call .eval()"
        if holds_program(model):
            cure = "set .training to False there, since .eval() does not get past the torch.export program inside"
        raise ValueError(
            f"the model is in training mode ({', '.join(parts[:3])}), so its answers depend on the batch or on chance, "
            f"and its statistics move: {cure}"
        )


def check_attack(attack: Attack) -> None:
    """Raise ValueError on a field of an attack that makes no sense by itself."""
    check_fields(attack)
    check_level(attack.norm, attack.eps)


def attack_call(run: CallT) -> CallT:
    """The `__call__` of an attack, with arguments as `run` may take them.

    Raises ValueError on input that would make the result meaningless, and where the network was not finite for an image
    that is not misclassified. No images give no images. `run` gets images that are detached and at least fp32, and a
    `MonitoredModel`: the caller's, who then reads what was not finite himself, or one for this call. An autocast around
    the call reaches the network alone, and an inference mode around it ends here, since attacks need gradients.
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
            if isinstance(logits_fn, MonitoredModel):
                return run(attack, logits_fn, images, labels, noise=noise)
            usable = out_of_inference(logits_fn) if isinstance(logits_fn, nn.Module) else logits_fn
            network = MonitoredModel(usable, len(x), x.device, _input_dtype(usable, model, x))
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


def _input_dtype(logits_fn: Logits, model: nn.Module | None, x: Tensor) -> torch.dtype:
    """The dtype that the network takes: the images' own, or that of its weights if it fails on theirs."""
    tensors: tuple[Any, ...] = () if model is None else (model.parameters(), model.buffers())
    own = next((tensor.dtype for tensor in chain(*tensors) if tensor.is_floating_point()), x.dtype)
    if own == x.dtype:
        return own
    try:
        logits_fn(_usable(x)[:1].clone())
    except RuntimeError:
        return own
    return x.dtype
