"""What a network must do for its robust accuracy to mean anything; each refusal says what is wrong and the cure."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advdpnp.attacks.attack import check_images, check_labels, check_mode
from advdpnp.data import Images
from advdpnp.evaluation.symptoms import accuracy_notes, answer, gradient_notes
from advdpnp.losses import has_answer

# Images for clean accuracy, and for everything else.
_MANY, _FEW = 128, 16
# Relative differences of logits: rounding of the same computation, and of one in another batch shape.
_SAME, _OTHER_BATCH = 1e-5, 1e-3


def check_protocol(model: nn.Module, images: Images, n: int) -> None:
    """Raise ValueError on a network in training mode, or images, labels or n out of range."""
    check_mode(model)
    check_not_empty(images)
    if not 1 <= n <= len(images):
        raise ValueError(f"--limit must be from 1 to {len(images)}, the test images there are; got {n}")
    x, _ = images.batch(torch.arange(1, device=images.labels.device))
    check_images(x)
    with torch.no_grad():
        classes = model(x).shape[1]
    check_labels(images.labels[:n], n, classes)


def check_not_empty(images: Images) -> None:
    """Raise ValueError on a test set without images."""
    if not len(images):
        raise ValueError("the test set is empty, so nothing can be measured: give at least one image")


def examine(model: nn.Module, images: Images, num_classes: int | None = None, attacked: bool = True) -> list[str]:
    """Try an unknown network on real images before it is attacked.

    Args:
        model: in eval mode, on the images' device.
        images: the test set; its first images are used.
        num_classes: classes of the data set; None if only the labels tell.
        attacked: gradients of the input will be needed.
    Returns:
        Warnings: what may make the numbers mean less than they seem to.
    Raises:
        ValueError: one line, for the first thing that would make them meaningless.
    """
    check_mode(model)
    check_not_empty(images)
    x, y = images.batch(torch.arange(min(_MANY, len(images)), device=images.labels.device))
    check_images(x)
    few, few_labels = x[:_FEW], y[:_FEW]
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = _first_logits(model, few, num_classes)
    check_labels(y, len(y), logits.shape[1])
    _check_repeats(model, few, logits)
    _check_batches(model, few, logits)
    notes = gradient_notes(model, few, few_labels) if attacked else []
    notes += accuracy_notes(model, x, y, logits.shape[1])
    changed = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, state.get(name, buffer))]
    if changed:
        notes.append(f"the model changes its buffers when it is called ({', '.join(changed[:3])}): is that meant?")
    if logits.dtype in (torch.float16, torch.bfloat16):
        notes.append(f"logits are {logits.dtype}: ties and coarse gradients can make attacks weaker than they are")
    return notes


def _first_logits(model: nn.Module, x: Tensor, num_classes: int | None) -> Tensor:
    given = x.clone()
    try:
        with torch.no_grad():
            logits = model(given)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a stranger's network fails in any way
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


def _check_logits(logits: object, batch: int, num_classes: int | None) -> None:
    if not isinstance(logits, Tensor):
        raise ValueError(f"the model must return logits (B, C); got a {_described(logits)}: return the logits alone")
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


def _described(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__} of {len(value)} ({', '.join(type(item).__name__ for item in value)})"
    if isinstance(value, dict):
        return f"{type(value).__name__} with {', '.join(map(str, value))}"
    return type(value).__name__


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


def _check_repeats(model: nn.Module, x: Tensor, logits: Tensor) -> None:
    for _ in range(2):
        found = _difference(logits, answer(model, x))
        if found > _SAME * _rounding(logits):
            raise ValueError(
                f"the model answers the same images differently (by {found:.2g} of the largest logit): it draws random "
                "numbers or remembers its input; make it deterministic in eval mode"
            )


def _check_batches(model: nn.Module, x: Tensor, logits: Tensor) -> None:
    count = len(x)
    others: tuple[tuple[str, Callable[[], Tensor]], ...] = (
        ("alone", lambda: torch.cat([answer(model, x[i : i + 1]) for i in range(count)])),
        ("in another order", lambda: answer(model, x.flip(0)).flip(0)),
        ("in another batch", lambda: answer(model, torch.cat([x[count // 2 :], x]))[-count:]),
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
