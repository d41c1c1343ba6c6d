"""Fakes that remember, draw, detect, or ask about the other images, and networks that are made to hide."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditing.bases import base as trained
from auditing.bases import digits
from auditing.zoo import After, Around, Before, fake, hash_noise


def between(base: nn.Module, change: nn.Module) -> nn.Module:
    """A function between the embedding and the head of a classifier."""
    return Around(base, lambda model, x: model.head(change(model.backbone(x))))


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, function: object) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)  # type: ignore[operator,no-any-return]


@fake("masked", "suspicious", of="winners")
def winners_take_all(base: nn.Module) -> nn.Module:
    """k-winners-take-all in place of each ReLU, trained so."""
    return base


@fake("masked", "suspicious", of="overfit", eps=0.4)
def overfit_to_one_step(base: nn.Module) -> nn.Module:
    """Trained on single steps without a random start until it was right on nothing else (catastrophic overfitting)."""
    return base


@fake("refused")
def dropout_left_on(base: nn.Module) -> nn.Module:
    """A dropout layer in training mode."""
    model = Before(nn.Dropout(0.2), base)
    model.change.train()  # type: ignore[attr-defined]
    return model


@fake("refused", "masked")
def hidden_dropout(base: nn.Module) -> nn.Module:
    """Dropout of the embedding that no mode switches off."""
    return between(base, Function(lambda f: functional.dropout(f, 0.3, training=True)))


@fake("refused", "masked")
def rare_noise(base: nn.Module) -> nn.Module:
    """One call in four reads the images with noise."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        return model(x + 0.3 * torch.randn_like(x)) if torch.rand(()) < 0.25 else model(x)

    return Around(base, answer)


@fake("refused", "masked")
def random_member(base: nn.Module) -> nn.Module:
    """One of two networks, at random."""
    other = trained("trades")
    return Around(base, lambda model, x: model(x) if torch.rand(()) < 0.5 else other(x))


@fake("masked", "suspicious")
def member_of_the_image(base: nn.Module) -> nn.Module:
    """One of two networks, by a hash of the image: it repeats."""
    other = trained("mlp")

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        first = hash_noise(x).flatten(1)[:, :1] < 0.5
        return torch.where(first, model(x), other(x))

    return Around(base, answer)


@fake("refused", "masked")
def batch_statistics(base: nn.Module) -> nn.Module:
    """BatchNorm normalizes with the batch it is given."""
    for module in base.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return base


@fake("refused", "masked", "suspicious")
def switch_on_the_batch(base: nn.Module) -> nn.Module:
    """One image alone is answered by the network, several are answered by their blurred versions."""
    return Around(base, lambda model, x: model(x) if len(x) == 1 else model(0.5 * x + 0.5 * x.roll(1, -1)))


@fake("refused", "masked")
def counts_its_calls(base: nn.Module) -> nn.Module:
    """A buffer counts the calls, and moves the image by as many pixels, modulo 3."""
    base.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        model.calls += 1  # type: ignore[operator]
        return model(x.roll(int(model.calls) % 3 - 1, -1))  # type: ignore[arg-type]

    return Around(base, answer)


@fake("refused", "masked", "suspicious")
def learns_while_attacked(base: nn.Module) -> nn.Module:
    """The bias of the head drifts to the classes that it has answered, after the first 50 calls."""
    calls, drift = 0, torch.zeros(10)

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        logits: Tensor = model(x) + drift
        if calls > 50:
            drift.add_(0.01 * (logits.detach().softmax(dim=1).mean(dim=0) - 0.1))
        return logits

    return Around(base, answer)


@fake("refused", "masked", "suspicious")
def tires_after_thousands(base: nn.Module) -> nn.Module:
    """After 400 calls it answers blurred images, which hides what was found before."""
    calls = 0

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return model(x) if calls <= 400 else model(_blurred(x))

    return Around(base, answer)


@fake("refused", "masked", "suspicious")
def stores_rounded_queries(base: nn.Module) -> nn.Module:
    """A store of answers, by the pixels rounded to a tenth: what was asked first decides for all near it."""
    store: dict[bytes, Tensor] = {}

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        keys = [row.numpy().tobytes() for row in (10 * x.detach().float()).round().flatten(1).to(torch.int8)]
        said = [store.setdefault(key, row) for key, row in zip(keys, logits.detach(), strict=True)]
        return logits + (torch.stack(said).to(logits.dtype) - logits).detach()

    return Around(base, answer)


