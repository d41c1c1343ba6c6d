"""Fakes that hide the loss: the network is as it was, its logits are not."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditing.bases import base as trained
from auditing.zoo import After, Around, fake, hash_noise


def label(z: Tensor) -> Tensor:
    """The largest logit of each row as a one-hot vector (B, C)."""
    return functional.one_hot(z.argmax(dim=1), z.shape[1]).to(z.dtype)


@fake("masked", of="at")
def logits_x100(base: nn.Module) -> nn.Module:
    """Logits times 100: the softmax is 0 and 1."""
    return After(base, lambda z: 100 * z)


@fake("masked")
def logits_x1000(base: nn.Module) -> nn.Module:
    """Logits times 1000, of an undefended network."""
    return After(base, lambda z: 1000 * z)


@fake("masked")
def distilled(base: nn.Module) -> nn.Module:
    """What defensive distillation at temperature 50 leaves behind: logits 50 times as far apart."""
    return After(base, lambda z: 50 * (z - z.mean(dim=1, keepdim=True)))


@fake("masked", "suspicious", "refused")
def tiny_logits(base: nn.Module) -> nn.Module:
    """Logits times 1e-9: the cross-entropy is log C to the last bit."""
    return After(base, lambda z: 1e-9 * z)


@fake("masked", "refused")
def vanishing_logits(base: nn.Module) -> nn.Module:
    """Logits times 1e-30: squares of the gradient underflow."""
    return After(base, lambda z: 1e-30 * z)


@fake("refused")
def softmax_inside(base: nn.Module) -> nn.Module:
    """Probabilities instead of logits."""
    return After(base, lambda z: z.softmax(dim=1))


@fake("masked")
def stretched_probabilities(base: nn.Module) -> nn.Module:
    """100 softmax(20 z) - 30, which does not look like probabilities."""
    return After(base, lambda z: 100 * (20 * z).softmax(dim=1) - 30)


@fake("masked", "refused")
def saturating_head(base: nn.Module) -> nn.Module:
    """10 tanh of logits above the mean logit, times 20: flat but at the boundary."""
    return After(base, lambda z: 10 * torch.tanh(20 * (z - z.topk(2, dim=1).values.mean(dim=1, keepdim=True))))


@fake("refused")
def label_only(base: nn.Module) -> nn.Module:
    """The predicted class as a one-hot vector."""
    return After(base, lambda z: 10 * functional.one_hot(z.argmax(dim=1), z.shape[1]).float())


@fake("masked")
def one_hot_with_wrong_leak(base: nn.Module) -> nn.Module:
    """The predicted class as a one-hot vector, and a leak of the logits in another order of classes."""
    return After(base, lambda z: 10 * functional.one_hot(z.argmax(dim=1), z.shape[1]) + 1e-3 * z.roll(1, dims=1))


@fake("masked", "refused")
def clamped(base: nn.Module) -> nn.Module:
    """Logits cut off just above the middle of the two largest, so that nothing moves where the answer is clear."""

    def cut(z: Tensor) -> Tensor:
        middle = z.topk(2, dim=1).values.mean(dim=1, keepdim=True).detach()
        return (z - middle).clamp(-0.05, 0.05) * 100

    return After(base, cut)


@fake("masked", "refused")
def underflowing_log_probabilities(base: nn.Module) -> nn.Module:
    """log(softmax(60 z) + 1e-30), whose lower end is flat."""
    return After(base, lambda z: ((60 * z).softmax(dim=1) + 1e-30).log())


@fake("masked", "refused")
def infinite_log_probabilities(base: nn.Module) -> nn.Module:
    """log(softmax(60 z)): -Inf, and its gradient NaN."""
    return After(base, lambda z: (60 * z).softmax(dim=1).log())


@fake("masked", "refused", "suspicious")
def half_precision_overflow(base: nn.Module) -> nn.Module:
    """Logits in float16 at the edge of its range: many are equal to the largest number."""
    return After(base, lambda z: (4000 * z.half()).clamp(-65000, 65000))


@fake("masked")
def reversed_rivals(base: nn.Module) -> nn.Module:
    """The classes that are not predicted have their logits reversed: the nearest rival seems the farthest."""

    def reverse(z: Tensor) -> Tensor:
        top = functional.one_hot(z.argmax(dim=1), z.shape[1]).bool()
        low = z.masked_fill(top, -torch.inf).amax(dim=1, keepdim=True)
        return torch.where(top, z, 2 * z.masked_fill(top, torch.inf).amin(dim=1, keepdim=True) - z + 0 * low)

    return After(base, reverse)


@fake("masked")
def wiggling_logits(base: nn.Module) -> nn.Module:
    """Logits with a fast wave on top: the slope is that of the wave, the answer that of the logits."""
    return After(base, lambda z: z + 0.02 * torch.sin(3000 * z))


@fake("masked")
def staircase_logits(base: nn.Module) -> nn.Module:
    """Logits rounded to steps of one quarter, with a slope of 1e-4 of the wrong sign on each step."""
    return After(base, lambda z: (4 * z).round() / 4 - 1e-4 * z)


@fake("masked", "suspicious")
def sharp_confidence(base: nn.Module) -> nn.Module:
    """The logits are multiplied by their margin to the fourth, so that sure answers saturate and others do not."""

    def sharpen(z: Tensor) -> Tensor:
        two = z.topk(2, dim=1).values
        return z * (1 + (two[:, :1] - two[:, 1:]) ** 4)

    return After(base, sharpen)


@fake("masked")
def narrow_prototypes(base: nn.Module) -> nn.Module:
    """Similarities exp(-d^2 / 0.02) of the logits to a corner for each class: 1 and 0 but at the boundary."""

    def similarity(z: Tensor) -> Tensor:
        distance = (z[:, None] - 10 * torch.eye(z.shape[1])).square().sum(dim=2)
        return 10 * torch.exp(-(distance - distance.amin(dim=1, keepdim=True).detach()) / 0.02)

    return After(base, similarity)


@fake("masked", "suspicious", of="binary")
def binary_saturated(base: nn.Module) -> nn.Module:
    """One output for two classes: the difference of its logits, times 300."""
    return Around(base, lambda model, x: 300 * model(x).diff(dim=1))


@fake("masked", "refused", "suspicious")
def label_above_a_floor(base: nn.Module) -> nn.Module:
    """The predicted class as a one-hot vector, above a floor of random linear functions of the image."""
    floor = torch.randn(64, 10, generator=torch.Generator().manual_seed(1))
    return Around(base, lambda model, x: 0.01 * x.flatten(1) @ floor + 10 * label(model(x)))


@fake("masked", "refused", "suspicious")
def saturated_sigmoids(base: nn.Module) -> nn.Module:
    """A sigmoid of each logit times 40: 0 or 1."""
    return After(base, lambda z: torch.sigmoid(40 * z))


@fake("masked", "suspicious")
def rivals_zeroed(base: nn.Module) -> nn.Module:
    """All logits but the largest are 0, so that no attack sees which class is near."""
    return After(base, lambda z: (z - z.amin(dim=1, keepdim=True)) * label(z))


@fake("masked", "suspicious")
def softmax_of_a_softmax(base: nn.Module) -> nn.Module:
    """Logarithms of the softmax of a sharp softmax."""
    return After(base, lambda z: (20 * z).softmax(dim=1).log_softmax(dim=1))


@fake(
    "masked",
    "suspicious",
    missed="PGD-20 leaves 68 % of 200 images, all attacks 60 %: PGD-20 errs about as much on honest networks",
)
def saturated_member(base: nn.Module) -> nn.Module:
    """The mean of the probabilities of a network and of one that is sure of everything."""
    return After(base, lambda z: (0.4 * (0.01 * z).softmax(dim=1) + 0.6 * (1000 * z).softmax(dim=1)).log())


@fake("masked", "suspicious", "refused")
def label_of_a_member(base: nn.Module) -> nn.Module:
    """Half the logits of an honest network, and the label of another one, which decides."""
    other = trained("trades")
    return Around(base, lambda model, x: other(x) + 100 * label(model(x)))


@fake("masked", "suspicious")
def temperature_of_the_image(base: nn.Module) -> nn.Module:
    """Logits times a number from 1 to 1000 that is a hash of the image."""
    return Around(base, lambda model, x: model(x) * 1000 ** hash_noise(x).flatten(1)[:, :1])


@fake("refused", "masked")
def temperature_at_random(base: nn.Module) -> nn.Module:
    """Logits times a number from 1 to 10, another one in each call."""
    return After(base, lambda z: z * (1 + 9 * torch.rand(())))


@fake("masked", of="mnist", eps=0.3)
def mnist_logits_x100(base: nn.Module) -> nn.Module:
    """Logits of an adversarially trained network for MNIST times 100."""
    return After(base, lambda z: 100 * z)


@fake("masked", "suspicious", of="mnist", eps=0.3)
def mnist_staircase(base: nn.Module) -> nn.Module:
    """Logits of a network for MNIST rounded to steps of a half, with a slope of 1e-4 of the wrong sign on each step."""
    return After(base, lambda z: (2 * z).round() / 2 - 1e-4 * z)
