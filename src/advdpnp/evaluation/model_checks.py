"""What a network must do for its robust accuracy to mean anything; each refusal says what is wrong and the cure."""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advdpnp.attacks.attack import check_images, check_labels, check_mode
from advdpnp.attacks.monitored_model import logits_alone
from advdpnp.data import Images
from advdpnp.losses import cross_entropy, has_answer, is_right, margin
from advdpnp.result_files import score_interval

# How many images clean accuracy is measured on, and everything else.
_MANY, _FEW = 128, 16
# Largest relative differences of logits that count as rounding: of the same computation, and in another batch shape.
_SAME, _OTHER_BATCH = 1e-5, 1e-3


def check_protocol(model: nn.Module, images: Images, places: Tensor) -> int:
    """The network's classes; ValueError for a part in training mode, or images, labels or places (n,) out of range."""
    check_mode(model)
    check_not_empty(images)
    if len(images) <= int(places.max()):
        raise ValueError(
            f"--limit must be from 1 to {len(images)}, the test images there are; got {int(places.max()) + 1}"
        )
    x, _ = images.first(1)
    check_images(x)
    with torch.no_grad():
        classes: int = model(x).shape[1]
    check_labels(images.labels[places], len(places), classes)
    return classes


def check_not_empty(images: Images) -> None:
    """Raise ValueError on a test set without images."""
    if not len(images):
        raise ValueError("the test set is empty, so nothing can be measured: give at least one image")


def examine(
    model: nn.Module,
    images: Images,
    num_classes: int | None = None,
    attacked: bool = True,
    trained: bool = True,
    random: bool = False,
) -> list[str]:
    """Try an unknown network on real images before it is attacked.

    Args:
        model: in eval mode, on the images' device.
        images: the test set; its first images are used.
        num_classes: classes of the data set; None if only the labels tell.
        attacked: gradients of the input will be needed.
        trained: its accuracy should be above chance.
        random: it may answer the same images differently, since several answers are averaged.
    Returns:
        Warnings: what may make the numbers mean less than they seem to.
    Raises:
        ValueError: one line, for the first thing that would make them meaningless.
    """
    check_mode(model)
    check_not_empty(images)
    x, y = images.first(_MANY)
    check_images(x)
    few, few_labels = x[:_FEW], y[:_FEW]
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = _first_logits(model, few, num_classes)
    check_labels(y, len(y), logits.shape[1])
    if not random:
        _check_repeats(model, few, logits)
        _check_batches(model, few, logits)
    found = gradient_warnings(model, few, few_labels) if attacked else []
    found += accuracy_warnings(model, x, y, logits.shape[1]) if trained else []
    changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, state.get(name, buffer))]
    if changed:
        found.append(f"the model changes its buffers when it is called ({', '.join(changed[:3])}): is that meant?")
    if logits.dtype in (torch.float16, torch.bfloat16):
        found.append(f"logits are {logits.dtype}: ties and coarse gradients can make attacks weaker than they are")
    return found


def gradient_warnings(model: nn.Module, x: Tensor, y: Tensor) -> list[str]:
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
    found = [text] if bad else []
    zero = int((saturating == 0).all(dim=1).sum())
    if zero:
        found.append(
            f"the cross-entropy of {zero} of {len(x)} images has no gradient: masked gradients, so FGSM and PGD "
            "overstate the robustness; trust attacks on the margin, such as cw, more"
        )
    return found


def accuracy_warnings(model: nn.Module, x: Tensor, y: Tensor, classes: int) -> list[str]:
    """Warnings about clean accuracy that other pixel ranges raise, or near chance; ValueError where it is both.

    Args:
        model, x, y: as in `gradient_warnings`.
        classes: number of classes C.
    """

    def right(images: Tensor) -> Tensor:
        return is_right(_answer(model, images), y)

    plain, chance = right(x), 1 / classes
    accuracy = plain.double().mean().item()
    near_chance = is_near_chance(int(plain.sum()), len(x), chance)
    mean, std = x.mean(dim=(0, 2, 3), keepdim=True), x.std(dim=(0, 2, 3), keepdim=True).clamp_min(1e-3)
    in_bytes = right(255 * x)
    better, how, cure = right((x - mean) / std), "standardized", "give the --mean and --std of its training"
    if _clearly_more(in_bytes, better):
        better, how, cure = in_bytes, "in 0 to 255", f"give --mean 0 --std {1 / 255:.6f}"
    if _clearly_more(better, plain):
        text = (
            f"clean accuracy on {len(x)} images in [0, 1] is {accuracy:.1%}, but {how} they are "
            f"{better.double().mean().item():.1%} right: is normalization missing? {cure} "
            "(in Python, advdpnp.external.Normalized)"
        )
        if near_chance:
            raise ValueError(text)
        return [text]
    if near_chance:
        text = (
            f"clean accuracy on {len(x)} images is {accuracy:.1%}, near chance ({chance:.1%}): is "
            "normalization missing (--mean, --std), or are these other weights, or classes in another order?"
        )
        return [text]
    return []


def is_near_chance(right: int, n: int, chance: float) -> bool:
    """Whether n images tell that a network that is right on so many of them does little better than guessing.

    Its interval of three standard deviations reaches down to chance, or lies below, and not half-way up to 1; that of
    a few images is too wide to say anything.
    """
    low, high = score_interval(right, n, z=3)
    return low <= chance and high < (1 + chance) / 2


