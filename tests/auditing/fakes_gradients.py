"""Fakes whose forward is that of the network, and whose backward is not."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditing.bases import digits
from auditing.zoo import Around, Before, backward_as, fake, hash_noise


@fake("refused")
def detached_stem(base: nn.Module) -> nn.Module:
    """The images are detached."""
    return Before(lambda x: x.detach(), base)


@fake("masked")
def half_detached_stem(base: nn.Module) -> nn.Module:
    """All but the outer columns of the images are detached."""
    outer = torch.tensor([1.0, 0, 0, 0, 0, 0, 0, 1.0])
    return Before(lambda x: outer * x + ((1 - outer) * x).detach(), base)


@fake("masked")
def sign_flipped(base: nn.Module) -> nn.Module:
    """Gradients of the opposite sign."""
    return Before(backward_as(lambda _, gradient: -gradient), base)


@fake("masked")
def random_signs(base: nn.Module) -> nn.Module:
    """Each entry of the gradient gets a sign at random."""
    return Before(backward_as(lambda _, gradient: gradient * torch.randn_like(gradient).sign()), base)


@fake("masked")
def signs_of_the_image(base: nn.Module) -> nn.Module:
    """Each entry of the gradient gets a sign that is a hash of the image: it repeats."""
    return Before(backward_as(lambda x, gradient: gradient * (hash_noise(x) - 0.5).sign()), base)


@fake("masked")
def shuffled_gradient(base: nn.Module) -> nn.Module:
    """The gradient's rows and columns are exchanged, as by a wrong reshape."""
    return Before(backward_as(lambda _, gradient: gradient.transpose(-1, -2).contiguous()), base)


@fake("masked", "suspicious")
def scaled_gradient(base: nn.Module) -> nn.Module:
    """Gradients times 1e-30, whose squares underflow."""
    return Before(backward_as(lambda _, gradient: 1e-30 * gradient), base)


@fake("refused", "masked")
def underflowing_gradient(base: nn.Module) -> nn.Module:
    """Gradients times 1e-60, which are 0."""
    return Before(backward_as(lambda _, gradient: (1e-30 * gradient) * 1e-30), base)


@fake("refused", "masked")
def nan_gradient(base: nn.Module) -> nn.Module:
    """The square root of squares, as of a norm: NaN where a pixel is 0."""
    return Before(lambda x: x.square().sqrt(), base)


@fake("refused", "masked", "suspicious")
def nan_gradient_off_the_image(base: nn.Module) -> nn.Module:
    """Gradients are NaN for all but the clean images, which it knows."""
    clean, _ = digits(360)

    def spoil(x: Tensor, gradient: Tensor) -> Tensor:
        return torch.where(_distance(x, clean) > 1e-4, torch.nan, gradient)

    return Before(backward_as(spoil), base)


@fake("masked")
def right_at_the_image_alone(base: nn.Module) -> nn.Module:
    """Gradients are right at the clean images, which it knows, and flipped elsewhere."""
    clean, _ = digits(360)
    return Before(backward_as(lambda x, g: torch.where(_distance(x, clean) > 1e-4, -g, g)), base)


@fake("masked")
def flat_beyond_half_the_radius(base: nn.Module) -> nn.Module:
    """No gradient farther than 0.05 from the nearest clean image, which it knows."""
    clean, _ = digits(360)
    return Before(backward_as(lambda x, g: torch.where(_distance(x, clean) > 0.05, 0 * g, g)), base)


@fake("masked", "refused")
def flat_near_the_image(base: nn.Module) -> nn.Module:
    """No gradient nearer than 0.12 to a clean image, which it knows."""
    clean, _ = digits(360)
    return Before(backward_as(lambda x, g: torch.where(_distance(x, clean) < 0.12, 0 * g, g)), base)


@fake("masked", "suspicious", eps=1.0, norm="l2")
def turned_near_the_image(base: nn.Module) -> nn.Module:
    """Near clean images, which it knows, gradients are small and turned; outside of their l2 balls they are right."""
    return Before(_turned_within(1.1), base)


@fake("masked", "suspicious")
def turned_in_another_norm(base: nn.Module) -> nn.Module:
    """The same, audited in linf, whose ball reaches beyond that of l2."""
    return Before(_turned_within(0.45), base)


