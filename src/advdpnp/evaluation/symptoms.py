"""What the gradients and the clean accuracy of an unknown network tell of its soundness."""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advdpnp.losses import cross_entropy, is_right, margin


def answer(model: nn.Module, x: Tensor) -> Tensor:
    """The network's logits (B, C) of x, which it gets a copy of."""
    with torch.no_grad():
        logits: Tensor = model(x.clone())
    return logits


def _gradient(model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor | None:
    probe = x.clone().requires_grad_()
    with torch.enable_grad(), warnings.catch_warnings():
        # Of networks that leave the graph, which are refused below.
        warnings.simplefilter("ignore")
        total = loss(model(probe)).sum()
        if not total.requires_grad:
            return None
        (gradient,) = torch.autograd.grad(total, probe, allow_unused=True)
    return None if gradient is None else gradient.flatten(1)


def gradient_notes(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
    """Warnings about masked gradients; ValueError where attacks would have no gradient, or none to follow.

    Args:
        model: in eval mode.
        x: (B, channels, H, W) in [0, 1].
        y: (B,) int64.
    """
    try:
        # The margin's gradient does not saturate where the softmax does.
        direct = _gradient(model, x, lambda logits: -margin(logits, y))
        saturating = _gradient(model, x, lambda logits: cross_entropy(logits, y))
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the model has no gradient ({reason}): attacks need one; mend its forward") from error
    if direct is None or saturating is None or not direct.any():
        raise ValueError(
            "no gradient reaches the images (detach, numpy, no_grad, argmax or rounding on the way?), so gradient "
            "attacks would find nothing: make the whole forward differentiable"
        )
    bad = int((~(direct.isfinite() & saturating.isfinite())).any(dim=1).sum())
    text = (
        f"the gradient of {bad} of {len(x)} images is not finite, and attacks cannot follow it: look for a square "
        "root, logarithm or norm at 0"
    )
    if bad == len(x):
        raise ValueError(text)
    # A few are counted as unevaluated by the evaluation itself, which refuses too many.
    notes = [text] if bad else []
    zero = int((saturating == 0).all(dim=1).sum())
    if zero:
        notes.append(
            f"the cross-entropy of {zero} of {len(x)} images has no gradient: masked gradients, so FGSM and PGD "
            "overstate the robustness; trust attacks on the margin, such as cw, more"
        )
    return notes


def accuracy_notes(model: nn.Module, x: Tensor, y: Tensor, classes: int) -> list[str]:
    """Warnings about clean accuracy that other pixel ranges raise, or near chance; ValueError where it is both.

    Args:
        model, x, y: as in `gradient_notes`.
        classes: number of classes C.
    """

    def right(images: Tensor) -> Tensor:
        return is_right(answer(model, images), y)

    plain, chance = right(x), 1 / classes
    accuracy = plain.double().mean().item()
    # Three standard deviations of a guess.
    near_chance = accuracy < chance + 3 * math.sqrt(chance * (1 - chance) / len(x))
    mean, std = x.mean(dim=(0, 2, 3), keepdim=True), x.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3)
    in_bytes = right(255 * x)
    better, how, cure = right((x - mean) / std), "standardized", "give the --mean and --std of its training"
    if _clearly_more(in_bytes, better):
        better, how, cure = in_bytes, "in 0 to 255", f"give --mean 0 --std {1 / 255:.6f}"
    if _clearly_more(better, plain):
        text = (
            f"clean accuracy on {len(x)} images in [0, 1] is {accuracy:.1%}, but {how} they are "
            f"{better.double().mean().item():.1%} right: is normalization missing? {cure} "
            "(in Python, advdpnp.foreign.Normalized)"
        )
        if near_chance:
            raise ValueError(text)
        return [text]
    if near_chance:
        text = (
            f"clean accuracy is {accuracy:.1%}, near chance: is normalization missing (--mean, --std), or are these "
            "other weights, or classes in another order?"
        )
        return [text]
    return []


def _clearly_more(first: Tensor, second: Tensor) -> bool:
    """Whether chance hardly explains how much more of the same images the first gets right, as in McNemar's test."""
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    # Networks that are trained too little gain a few images from more contrast.
    return gained - lost >= 2.5 * math.sqrt(gained + lost) > 0
