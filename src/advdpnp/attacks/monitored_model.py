"""The network as attacks ask it: the one place where answers that are not finite are noted, image by image.

Where the input gradient of an image is not finite, or its logits are no answer, an attack has nothing to follow. It
gets a gradient of 0 instead, so its iterate keeps its place and its other restarts go on; and the image is noted, so
that nobody takes it for robust because nothing was found.
"""

import contextlib
from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn

from advdpnp.attacks.projected_ascent import Forward
from advdpnp.losses import at_least_fp32, has_answer, is_right


class MonitoredModel(nn.Module):
    """A network that answers in at least fp32, and the images about which it answered no numbers.

    It gets a copy of what it is asked about, so one that writes to its input changes nobody else's images.

    Args:
        network: (B, channels, H, W) in [0, 1] -> logits (B, C).
        images: how many images are attacked; row i of a batch is about image i, unless `about` says otherwise.
        device: of the images.
        dtype: of the images that the network takes; None for those of the attack.
    """

    def __init__(self, network: Forward, images: int, device: torch.device, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.network, self._dtype = network, dtype
        # Not by eval(), which would reach into somebody else's network.
        self.training = False
        self._times = torch.zeros(images, dtype=torch.int32, device=device)
        self._of = torch.arange(images, device=device)

    @property
    def nonfinite(self) -> Tensor:
        """(images,) bool: the images of which an answer, logits or gradient, was not finite."""
        return self._times > 0

    @contextlib.contextmanager
    def about(self, rows: Tensor | slice) -> Iterator[None]:
        """Inside, a batch is about these of the rows outside: (k,) int64, repeated ones too."""
        before, self._of = self._of, self._of[rows]
        try:
            yield
        finally:
            self._of = before

    def forward(self, x: Tensor) -> Tensor:
        of, given = self._of, x.to(self._dtype or x.dtype, copy=True)
        answered: Tensor

        def followed(gradient: Tensor) -> Tensor:
            return self._followed(of, answered, gradient)

        if given.requires_grad:
            # Before the call: afterwards, a network that changes its input in place has made another tensor of it.
            given.register_hook(followed)  # type: ignore[no-untyped-call]
        logits = at_least_fp32(self.network(given))
        answered = has_answer(logits.detach())
        if len(x) == len(of):
            self._note(of, ~answered)
        return logits

    def check_answers(self, x_adv: Tensor, y: Tensor) -> None:
        """Raise ValueError if an answer about an image was not finite, and the image is not misclassified at the end.

        Args:
            x_adv: (images, channels, H, W), what the attack has found.
            y: (images,) int64 labels.
        """
        logits = self(x_adv)
        left = int((self.nonfinite & (~has_answer(logits) | is_right(logits, y))).sum())
        if left:
            raise ValueError(
                f"the network's answers about {left} of {len(x_adv)} images are not finite (NaN or Inf in logits or "
                "input gradient), so the attack says nothing about them: look for a square root, logarithm, norm or "
                "division at 0; advdpnp.evaluate counts such images"
            )

    def _followed(self, of: Tensor, answered: Tensor, gradient: Tensor) -> Tensor:
        # A maximum is NaN where any of its numbers is, and much faster than to look at each.
        finite = answered & gradient.flatten(1).abs().amax(dim=1).isfinite()
        # An attack that repacks its rows in secret cannot tell which image it was.
        self._note(of, ~finite if len(finite) == len(of) else (~finite).any().expand(len(of)))
        return torch.where(finite.view(-1, *[1] * (gradient.dim() - 1)), gradient, 0.0)

    def _note(self, of: Tensor, unsound: Tensor) -> None:
        # Rows of one image may be several; and no host waits for the device.
        self._times.index_add_(0, of, unsound.to(self._times.dtype))


def about(network: Forward, rows: Tensor | slice) -> contextlib.AbstractContextManager[None]:
    """`MonitoredModel.about` for a network that may be watched or not."""
    return network.about(rows) if isinstance(network, MonitoredModel) else contextlib.nullcontext()


def out_of_inference(network: nn.Module) -> nn.Module:
    """The network, or a copy where it was made in inference mode, since such weights can be in no graph."""
    tensors = (*network.parameters(), *network.buffers())
    return deepcopy(network) if any(tensor.is_inference() for tensor in tensors) else network
