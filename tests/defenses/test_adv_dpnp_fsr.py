"""Adv-DPNP on FSR's features: Eq. 7 of what the references make of them, and FSR's losses, which move no prototype."""

from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp.defenses import AdvDPNPFSR, Batch
from reference import fsr as fsr_reference
from reference.losses import adv_dpnp_terms
from training.small import small_task

CHANNELS, HIDDEN, CLASSES, IMAGES = 32, 64, 10, 4


def made(**fields: Any) -> tuple[AdvDPNPFSR, Any, Batch, Tensor]:
    """The method, its network in float64 and training mode, a batch of two-pixel maps and adversarial images."""
    settings = [f"defense.{name}={value}" for name, value in fields.items()]
    task = small_task("adv-dpnp-fsr", *settings)
    model = task.model.double().train()
    task.defense.between_epochs(model, 0)
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(IMAGES, 1, 8, 8, dtype=torch.float64, generator=generator)
    x_adv = (x + 0.1 * torch.randn(x.shape, dtype=x.dtype, generator=generator)).clamp(0, 1)
    return task.defense, model, Batch(x, torch.arange(IMAGES), torch.arange(IMAGES) + 3, 0, 1, 2), x_adv  # type: ignore[return-value]


def test_terms_are_eq_7_on_fsrs_features_and_fsrs_own() -> None:
    defense, model, batch, x_adv = made(temperature=0.7, lambda_sep=0.6, lambda_rec=1.7, alpha=4.0)
    backbone = model.backbone
    weights = {name: value.detach().numpy() for name, value in model.named_parameters()}
    draws = batch.draw("fsr/mask", (2, CHANNELS, 4, 4), per_image=True).double().numpy()
    embeddings, maps = [], []
    for x in (batch.x, x_adv):
        u = backbone.backbone.feature_map(x).detach()
        mask = fsr_reference.mask(fsr_reference.network(u.numpy(), weights, "backbone.separation"), draws, 0.7)
        rest = (1 - mask) * u.numpy()
        rest += (1 - mask) * fsr_reference.network(rest.copy(), weights, "backbone.recalibration")
        embeddings.append(backbone.pool(torch.from_numpy(mask * u.numpy() + rest)).detach().numpy())
        maps.append((u, mask))
    prototypes = weights["head.prototypes"]
    y = batch.y.tolist()
    expected = adv_dpnp_terms(
        *embeddings, prototypes, y, alpha=4.0, lambda_dpp=0.1, lambda_dnp=0.1, lambda_dfa=2.0, alignment="mean"
    )
    terms = defense.loss(model, batch, x_adv)
    assert list(terms) == [*expected, "separation", "recalibration"]
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, rel=1e-9), name
    # FSR's own: what the auxiliary head says of the parts of the adversarial map.
    u, mask = maps[1]
    robust, nonrobust = torch.from_numpy(mask) * u, torch.from_numpy(1 - mask) * u
    recalibrated = nonrobust + torch.from_numpy(
        (1 - mask) * fsr_reference.network(nonrobust.numpy(), weights, "backbone.recalibration")
    )
    h = [backbone.auxiliary_logits(part).detach().numpy() for part in (robust, nonrobust, recalibrated)]
    logits = embeddings[1] @ prototypes.T / 4.0
    wrong = [fsr_reference.wrong_class(row, label) for row, label in zip(logits, y, strict=True)]
    separation = fsr_reference.cross_entropy(h[0], y) + fsr_reference.cross_entropy(h[1], wrong)
    assert terms["separation"].item() == pytest.approx(0.6 * separation, rel=1e-9)
    assert terms["recalibration"].item() == pytest.approx(1.7 * fsr_reference.cross_entropy(h[2], y), rel=1e-9)


def test_no_adversarial_image_moves_a_prototype_and_all_terms_of_it_move_the_modules() -> None:
    defense, model, batch, x_adv = made()
    terms = defense.loss(model, batch, x_adv)
    scores = model.backbone.separation.conv1.weight
    for name in ("ce_adversarial", "dpp_adversarial", "separation", "recalibration"):
        on_prototypes, on_scores = torch.autograd.grad(
            terms[name], (model.head.prototypes, scores), retain_graph=True, allow_unused=True
        )
        assert on_prototypes is None and on_scores.abs().max() > 0, name
    (on_prototypes,) = torch.autograd.grad(terms["ce_clean"], model.head.prototypes)
    assert on_prototypes.abs().max() > 0


def test_the_objective_is_that_of_the_mask_without_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    defense, model, batch, x_adv = made()
    model.eval()
    found = defense.objective(model, batch.x, x_adv, batch.y)
    monkeypatch.setattr(Batch, "draw", lambda _batch, _name, shape, **_: torch.full((IMAGES, *shape), 0.5))
    terms = defense.loss(model, batch, x_adv)
    # Eq. 7 halves what the attacker moves.
    eq_7 = 2 * (terms["ce_adversarial"] + terms["dpp_adversarial"] + terms["dfa"])
    torch.testing.assert_close(found.mean(), eq_7 + terms["separation"] + terms["recalibration"])


def test_an_embedding_of_a_chosen_width_is_mapped_from_the_recalibrated_features() -> None:
    _, model, batch, _ = made(embedding="linear(9)")
    assert model.embed(batch.x).shape == (IMAGES, 9) and model.class_centers().shape == (CLASSES, 9)
    assert torch.equal(model.embed(batch.x), model.embed(batch.x))
    with pytest.raises(ValueError, match=r"defense\.forward of adv-dpnp-fsr must be separate; got joint"):
        AdvDPNPFSR(forward="joint")
