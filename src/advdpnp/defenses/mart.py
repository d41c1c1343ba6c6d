"""MART (Wang et al. 2020, "Improving Adversarial Robustness Requires Revisiting Misclassified Examples")."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from advdpnp.attacks.projected_ascent import Start
from advdpnp.defenses.base import Batch, Defense
from advdpnp.losses import at_least_fp32, is_label
from advdpnp.models.classifier import Classifier
from advdpnp.ranges import NonNegative


def rival_penalty(logits: Tensor, y: Tensor) -> Tensor:
    """-log(1 - q_rival), q_rival the largest probability of another class: the second part of MART's boosted CE.

    Args:
        logits: (B, C).
        y: (B,) int64.
    Returns:
        (B,) nats; at most 9.3, since the authors' code keeps 1 - q_rival above 1e-4.
    """
    q = torch.softmax(at_least_fp32(logits), dim=1)
    own = is_label(y, q.shape[1])
    # An index: which class is the rival has no gradient, its probability has.
    rival = q.detach().masked_fill(own, -1.0).argmax(dim=1, keepdim=True)
    return -torch.log(1.0001 - q.gather(1, rival).squeeze(1) + 1e-12)


def weighted_consistency(clean: Tensor, adversarial: Tensor, y: Tensor) -> Tensor:
    """KL(p(x) || p(x')) (1 - p_y(x)): consistency, weighted by how wrong the clean image is. Nothing is detached.

    Args:
        clean: logits of x, (B, C).
        adversarial: logits of x', (B, C).
        y: (B,) int64.
    Returns:
        (B,) nats.
    """
    log_p = functional.log_softmax(at_least_fp32(clean), dim=1)
    p = log_p.exp()
    log_q = torch.log(torch.softmax(at_least_fp32(adversarial), dim=1) + 1e-12)
    wrongness = 1.0000001 - p.gather(1, y[:, None]).squeeze(1)
    return (p * (log_p - log_q)).sum(dim=1) * wrongness


@dataclass(frozen=True)
class MART(Defense[Classifier]):
    """CE(z(x'), y) - log(1 - q_rival) + beta KL(p(x) || p(x')) (1 - p_y(x)) (Eqs. 9-11).

    Args:
        beta: weight of the consistency; the authors use 5 for ResNet-18, 6 for WRN-34-10.
    Note:
        The small constants are those of the authors' code. Its attack is on the cross-entropy, which overstates MART's
        robustness if it is the only attack of an evaluation.
    """

    name: ClassVar[str] = "mart"
    start: ClassVar[Start] = "normal"

    beta: NonNegative = 5.0

    def steadier(self) -> str:
        return f"defense.beta below {self.beta:g}"

    def loss(self, model: Classifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        clean, adversarial = model(batch.x), model(x_adv)
        return {
            "ce_adversarial": batch.cross_entropy(adversarial).mean(),
            "rival": rival_penalty(adversarial, batch.y).mean(),
            "kl": self.beta * weighted_consistency(clean, adversarial, batch.y).mean(),
        }
