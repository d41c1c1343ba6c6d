"""The registry of the zoo: networks whose robustness is faked, and honest ones, with the verdicts an audit may give."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from advdpnp.threat import Ball

Verdict = Literal["no sign of masking", "suspicious", "masked", "refused"]
Build = Callable[[nn.Module], nn.Module]


@dataclass(frozen=True)
class Specimen:
    """A network of the zoo.

    Args:
        name: unique.
        says: one line: what it does.
        build: from the trained network `base` to the specimen, in eval mode.
        base: name of weights in `bases`.
        accepted: the verdicts that are right.
        eps: radius that it is audited at.
        norm: "linf" or "l2".
        missed: why the audit does not catch it; "" where it does.
    """

    name: str
    says: str
    build: Build
    base: str
    accepted: tuple[Verdict, ...]
    eps: float = 0.1
    norm: Ball = "linf"
    missed: str = ""


FAKES: list[Specimen] = []
HONEST: list[Specimen] = []


def fake(
    *accepted: Verdict, of: str = "standard", eps: float = 0.1, norm: Ball = "linf", missed: str = ""
) -> Callable[[Build], Build]:
    """Put a function from a base network to a fake into the zoo; its docstring says what the fake does."""
    return _into(FAKES, accepted, of, eps, norm, missed)


def honest(*accepted: Verdict, of: str = "at", eps: float = 0.1, norm: Ball = "linf") -> Callable[[Build], Build]:
    """Put a function from a base network to an honest one into the zoo."""
    return _into(HONEST, accepted or ("no sign of masking",), of, eps, norm)


def _into(
    zoo: list[Specimen], accepted: tuple[Verdict, ...], of: str, eps: float, norm: Ball, missed: str = ""
) -> Callable[[Build], Build]:
    def put(build: Build) -> Build:
        says = (build.__doc__ or "").strip().splitlines()[0]
        zoo.append(Specimen(build.__name__.replace("_", "-"), says, build, of, accepted, eps, norm, missed))
        return build

    return put


class Before(nn.Module):
    """A function of the images, and then the network."""

    def __init__(self, change: Callable[[Tensor], Tensor], model: nn.Module) -> None:
        super().__init__()
        self.change, self.model = change, model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(self.change(x))
        return logits


class After(nn.Module):
    """The network, and then a function of the logits."""

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change, self.model = change, model
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.change(self.model(x))


class Around(nn.Module):
    """Any function of the network and the images."""

    def __init__(self, model: nn.Module, answer: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self.answer = model, answer
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.answer(self.model, x)


def backward_as(change: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The identity, whose gradient is `change(x, gradient)`."""

    class Lying(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clone()

        @staticmethod
        def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
            return change(x, gradient)

    return Lying.apply  # type: ignore[no-any-return]


def hash_noise(x: Tensor) -> Tensor:
    """Noise (B, ...) in [0, 1) that is a function of the image, and another one for the slightest change of it."""
    where = torch.arange(1, x[0].numel() + 1, dtype=torch.float64).view(1, *x.shape[1:])
    key = (x.detach().double() * where.sqrt()).flatten(1).sum(dim=1).view(-1, *[1] * (x.dim() - 1))
    return torch.frac((torch.sin(1e4 * key + where * 12.9898) * 43758.5453).abs()).float()
