"""The attacked network, which records for which images its logits or input gradients were not finite.

Such an image gives an attack no direction to follow. The attack gets a gradient of 0 instead, so its iterate stays
where it is and its other restarts go on; and the image is recorded, so that it does not count as robust only because
there was no gradient.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks.projected_ascent import Forward
from advdpnp.losses import at_least_fp32, class_logits, has_answer, is_right

# (network, x, x_adv, y) -> (B,), one value for each image.
PointObjective = Callable[[Any, Tensor, Tensor, Tensor], Tensor]


class MonitoredModel(nn.Module):
    """A network with logits in at least fp32, and a record of the images for which it was not finite.

    The network gets a copy of its input, so one that changes its input in place does not change the attack's images.

    Args:
        network: (B, channels, H, W) in [0, 1] -> logits (B, C), or one output z, which stands for the logits [0, z].
        images: how many images are attacked; row i of a batch is about image i, unless `about` says otherwise.
        device: of the images.
        dtype: of the images that the network takes; None for those of the attack.
    """

    def __init__(self, network: Forward, images: int, device: torch.device, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.network, self._dtype = network, dtype
        # Not by eval(), which would change the network too.
        self.training = False
        self._times = torch.zeros(images, dtype=torch.int32, device=device)
        self._of = torch.arange(images, device=device)

    @property
    def nonfinite(self) -> Tensor:
        """(images,) bool: the images whose logits or gradient were not finite at least once."""
        return self._times > 0

    @contextlib.contextmanager
    def about(self, rows: Tensor | slice) -> Iterator[None]:
        """Inside, row i of a batch is about the image of row `rows[i]` outside: (k,) int64, or a slice."""
        before, self._of = self._of, self._of[rows]
        try:
            yield
        finally:
            self._of = before

    def forward(self, x: Tensor) -> Tensor:
        return self._watched(x, lambda given: class_logits(logits_alone(self.network(given)), len(x)), has_answer)

    def objective(self, objective: PointObjective, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """What an adaptive attack maximizes, with its gradient in `x_adv` watched as that of the logits is.

        Args:
            objective: (network, x, x_adv, y) -> (B,).
            x, x_adv: (B, channels, H, W) images and attacked images.
            y: (B,) int64 labels.
        Returns:
            (B,), at least fp32.
        """
        clean = x.to(self._dtype or x.dtype, copy=True)
        return self._watched(x_adv, lambda given: objective(self.network, clean, given, y), torch.isfinite)

    def _watched(self, x: Tensor, ask: Callable[[Tensor], Tensor], is_answer: Callable[[Tensor], Tensor]) -> Tensor:
        """What `ask` says of a copy of x; images without an answer, or without a finite gradient, are recorded."""
        of, given = self._of, x.to(self._dtype or x.dtype, copy=True)
        answered: Tensor

        def finite(gradient: Tensor) -> Tensor:
            return self._finite_gradient(of, answered, gradient)

        if given.requires_grad:
            # Before the call: afterwards, a network that changes its input in place has made another tensor of it.
            given.register_hook(finite)  # type: ignore[no-untyped-call]
        answer = at_least_fp32(ask(given))
        answered = is_answer(answer.detach())
        if len(x) == len(of):
            self._record(of, ~answered)
        return answer

    def check_answers(self, x_adv: Tensor, y: Tensor, target: Tensor | None = None) -> None:
        """Raise ValueError if an image for which the network was not finite is not misclassified in the end.

        Args:
            x_adv: (images, channels, H, W), what the attack has found.
            y: (images,) int64 labels.
            target: (images,) int64, where the attack aims: the image must be classified as it, or be of it.
        """
        logits = self(x_adv)
        held = is_right(logits, y) if target is None else ~is_right(logits, target) & (target != y)
        left = int((self.nonfinite & (~has_answer(logits) | held)).sum())
        if left:
            raise ValueError(
                f"the network's answers about {left} of {len(x_adv)} images are not finite (NaN or Inf in logits or "
                "input gradient), so the attack says nothing about them: look for a square root, logarithm, norm or "
                "division at 0; advdpnp.evaluate counts such images"
            )

    def _finite_gradient(self, of: Tensor, answered: Tensor, gradient: Tensor) -> Tensor:
        # A maximum is NaN where any of its numbers is, and much faster than isfinite of each.
        finite = answered & gradient.flatten(1).abs().amax(dim=1).isfinite()
        # If an attack has changed its batch without `about`, which image it was is not known.
        self._record(of, ~finite if len(finite) == len(of) else (~finite).any().expand(len(of)))
        if finite.device.type == "cpu" and finite.all():
            return gradient
        return torch.where(finite.view(-1, *[1] * (gradient.dim() - 1)), gradient, 0.0)

    def _record(self, of: Tensor, bad: Tensor) -> None:
        # Where no device has to be waited for, there is nearly always nothing to write.
        if bad.device.type == "cpu" and not bad.any():
            return
        # Several rows may be of one image; and this makes no host wait for the device.
        self._times.index_add_(0, of, bad.to(self._times.dtype))


def logits_alone(answer: object) -> Tensor:
    """What a network returned, if it is a tensor; ValueError with the cure if it is a tuple or another object."""
    if isinstance(answer, Tensor):
        return answer
    raise ValueError(f"the model must return logits (B, C); got a {_described(answer)}")


def _described(answer: object) -> str:
    """What was returned instead of a tensor, and how to return the logits alone."""
    wrap = "wrap it in a network whose forward returns the logits alone"
    if isinstance(answer, tuple | list):
        kinds = ", ".join(type(item).__name__ for item in answer)
        first = next((place for place, item in enumerate(answer) if isinstance(item, Tensor) and item.dim() == 2), 0)
        named = f".{answer._fields[first]}" if hasattr(answer, "_fields") else f"[{first}]"
        return f"{type(answer).__name__} of {len(answer)} ({kinds}): {wrap}, as model(x){named}"
    name = type(answer).__name__
    if isinstance(answer, Mapping):
        key = "logits" if "logits" in answer or not answer else next(iter(answer))
        return f"{name} with {', '.join(map(str, answer))}: {wrap}, as model(x)[{key!r}]"
    if hasattr(answer, "logits"):
        return f"{name}: {wrap}, as model(x).logits"
    return f"{name}: {wrap}"


def about(network: Forward, rows: Tensor | slice) -> contextlib.AbstractContextManager[None]:
    """`MonitoredModel.about`, which does nothing for other networks."""
    return network.about(rows) if isinstance(network, MonitoredModel) else contextlib.nullcontext()


def monitored_objective(network: Forward, objective: PointObjective, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """`MonitoredModel.objective`, which other networks are asked for without a watch."""
    if isinstance(network, MonitoredModel):
        return network.objective(objective, x, x_adv, y)
    return objective(network, x, x_adv, y)


def out_of_inference(network: nn.Module) -> nn.Module:
    """The network, or a copy where it was made in inference mode, since such weights can be in no graph."""
    tensors = (*network.parameters(), *network.buffers())
    return deepcopy(network) if any(tensor.is_inference() for tensor in tensors) else network