def _gradient(model: nn.Module, x: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor | None:
    probe = x.clone().requires_grad_()
    with torch.enable_grad(), warnings.catch_warnings():
        # PyTorch warns of networks that leave the graph; they are refused below.
        warnings.simplefilter("ignore")
        total = loss(model(probe)).sum()
        if not total.requires_grad:
            return None
        (gradient,) = torch.autograd.grad(total, probe, allow_unused=True)
    return None if gradient is None else gradient.flatten(1)


def _clearly_more(first: Tensor, second: Tensor) -> bool:
    """Whether the first gets more of the same images right than chance explains, as in McNemar's test: (B,) bool."""
    gained, lost = int((first & ~second).sum()), int((second & ~first).sum())
    # Networks that are trained too little gain a few images from more contrast.
    return gained - lost >= 2.5 * math.sqrt(gained + lost) > 0


def _answer(model: nn.Module, x: Tensor) -> Tensor:
    """Logits (B, C) of a copy of x."""
    with torch.no_grad():
        logits: Tensor = model(x.clone())
    return logits


def _first_logits(model: nn.Module, x: Tensor, num_classes: int | None) -> Tensor:
    given = x.clone()
    try:
        with torch.no_grad():
            logits = model(given)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # an unknown network may raise anything
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(
            f"the model cannot take images of {tuple(x.shape[1:])} ({reason}): choose the data set that it was made "
            "for, or the arguments that make it fit"
        ) from error
    if not torch.equal(given, x):
        raise ValueError(
            "the model changes its input in place, so the next call sees other images: write x = x - mean, not "
            "x.sub_(mean), and the like"
        )
    _check_logits(logits, len(x), num_classes)
    checked: Tensor = logits
    return checked


def _check_logits(answer: object, batch: int, num_classes: int | None) -> None:
    logits = logits_alone(answer)
    if logits.layout != torch.strided or logits.is_meta:
        kind = "without data (on the device meta)" if logits.is_meta else f"of layout {logits.layout}"
        raise ValueError(f"the model must return logits as a plain, dense tensor; got one {kind}")
    if logits.dim() != 2 or len(logits) != batch or logits.shape[1] < 2 or not logits.is_floating_point():
        raise ValueError(
            f"the model must return float logits (B, C) with C at least 2; got {tuple(logits.shape)} {logits.dtype} "
            f"for {batch} images"
        )
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ValueError(
            f"the model gives {logits.shape[1]} classes, but the data set has {num_classes}: build it for these, as "
            f"with --model-arg num_classes={num_classes}"
        )
    unsound = int((~has_answer(logits)).sum())
    if unsound:
        raise ValueError(f"logits of {unsound} of {batch} test images are not finite: are these weights whole?")
    if bool((logits >= 0).all()) and bool((logits.double().sum(dim=1) - 1).abs().max() < 1e-3):
        raise ValueError(
            "the model returns probabilities, not logits, and a softmax of them weakens every attack: drop the last "
            "softmax, or return the logarithm"
        )


def answers_alike(model: nn.Module, x: Tensor) -> bool:
    """Whether a network answers the same images alike every time, up to rounding: (B, channels, H, W) in [0, 1]."""
    logits = _answer(model, x)
    return _unlike(model, x, logits) <= _SAME * _rounding(logits)


def _unlike(model: nn.Module, x: Tensor, logits: Tensor) -> float:
    """By how much of the largest logit further answers differ from these logits."""
    return max(_difference(logits, _answer(model, x)) for _ in range(2))


def _check_repeats(model: nn.Module, x: Tensor, logits: Tensor) -> None:
    found = _unlike(model, x, logits)
    if found > _SAME * _rounding(logits):
        raise ValueError(
            f"the model answers the same images differently (by {found:.2g} of the largest logit): it draws random "
            "numbers or remembers its input; make it deterministic in eval mode, or if it is meant to be random, give "
            "--eot 20 (eot=20), so that attacks and verdicts follow the mean of 20 draws"
        )


def _check_batches(model: nn.Module, x: Tensor, logits: Tensor) -> None:
    count = len(x)
    others: tuple[tuple[str, Callable[[], Tensor]], ...] = (
        ("alone", lambda: torch.cat([_answer(model, x[i : i + 1]) for i in range(count)])),
        ("in another order", lambda: _answer(model, x.flip(0)).flip(0)),
        ("in another batch", lambda: _answer(model, torch.cat([x[count // 2 :], x]))[-count:]),
    )
    for how, again in others:
        try:
            found = _difference(logits, again())
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ValueError(
                f"the model takes a batch of {count} images, but not the same images {how} ({reason}): make it take "
                "batches of any size, as by x.flatten(1)"
            ) from error
        if found > _OTHER_BATCH * _rounding(logits):
            raise ValueError(
                f"the model answers an image {how} differently (by {found:.2g} of the largest logit), so a verdict "
                "would depend on the other images: BatchNorm with batch statistics, or whitening across the batch?"
            )


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest difference of two answers, in units of the largest logit; -Inf is equal to itself alone."""
    numbers = a.isfinite()
    if not torch.equal(numbers, b.isfinite()) or not torch.equal(a[~numbers], b[~numbers]):
        return math.inf
    a, b = a[numbers], b[numbers]
    return ((a - b).abs().max() / a.abs().max().clamp_min(torch.finfo(a.dtype).tiny)).item()


def _rounding(logits: Tensor) -> float:
    """How much coarser than float32 the answers are."""
    return max(1.0, torch.finfo(logits.dtype).eps / torch.finfo(torch.float32).eps)
