"""Networks that say the same on every processor."""

from torch import Tensor, nn


class Exact(nn.Module):
    """A float32 network computed in float64: its logits and input gradients are the true ones, rounded once.

    A float32 network rounds otherwise on another processor, and even in a batch of another size; a search then turns
    the last bit of a gradient into another path. Here the bits are those of the mathematics, but for one number in
    some 10^8 that lies halfway between two float32.

    Args:
        model: a network in eval mode; it is changed to float64.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model.double()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x.double())
        return logits.float()