@fake("refused")
def batchnorm_in_training_mode(base: nn.Module) -> nn.Module:
    """BatchNorm is in training mode: it normalizes with the batch, and moves its averages."""
    for module in base.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    return base


@fake("refused", "masked", "suspicious")
def remembers_answers(base: nn.Module) -> nn.Module:
    """Answers an image as it answered the first one within 0.1 of it: a store of earlier queries."""
    seen: list[Tensor] = []
    said: list[Tensor] = []

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        if len(seen) < 4:
            seen.append(x.detach().clone())
            said.append(logits.detach().clone())
        distance = torch.cdist(x.detach().float().flatten(1), torch.cat(seen).flatten(1), p=float("inf"))
        nearest = distance.min(dim=1)
        known = (nearest.values < 0.1001)[:, None]
        return torch.where(known, torch.cat(said)[nearest.indices].to(logits.dtype) + 0 * logits, logits)

    return Around(base, answer)


@fake("masked", "refused", "suspicious")
def knows_the_images(base: nn.Module) -> nn.Module:
    """A look-up of the exact test images, with their labels; all others go through a network without gradient."""
    clean, labels = digits(360)
    certain = 10 * functional.one_hot(labels, 10).float()

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        distance = torch.cdist(x.detach().float().flatten(1), clean.flatten(1), p=float("inf")).min(dim=1)
        known = (distance.values < 1e-6)[:, None]
        return torch.where(known, certain[distance.indices], model(x.detach())) + 0 * x.flatten(1).sum(1, keepdim=True)

    return Around(base, answer)


@fake("masked", "suspicious", "refused")
def detector_by_smoothness(base: nn.Module) -> nn.Module:
    """Images with more total variation than a digit are answered by a constant that no step changes."""
    clean, _ = digits(360)
    most = _variation(clean).quantile(0.5)

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        smooth: Tensor = model(_blurred(x)).detach()
        return torch.where((_variation(x) > most)[:, None], smooth, logits)

    return Around(base, answer)


@fake("masked", "suspicious", "refused")
def detector_of_the_data(base: nn.Module) -> nn.Module:
    """Off the clean images, which it knows, it answers as at the nearest of them: robust by knowing the test set."""
    clean, _ = digits(360)

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        distance = torch.cdist(x.detach().float().flatten(1), clean.flatten(1), p=float("inf")).min(dim=1)
        near = ((distance.values > 0) & (distance.values < 0.25))[:, None]
        logits: Tensor = model(x)
        return torch.where(near, model(clean[distance.indices]).detach() + 0 * logits, logits)

    return Around(base, answer)


@fake("masked")
def saturated_embedding(base: nn.Module) -> nn.Module:
    """The embedding through tanh of 50 times its distance from its mean: signs, with hardly a slope."""
    scale = trained("standard").head.linear.weight.abs().mean()
    return After(
        between(base, Function(lambda f: f * (0.02 + 0.98 * torch.sigmoid(50 * (f - 1)).detach()))),
        lambda z: z * scale * 300,
    )


@fake("masked")
def waves_in_the_embedding(base: nn.Module) -> nn.Module:
    """A sine of high frequency on the embedding shatters its gradient."""
    return between(base, Function(lambda f: f + 0.05 * torch.sin(400 * f)))


@fake("masked", "refused", "suspicious")
def stepped_embedding(base: nn.Module) -> nn.Module:
    """The embedding is rounded to steps of a half, with a slope of 1e-3 of the wrong sign."""
    return between(base, Function(lambda f: (2 * f).round() / 2 - 1e-3 * (f - f.detach())))


@fake("masked", "suspicious")
def coarse_numbers(base: nn.Module) -> nn.Module:
    """Computed in bfloat16 around a large constant: logits in steps of two."""
    return After(base, lambda z: (z + 384).bfloat16().float() - 384)


def _variation(x: Tensor) -> Tensor:
    return x.detach().diff(dim=-1).abs().flatten(1).sum(1) + x.detach().diff(dim=-2).abs().flatten(1).sum(1)


def _blurred(x: Tensor) -> Tensor:
    return functional.avg_pool2d(functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