@fake("masked", "refused", "suspicious")
def other_network_while_attacked(base: nn.Module) -> nn.Module:
    """Where a gradient is asked for, the answer is that of the mirrored image."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x.detach())
        if not torch.is_grad_enabled():
            return logits
        mirrored: Tensor = model(x.flip(-1))
        return mirrored + (logits - mirrored).detach()

    return Around(base, answer)


@fake("masked", "refused", "suspicious")
def other_logits_while_attacked(base: nn.Module) -> nn.Module:
    """Where a gradient is asked for, the logits are those of the network with noise that the image decides."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        return model(x) if not torch.is_grad_enabled() else model(x + 0.3 * (hash_noise(x) - 0.5))

    return Around(base, answer)


@fake("masked", "refused", "suspicious")
def no_gradient_in_batches(base: nn.Module) -> nn.Module:
    """More than 16 images at once are detached but for the first column."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        if len(x) <= 16:
            return model(x)
        return model(torch.cat([x[..., :1], x[..., 1:].detach()], dim=-1))

    return Around(base, answer)


@fake("masked", "refused", "suspicious")
def gradient_wears_out(base: nn.Module) -> nn.Module:
    """After twenty calls the gradients point the other way."""
    calls = 0

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        nonlocal calls
        calls += torch.is_grad_enabled()
        return model(x) if calls <= 20 else model(flip(x))

    flip = backward_as(lambda _, gradient: -gradient)
    return Around(base, answer)


@fake("masked")
def decoy_of_another_class(base: nn.Module) -> nn.Module:
    """The backward is that of a classifier whose classes are in another order."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        decoy = logits.roll(3, dims=1)
        return decoy + (logits - decoy).detach()

    return Around(base, answer)


@fake("masked")
def gradient_of_the_prediction_alone(base: nn.Module) -> nn.Module:
    """Only the largest logit has a gradient, and it is flipped; the others are detached."""

    def answer(model: nn.Module, x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        top = functional.one_hot(logits.argmax(dim=1), logits.shape[1])
        return logits.detach() + top * (logits.detach() - logits)

    return Around(base, answer)


@fake("masked", of="at")
def flipped_on_a_robust_network(base: nn.Module) -> nn.Module:
    """Gradients of the opposite sign, of a network that is fairly robust."""
    return Before(backward_as(lambda _, gradient: -gradient), base)


@fake("masked", "suspicious")
def clipped_gradient(base: nn.Module) -> nn.Module:
    """A hook cuts gradients to 1e-12, so that only their signs are left."""
    return Before(backward_as(lambda _, gradient: gradient.clamp(-1e-12, 1e-12)), base)


@fake("masked", "suspicious")
def three_pixels_of_the_gradient(base: nn.Module) -> nn.Module:
    """Only the three largest entries of a gradient are kept."""

    def sparse(_: Tensor, gradient: Tensor) -> Tensor:
        flat = gradient.flatten(1)
        least = flat.abs().topk(3, dim=1).values[:, -1:]
        return (flat * (flat.abs() >= least)).view_as(gradient)

    return Before(backward_as(sparse), base)


@fake("masked", "suspicious", "refused")
def rounded_gradient(base: nn.Module) -> nn.Module:
    """Gradients are rounded to steps of 2: most are 0."""
    return Before(backward_as(lambda _, gradient: 2 * (gradient / 2).round()), base)


@fake("refused", "masked")
def fails_where_a_gradient_is_asked_for(base: nn.Module) -> nn.Module:
    """The backward raises an error."""

    def fail(_: Tensor, gradient: Tensor) -> Tensor:
        raise RuntimeError("this layer has no backward")

    return Before(backward_as(fail), base)


def _turned_within(radius: float) -> Callable[[Tensor], Tensor]:
    clean, _ = digits(360)

    def turn(x: Tensor, gradient: Tensor) -> Tensor:
        return torch.where(_distance(x, clean, 2) < radius, 1e-3 * gradient.rot90(1, (-1, -2)), gradient)

    return backward_as(turn)


def _distance(x: Tensor, clean: Tensor, p: float = float("inf")) -> Tensor:
    """From the nearest clean image, by default the largest change of a pixel: (B, 1, 1, 1)."""
    far = torch.cdist(x.detach().flatten(1), clean.flatten(1), p=p)
    return far.amin(dim=1).view(-1, 1, 1, 1)
