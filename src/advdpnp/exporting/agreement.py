"""Does an exported file answer as the classifier does? Logits of both, in batches of several sizes."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

# The first batches; further ones are as the last. A file whose batch size is fixed fails on them.
BATCHES = (1, 7, 128)
TOLERANCE = 1e-4

Answers = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class ReferenceLogits:
    """Images, and what the classifier answers to them.

    Args:
        x: (N, channels, H, W) in [0, 1].
        logits: (N, C).
        what: the images in words, for the card.
    """

    x: Tensor
    logits: Tensor
    what: str


@dataclass(frozen=True)
class Agreement:
    """How far a file's logits are from the classifier's.

    Args:
        images: how many images were compared.
        what: which images.
        largest: the largest absolute difference of a logit.
        relative: the same, divided by the classifier's largest absolute logit.
        same_class: images to which both give the same class.
    """

    images: int
    what: str
    largest: float
    relative: float
    same_class: int

    def text(self) -> str:
        """One line for card and command line."""
        batches = ", ".join(map(str, BATCHES[:-1])) + f" and {BATCHES[-1]}"
        return (
            f"same class as the classifier on {self.same_class} of {self.images} {self.what}, "
            f"largest difference of a logit {self.largest:.2g} ({self.relative:.1g} of the largest logit), "
            f"in batches of {batches}"
        )


def _sizes(n: int) -> list[int]:
    sizes: list[int] = []
    while (left := n - sum(sizes)) > 0:
        sizes.append(min(left, BATCHES[min(len(sizes), len(BATCHES) - 1)]))
    return sizes


@torch.no_grad()
def _in_batches(answer: Answers, x: Tensor) -> Tensor:
    return torch.cat([answer(part) for part in torch.split(x, _sizes(len(x)))])


def reference_logits(model: nn.Module, x: Tensor, what: str) -> ReferenceLogits:
    """What a model in eval mode answers to x, (N, channels, H, W) in [0, 1]; `what` names the images."""
    return ReferenceLogits(x, _in_batches(model, x), what)


def agreement(answer: Answers, reference_logits: ReferenceLogits, name: str) -> Agreement:
    """Compare a file's answers with the classifier's.

    Args:
        answer: (B, channels, H, W) -> logits (B, C), read from the file.
        reference_logits: images and the classifier's logits.
        name: of the file, for messages.
    Raises:
        ValueError: logits farther apart than `TOLERANCE` of the largest one, or another class for some image.
    """
    logits = _in_batches(answer, reference_logits.x)
    largest = (logits - reference_logits.logits).abs().max().item()
    relative = largest / max(reference_logits.logits.abs().max().item(), 1e-12)
    same_class = int((logits.argmax(1) == reference_logits.logits.argmax(1)).sum())
    # Written so that a NaN is refused.
    if not relative <= TOLERANCE or same_class < len(logits):
        raise ValueError(
            f"{name} would not be the same classifier: logits differ by up to {largest:.3g} ({relative:.2g} of the "
            f"largest, at most {TOLERANCE:g} is allowed), and {len(logits) - same_class} of {len(logits)} images get "
            "another class. It is not written: leave this format out, or train on if the logits are not finite"
        )
    return Agreement(len(logits), reference_logits.what, largest, relative, same_class)
