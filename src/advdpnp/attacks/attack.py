"""The interface of attacks: how one is called, what results say of it, and the checks of its input."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any, ClassVar, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from advdpnp.attacks.monitored_model import MonitoredModel, PointObjective, out_of_inference
from advdpnp.losses import at_least_fp32, is_right
from advdpnp.mode import holds_program, training_parts
from advdpnp.noise import Noise
from advdpnp.ranges import Natural, check_fields
from advdpnp.threat import Norm, check_fits, check_level, eps_text

Logits = Callable[[Tensor], Tensor]
CallT = TypeVar("CallT", bound=Callable[..., Tensor])
# The class that an attack aims at; None where any wrong class will do.
Target = Natural | None
# How far outside of [0, 1] rounding may put pixels: a few units of float32 at 1, as resizing and 255 x / 255 leave.
PIXEL_SLACK = 1e-6


class Attack(Protocol):
    """A frozen dataclass that is called with logits, images and labels; it knows neither model class nor defense.

    An attack that can aim at a class has a field `target: Target`, and its call then takes `target` too, (B,) int64, a
    class for each image. It has succeeded where the network says the target (`succeeded`), and leaves images of that
    class as they are.
    """

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
            logits_fn: (B, channels, H, W) in [0, 1] -> logits (B, C); one output z for each image, (B,) or (B, 1),
                stands for the logits [0, z] of two classes. A module must be in eval mode, and may compute in any
                precision: it is given the images as they are, or as its own weights are if it fails on that.
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


@dataclass(frozen=True)
class Objective:
    """What an adaptive attack maximizes, such as the objective that the network was trained with.

    Args:
        name: how results call it, such as "adv-dpnp".
        function: (network, x, x_adv, y) -> (B,), one value for each image, of images x and attacked images x_adv, each
            (B, channels, H, W), and labels (B,); `Defense.objective` of a defense is one.
    """

    name: str
    function: PointObjective


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
    return described | {name: value.name if isinstance(value, Objective) else value for name, value in values.items()}


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
    """Raise ValueError unless x is (B, channels, H, W) floating point in [0, 1], up to rounding."""
    check_tensor("images", x)
    if x.dim() != 4 or not x.is_floating_point() or 0 in x.shape[1:]:
        raise ValueError(f"images must be (B, channels, H, W) floats; got {tuple(x.shape)} {x.dtype}")
    if len(x) == 0:
        return
    low, high = x.amin().item(), x.amax().item()
    if not (low >= -PIXEL_SLACK and high <= 1 + PIXEL_SLACK):
        cure = "Divide bytes by 255, and put normalization inside the model"
        if low > -0.01 and high < 1.01:
            cure = f"That is {max(-low, high - 1):.2g} too far, more than rounding: cut them with x.clamp(0, 1)"
        raise ValueError(f"images must be in [0, 1]; got values from {low:.7g} to {high:.7g}. {cure}")


def in_box(x: Tensor) -> Tensor:
    """Floats that passed `check_images` without what rounding put outside of [0, 1]; others as they are."""
    return x.clamp(0, 1) if x.is_floating_point() and len(x) and (x.amin() < 0 or x.amax() > 1) else x


def check_tensor(name: str, values: object) -> None:
    """Raise ValueError unless values are a tensor of torch."""
    if not isinstance(values, Tensor):
        kind = type(values)
        cure = "torch.from_numpy" if kind.__module__ == "numpy" else "torch.as_tensor"
        shown = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        raise ValueError(f"{name} must be a tensor of torch; got a {shown}: give {cure}({name})")


def check_labels(y: Tensor, batch: int, num_classes: int | None = None, name: str = "labels") -> None:
    """Raise ValueError unless y is (batch,) int64, and in [0, num_classes) where that is given."""
    check_tensor(name, y)
    if y.shape != (batch,) or y.dtype != torch.int64:
        whole = y.shape == (batch,) and not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
        cure = f": give {name}.long()" if whole else ""
        raise ValueError(f"{name} must be ({batch},) int64, one for each image; got {tuple(y.shape)} {y.dtype}{cure}")
    if num_classes is None:
        return
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= num_classes:
        raise ValueError(f"{name} must be in [0, {num_classes}), the model's classes; got {low} to {high}")


def check_target(attack: Attack, num_classes: int) -> None:
    """Raise ValueError if an attack aims at a class that the network does not have."""
    target = getattr(attack, "target", None)
    if target is not None and target >= num_classes:
        raise ValueError(f"target must be in [0, {num_classes}), the model's classes; got {target}")


def succeeded(logits: Tensor, y: Tensor, target: Tensor | None) -> Tensor:
    """Whether an attack is at its goal, the target where it has one, else any wrong class.

    (B, C), (B,), (B,) -> (B,) bool.
    """
    return ~is_right(logits, y) if target is None else is_right(logits, target)


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
    `MonitoredModel`: the caller's, who then reads what was not finite himself, or one for this call. Where the attack
    aims, it also gets `target`, (B,) int64. An autocast around the call reaches the network alone, and an inference
    mode around it ends here, since attacks need gradients.
    """

    @functools.wraps(run)
    def call(
        attack: Attack,
        logits_fn: Logits,
        x: Tensor,
        y: Tensor,
        *,
        noise: Noise | None = None,
        target: Tensor | None = None,
    ) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            model = _module(logits_fn)
            if model is not None:
                check_mode(model)
            check_images(x)
            check_fits(attack.norm, attack.eps, tuple(x.shape[1:]))
            check_labels(y, len(x))
            images, labels = in_box(at_least_fp32(_usable(x))), _usable(y)
            aimed_at = _target_of_each(attack, labels, target)
            aim = {} if aimed_at is None else {"target": aimed_at}
            if len(x) == 0:
                return images
            if isinstance(logits_fn, MonitoredModel):
                return run(attack, logits_fn, images, labels, noise=noise, **aim)
            usable = out_of_inference(logits_fn) if isinstance(logits_fn, nn.Module) else logits_fn
            network = MonitoredModel(usable, len(x), x.device, _input_dtype(usable, model, x))
            classes = network(images[:1]).shape[1]
            check_labels(labels, len(x), classes)
            if aimed_at is not None:
                check_labels(aimed_at, len(x), classes, "targets")
            x_adv = run(attack, network, images, labels, noise=noise, **aim)
            network.check_answers(x_adv, labels, aimed_at)
            return x_adv

    return cast(CallT, call)


def _target_of_each(attack: Attack, y: Tensor, given: Tensor | None) -> Tensor | None:
    """The class that each image is aimed at, (B,) int64, from the attack's field or the call; None for none."""
    fixed = getattr(attack, "target", None)
    if given is None:
        return None if fixed is None else torch.full_like(y, fixed)
    if not hasattr(attack, "target"):
        raise ValueError(f"{attack.name} aims at no class: leave target out, or choose an attack that has one, as pgd")
    if fixed is not None:
        raise ValueError(f"{attack.name} aims at class {fixed} already: give target to the attack or to its call")
    if not isinstance(given, Tensor):
        raise ValueError(
            f"target in a call must be ({len(y)},) int64, a class for each image; got {given!r}. One for all is a "
            "field of the attack, as in PGD(target=3)"
        )
    check_labels(given, len(y), name="targets")
    return _usable(given)


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
