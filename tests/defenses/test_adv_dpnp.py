"""Adv-DPNP against a float64 reference written from the paper, and against the methods that it generalizes."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from advdpnp.defenses import DPNP, TRADES, AdvDPNP
from advdpnp.losses import cross_entropy
from defenses.smooth import Smooth, make
from reference import losses as reference

WEIGHTS = {"alpha": 9.0, "lambda_dpp": 0.7, "lambda_dnp": 0.3, "lambda_dfa": 1.7}


@pytest.mark.parametrize("alignment", ["mean", "sum"])
def test_every_term_of_eq_7_equals_the_float64_reference(alignment: str) -> None:
    defense = AdvDPNP(**WEIGHTS, alignment=alignment)
    model, batch, x_adv = make(defense)
    terms = defense.loss(model, batch, x_adv)
    expected = reference.adv_dpnp_terms(
        model.embed(batch.x).detach().numpy(),
        model.embed(x_adv).detach().numpy(),
        model.head.prototypes.detach().numpy(),
        batch.y.numpy(),
        **WEIGHTS,
        alignment=alignment,
    )
    assert list(terms) == ["ce_clean", "dpp_clean", "ce_adversarial", "dpp_adversarial", "dfa", "dnp"]
    for name, value in terms.items():
        assert value.item() == pytest.approx(float(expected[name]), rel=1e-12), name


@pytest.mark.parametrize("alignment", ["mean", "sum"])
def test_gradients_equal_those_derived_by_hand(alignment: str) -> None:
    defense = AdvDPNP(**WEIGHTS, alignment=alignment)
    model, batch, x_adv = make(defense)
    embeddings = []

    def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        output.retain_grad()
        embeddings.append(output)

    model.backbone.register_forward_hook(keep)
    torch.stack(list(defense.loss(model, batch, x_adv).values())).sum().backward()
    expected = reference.adv_dpnp_gradients(
        embeddings[0].detach().numpy(),
        embeddings[1].detach().numpy(),
        model.head.prototypes.detach().numpy(),
        batch.y.numpy(),
        **WEIGHTS,
        alignment=alignment,
    )
    for name, found in {
        "f": embeddings[0].grad,
        "f_adv": embeddings[1].grad,
        "prototypes": model.head.prototypes.grad,
    }.items():
        torch.testing.assert_close(found, torch.from_numpy(expected[name]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["ce_adversarial", "dpp_adversarial"])
def test_the_adversarial_branch_has_no_path_to_the_prototypes_but_one_to_the_backbone(name: str) -> None:
    defense = AdvDPNP()
    model, batch, x_adv = make(defense)
    term = defense.loss(model, batch, x_adv)[name]
    prototypes, weight = torch.autograd.grad(
        term, [model.head.prototypes, model.backbone.map.weight], allow_unused=True
    )
    assert prototypes is None
    assert weight is not None and weight.abs().sum() > 0


def test_the_consistency_reaches_the_prototypes_only_through_the_clean_target() -> None:
    for target, reaches in (("live", True), ("detached", False)):
        defense = AdvDPNP(kl_target=target)
        model, batch, x_adv = make(defense)
        term = defense.loss(model, batch, x_adv)["dfa"]
        (gradient,) = torch.autograd.grad(term, [model.head.prototypes], allow_unused=True)
        assert (gradient is not None) == reaches


def test_prototype_gradients_ignore_the_adversarial_images_only_with_a_detached_target() -> None:
    # A live KL target has no path from x' to c, yet the gradient on c depends on the value of p(x').
    for target, depends in (("live", True), ("detached", False)):
        defense = AdvDPNP(kl_target=target)
        model, batch, x_adv = make(defense)
        gradients = []
        for adversarial in (x_adv, batch.x):
            total = torch.stack(list(defense.loss(model, batch, adversarial).values())).sum()
            gradients.append(torch.autograd.grad(total, model.head.prototypes)[0])
        assert (not torch.equal(*gradients)) == depends


def test_prototype_gradient_both_opens_the_path() -> None:
    defense = AdvDPNP(prototype_gradient="both")
    model, batch, x_adv = make(defense)
    for name in ("ce_adversarial", "dpp_adversarial", "dfa"):
        (gradient,) = torch.autograd.grad(defense.loss(model, batch, x_adv)[name], [model.head.prototypes])
        assert gradient.abs().sum() > 0


def test_all_lambdas_zero_is_half_clean_and_half_adversarial_cross_entropy() -> None:
    defense = AdvDPNP(lambda_dpp=0, lambda_dnp=0, lambda_dfa=0)
    model, batch, x_adv = make(defense)
    total = sum(defense.loss(model, batch, x_adv).values())
    halves = (cross_entropy(model(batch.x), batch.y).mean() + cross_entropy(model(x_adv), batch.y).mean()) / 2
    torch.testing.assert_close(total, halves, rtol=1e-12, atol=0)


def test_lambda_dfa_alone_adds_exactly_trades_kl() -> None:
    beta = 3.0
    defense = AdvDPNP(lambda_dpp=0, lambda_dnp=0, lambda_dfa=2 * beta)
    model, batch, x_adv = make(defense)
    base = AdvDPNP(lambda_dpp=0, lambda_dnp=0, lambda_dfa=0)
    added = sum(defense.loss(model, batch, x_adv).values()) - sum(base.loss(model, batch, x_adv).values())
    trades = TRADES(beta=beta).loss(model, batch, x_adv)["kl"]
    torch.testing.assert_close(added, trades, rtol=1e-12, atol=1e-14)


def test_dpnp_is_adv_dpnp_without_adversarial_terms_and_half() -> None:
    shared = {"alpha": 9.0, "lambda_dpp": 0.7, "lambda_dnp": 0.3}
    model, batch, x_adv = make(AdvDPNP(**shared))
    full, clean = AdvDPNP(**shared).loss(model, batch, x_adv), DPNP(**shared).loss(model, batch, batch.x)
    assert list(clean) == ["ce_clean", "dpp_clean", "dnp"]
    for name, factor in (("ce_clean", 2), ("dpp_clean", 2), ("dnp", 1)):
        torch.testing.assert_close(clean[name], factor * full[name])


def test_objective_is_the_part_of_eq_7_that_the_attacker_moves() -> None:
    defense = AdvDPNP(**WEIGHTS)
    model, batch, x_adv = make(defense)
    terms = defense.loss(model, batch, x_adv)
    moved = 2 * (terms["ce_adversarial"] + terms["dpp_adversarial"] + terms["dfa"])
    torch.testing.assert_close(defense.objective(model, batch.x, x_adv, batch.y).mean(), moved)


def test_prototypes_lie_on_the_sphere_between_epochs_and_with_the_switch_between_steps() -> None:
    for renormalize in ("epoch", "step"):
        defense = AdvDPNP(alpha=40.0, renormalize=renormalize)
        model, _, _ = make(defense)
        norms = model.head.prototypes.norm(dim=1)
        torch.testing.assert_close(norms, torch.full_like(norms, 40.0))
        with torch.no_grad():
            model.head.prototypes.mul_(1.5)
        defense.between_steps(model)
        expected = 40.0 if renormalize == "step" else 60.0
        torch.testing.assert_close(model.head.prototypes.norm(dim=1), torch.full_like(norms, expected))


def test_weight_decay_on_prototypes_is_a_switch() -> None:
    model, _, _ = make(AdvDPNP())
    assert len(AdvDPNP().param_groups(model)) == 1
    others, prototypes = AdvDPNP(prototype_weight_decay=False).param_groups(model)
    assert prototypes["weight_decay"] == 0.0 and prototypes["params"][0] is model.head.prototypes
    assert len(others["params"]) + 1 == len(list(model.parameters()))


def test_a_linear_embedding_has_the_width_it_names() -> None:
    model = AdvDPNP(embedding="linear(9)").build(Smooth(), 10)
    assert model.embed(torch.rand(2, 3, 2, 2)).shape == (2, 9)
    assert model.class_centers().shape == (10, 9)
    with pytest.raises(ValueError, match=r"linear\(D\)"):
        AdvDPNP(embedding="linear(0)").build(Smooth(), 10)


def test_equal_prototypes_are_warned_of() -> None:
    model, _, _ = make(AdvDPNP())
    with torch.no_grad():
        model.head.prototypes[1] = model.head.prototypes[0]
    with pytest.warns(RuntimeWarning, match="two prototypes are equal"):
        AdvDPNP().between_epochs(model, 1)


class _BatchMean(Smooth):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - super().forward(x).mean(dim=0)


def test_a_joint_forward_mixes_batch_statistics_and_a_separate_one_does_not() -> None:
    model, batch, x_adv = make(AdvDPNP())
    model.backbone = _BatchMean().double()
    separate, joint = (AdvDPNP(forward=kind).loss(model, batch, x_adv) for kind in ("separate", "joint"))
    torch.testing.assert_close(separate["ce_clean"], cross_entropy(model(batch.x), batch.y).mean() / 2)
    assert not torch.isclose(separate["ce_clean"], joint["ce_clean"], rtol=1e-6)


@pytest.mark.parametrize("field, value", [("alignment", "max"), ("renormalize", "never"), ("rival", "l1")])
def test_unknown_choices_are_refused_by_name(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be one of"):
        dataclasses.replace(AdvDPNP(), **{field: value})
