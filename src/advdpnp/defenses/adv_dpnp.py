"""Adv-DPNP (arXiv 2504.03782): unified prototypes, trained in two branches of which only the clean one moves them."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import Ascend
from advdpnp.attacks.projected_ascent import cross_entropy as ce_ascent
from advdpnp.attacks.projected_ascent import kl_divergence as kl_ascent
from advdpnp.defenses.base import Batch
from advdpnp.defenses.dpnp import DPNP
from advdpnp.losses import cross_entropy, kl_divergence, prototype_alignment
from advdpnp.models.heads import PrototypeClassifier
from advdpnp.ranges import NonNegative


@dataclass(frozen=True)
class AdvDPNP(DPNP):
    """L = lambda_DNP N + (1/2) [mean D(x) + mean D(x') + lambda_DFA mean KL(p(x) || p(x'))] (Eq. 7, Algorithm 1).

    The adversarial branch, D(x') and p(x'), reads detached prototypes, so no adversarial image moves a prototype;
    the backbone learns from both branches. Fields of DPNP, and:

    Args:
        lambda_dfa: weight of the clean/adversarial consistency (DFA).
        kl_target: whether p(x) in DFA is "live", as in TRADES' code, or "detached".
        inner_loss: the attack of training maximizes "ce" on Eq. 1's logits, or the "kl" of DFA.
        forward: clean and adversarial images in "separate" forwards, clean first, or in one "joint" batch, which
            mixes their BatchNorm statistics.
        prototype_gradient: "clean", the paper's claim; "both" lets adversarial images move the prototypes too.
    """

    name: ClassVar[str] = "adv-dpnp"
    crafts: ClassVar[bool] = True

    lambda_dfa: NonNegative = 2.0
    kl_target: Literal["live", "detached"] = "live"
    inner_loss: Literal["ce", "kl"] = "ce"
    forward: Literal["separate", "joint"] = "separate"
    prototype_gradient: Literal["clean", "both"] = "clean"

    def perturb(self, model: PrototypeClassifier, batch: Batch, ascend: Ascend) -> Tensor:
        if self.inner_loss == "ce":
            return ascend(model, ce_ascent, batch.x, (batch.y,))
        with torch.no_grad():
            clean = model(batch.x)
        return ascend(model, kl_ascent, batch.x, (clean,))

    def _embed_both(self, model: PrototypeClassifier, x: Tensor, x_adv: Tensor) -> tuple[Tensor, Tensor]:
        if self.forward == "separate":
            return model.embed(x), model.embed(x_adv)
        clean, adversarial = model.embed(torch.cat([x, x_adv])).chunk(2)
        return clean, adversarial

    def _adversarial_logits(self, model: PrototypeClassifier, embedding: Tensor) -> Tensor:
        if self.prototype_gradient == "both":
            return model.head(embedding)  # type: ignore[no-any-return]
        return model.head.with_fixed_prototypes(embedding)

    def loss(self, model: PrototypeClassifier, batch: Batch, x_adv: Tensor) -> dict[str, Tensor]:
        return self._terms(model, batch, *self._embed_both(model, batch.x, x_adv))

    def _terms(
        self, model: PrototypeClassifier, batch: Batch, embedding: Tensor, embedding_adv: Tensor
    ) -> dict[str, Tensor]:
        """Eq. 7 of clean and adversarial embeddings, each (B, D)."""
        prototypes = model.head.prototypes
        prototypes_adv = prototypes if self.prototype_gradient == "both" else prototypes.detach()
        logits, logits_adv = model.head(embedding), self._adversarial_logits(model, embedding_adv)
        target = logits if self.kl_target == "live" else logits.detach()
        pull = prototype_alignment(embedding, prototypes, batch.y, self.alignment).mean()
        pull_adv = prototype_alignment(embedding_adv, prototypes_adv, batch.y, self.alignment).mean()
        return {
            "ce_clean": batch.cross_entropy(logits).mean() / 2,
            "dpp_clean": self.lambda_dpp / 4 * pull,
            "ce_adversarial": batch.cross_entropy(logits_adv).mean() / 2,
            "dpp_adversarial": self.lambda_dpp / 4 * pull_adv,
            "dfa": self.lambda_dfa / 2 * kl_divergence(target, logits_adv).mean(),
            "dnp": self.repulsion(model),
        }

    def objective(self, model: PrototypeClassifier, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        """D(x') + lambda_DFA KL(p(x) || p(x')): what Eq. 7 leaves to the attacker (Table 8). (B,)."""
        embedding_adv = model.embed(x_adv)
        logits_adv = model.head(embedding_adv)
        pull = prototype_alignment(embedding_adv, model.head.prototypes, y, self.alignment)
        consistency = kl_divergence(model(x), logits_adv)
        return cross_entropy(logits_adv, y) + self.lambda_dpp / 2 * pull + self.lambda_dfa * consistency
