"""Randomized networks as the mean of their answers: expectation over transformation (EOT, Athalye et al. 2018)."""

import torch
from torch import Tensor, nn

# The share of a network's single answers, as results name it.
ONE_DRAW = "one draw"


class ExpectedModel(nn.Module):
    """A randomized network whose logits are the mean over several draws, each a call of its own.

    The input gradient of any loss of them is that of the mean, so it is averaged over the draws too, as EOT does; every
    call draws anew. An attack on this network averages its gradients, and a verdict of it is the class of the highest
    mean logit.

    Args:
        model: (B, channels, H, W) in [0, 1] -> logits (B, C), another draw in every call.
        draws: calls for each answer, at least 1.
    """

    def __init__(self, model: nn.Module, draws: int) -> None:
        super().__init__()
        if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
            raise ValueError(f"draws must be a whole number, at least 1; got {draws!r}")
        self.model, self.draws = model, draws
        # Not by train(), which would change the network too.
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) -> mean logits (B, C)."""
        # A copy for each call, for networks that change their input in place.
        answers = [self.model(x.clone()) for _ in range(self.draws)]
        return torch.stack(answers).mean(dim=0)

    def other_answers(self, x: Tensor) -> dict[str, Tensor]:
        """Logits (B, C) of a single draw, by its name: what someone who asks once gets."""
        return {ONE_DRAW: self.model(x.clone())}
