"""FSR's modules by themselves: the mask, the parts, and what attacks and folded copies see of them."""

import copy
import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from advdpnp.defenses import AdvDPNP, Batch
from advdpnp.models import build_backbone
from advdpnp.models.classifier import Backbone, Classifier, with_embedding
from advdpnp.models.folding import fold_batchnorm, refold, unfolded
from advdpnp.models.heads import LinearHead
from advdpnp.models.recalibration import MapNetwork, Parts, RecalibratedBackbone, gumbel, soft_mask
from advdpnp.noise import uniform


def recalibrated(name: str = "tiny") -> RecalibratedBackbone:
    """A backbone with modules whose BatchNorm layers have seen something, in float64."""
    torch.manual_seed(0)
    backbone = RecalibratedBackbone(build_backbone(name, (3, 16, 16)), 10)
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            cast(Tensor, module.running_mean).normal_(std=0.2)
            cast(Tensor, module.running_var).uniform_(0.5, 2.0)
    return backbone.double()


def images() -> Tensor:
    return torch.rand(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_without_noise_the_mask_is_a_sigmoid_of_the_score_over_the_temperature() -> None:
    scores = torch.linspace(-3, 3, 25, dtype=torch.float64).view(1, 1, 5, 5)
    # The 1e-8 in the logarithms is all that is left of it.
    torch.testing.assert_close(soft_mask(scores, 0.1), torch.sigmoid(10 * scores), rtol=1e-5, atol=0)
    torch.testing.assert_close(soft_mask(scores, 2.0), torch.sigmoid(scores / 2), rtol=1e-6, atol=0)
    half = torch.full((1, 2, 1, 5, 5), 0.5)
    torch.testing.assert_close(soft_mask(scores, 0.1, half), soft_mask(scores, 0.1), rtol=1e-12, atol=0)


def test_a_random_mask_calls_an_element_robust_with_the_probability_of_its_score() -> None:
    """What a Gumbel softmax is for: its larger component is the first with probability a, whatever the temperature."""
    draws = uniform(0, "mask", 0, torch.arange(20_000), (2, 1, 1, 3))
    scores = torch.tensor([-1.5, 0.0, 2.0]).expand(20_000, 1, 1, 3)
    found = (soft_mask(scores, 0.1, draws) > 0.5).double().mean(dim=0).flatten()
    expected = torch.tensor([1 / (1 + math.exp(1.5)), 0.5, 1 / (1 + math.exp(-2.0))], dtype=torch.float64)
    # Four standard deviations.
    assert ((found - expected).abs() < 4 * (expected * (1 - expected) / 20_000).sqrt()).all()


def test_gumbel_numbers_have_their_mean_and_are_finite_at_the_ends() -> None:
    found = gumbel(uniform(0, "gumbel", 0, torch.arange(40_000)).double())
    # Mean 0.5772, variance pi^2 / 6.
    assert found.mean().item() == pytest.approx(0.57722, abs=4 * 1.2825 / 200)
    ends = gumbel(torch.tensor([0.0, 1 - 2.0**-24]))
    assert ends.tolist() == pytest.approx([-math.log(25 * math.log(2)), 24 * math.log(2)], rel=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_slope_of_the_mask_is_the_one_worked_out_by_hand(temperature: float) -> None:
    scores = torch.tensor([-2.0, -0.1, 0.0, 0.3, 1.5], dtype=torch.float64).view(1, 1, 1, 5).requires_grad_()
    draws = uniform(0, "slope", 0, torch.arange(1), (2, 1, 1, 5))
    mask = soft_mask(scores, temperature, draws)
    (found,) = torch.autograd.grad(mask.sum(), scores)
    m, a = mask.detach(), torch.sigmoid(scores.detach())
    by_hand = m * (1 - m) / temperature * (a * (1 - a) / (a + 1e-8) + a * (1 - a) / (1 - a + 1e-8))
    torch.testing.assert_close(found, by_hand, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_extreme_scores_and_uniforms_leave_mask_and_gradient_finite(dtype: torch.dtype) -> None:
    scores = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], dtype=dtype).view(1, 1, 1, 5).requires_grad_()
    for first in (0.0, 1 - 2.0**-24):
        for second in (0.0, 1 - 2.0**-24):
            draws = torch.tensor([first, second]).view(1, 2, 1, 1, 1).expand(1, 2, 1, 1, 5)
            mask = soft_mask(scores, 0.1, draws)
            (gradient,) = torch.autograd.grad(mask.sum(), scores)
            assert mask.dtype == torch.promote_types(dtype, torch.float32)
            assert mask.isfinite().all() and gradient.isfinite().all()
            assert mask.min() >= 0 and mask.max() <= 1


def test_parts_are_those_of_the_equations() -> None:
    backbone = recalibrated().eval()
    u = backbone.backbone.feature_map(images())
    draws = uniform(0, "parts", 0, torch.arange(4), (2, *u.shape[1:]))
    m, parts = soft_mask(backbone.separation(u), 0.1, draws), backbone.separate(u, draws)
    torch.testing.assert_close(parts.robust, m * u)
    torch.testing.assert_close(parts.nonrobust, (1 - m) * u)
    torch.testing.assert_close(parts.recalibrated, (1 - m) * u + (1 - m) * backbone.recalibration((1 - m) * u))
    torch.testing.assert_close(parts.robust + parts.nonrobust, u)
    torch.testing.assert_close(parts.together, parts.robust + parts.recalibrated)
    torch.testing.assert_close(
        backbone.auxiliary_logits(parts.robust), backbone.auxiliary(backbone.backbone.pool(parts.robust))
    )


def test_attacks_and_evaluation_see_the_mask_without_noise_in_either_mode() -> None:
    backbone, x = recalibrated(), images()
    for mode in (False, True):
        backbone.train(mode)
        before = torch.get_rng_state()
        u = backbone.backbone.feature_map(x)
        m = soft_mask(backbone.separation(u), 0.1)
        nonrobust = (1 - m) * u
        expected = m * u + nonrobust + (1 - m) * backbone.recalibration(nonrobust)
        torch.testing.assert_close(backbone(x), backbone.backbone.pool(expected))
        assert torch.equal(backbone(x), backbone(x)) and torch.equal(torch.get_rng_state(), before)


def test_parameters_are_those_of_a_count_by_hand() -> None:
    with torch.device("meta"):
        backbone = RecalibratedBackbone(build_backbone("resnet18", (3, 32, 32)), 10)
    of_each = 512 * 64 * 9 + 64 * 64 * 9 + 64 * 512 * 9 + 4 * 64
    for module in (backbone.separation, backbone.recalibration):
        assert sum(parameter.numel() for parameter in module.parameters()) == of_each
    assert sum(parameter.numel() for parameter in backbone.auxiliary.parameters()) == 512 * 10 + 10


@pytest.mark.parametrize("name", ["tiny", "resnet8", "lenets++"])
def test_a_folded_copy_has_no_batch_norm_left_and_is_the_same_function(name: str) -> None:
    backbone, x = recalibrated(name), images()
    model = Classifier(backbone, LinearHead(backbone.features, 10)).double()
    folded = fold_batchnorm(model)
    assert unfolded(folded) == []
    for _ in range(2):
        points = [x.clone().requires_grad_() for _ in range(2)]
        outputs = [folded(points[0]), copy.deepcopy(model).eval()(points[1])]
        torch.testing.assert_close(*outputs, rtol=1e-9, atol=1e-12)
        slopes = [torch.autograd.grad(z.square().sum(), p)[0] for z, p in zip(outputs, points, strict=True)]
        torch.testing.assert_close(*slopes, rtol=1e-7, atol=1e-12)
        # Other statistics and weights, as after a step.
        model.train()(x)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.01 * torch.randn_like(parameter))
        refold(folded, model)


def test_a_copy_in_bf16_answers_nearly_alike_in_fp32() -> None:
    backbone = recalibrated().float()
    model = Classifier(backbone, LinearHead(backbone.features, 10))
    # At this temperature the mask is no step, which rounding would move across.
    backbone.temperature = 10.0
    found = fold_batchnorm(model, torch.bfloat16)(images().float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, copy.deepcopy(model).eval()(images().float()), rtol=0.05, atol=0.05)


class Mapless(Backbone):
    features = 3

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def test_a_backbone_without_a_feature_map_is_refused() -> None:
    assert Mapless()(torch.rand(2, 3, 4, 4)).shape == (2, 3)
    for backbone in (Mapless(), with_embedding(Mapless(), "linear(5)")):
        with pytest.raises(ValueError, match=r"separation needs a backbone with .* has none: take another") as refused:
            RecalibratedBackbone(backbone, 10)
        assert "\n" not in str(refused.value)
    with pytest.raises(TypeError, match="Mapless has no feature map"):
        Mapless().feature_map(torch.rand(2, 3, 4, 4))
    with pytest.raises(ValueError, match="temperature must be above 0"):
        RecalibratedBackbone(build_backbone("tiny", (1, 8, 8)), 10, temperature=0.0)


def test_any_method_can_be_built_on_such_a_backbone() -> None:
    """Adv-DPNP on features that are separated and recalibrated, of a width of its own."""
    defense = AdvDPNP(embedding="linear(5)")
    backbone = RecalibratedBackbone(with_embedding(build_backbone("tiny", (3, 16, 16)), "linear(7)"), 10)
    model = defense.build(backbone, 10)
    defense.between_epochs(model, 0)
    x = images().float()
    batch = Batch(x, torch.arange(4), torch.arange(4), seed=0, epoch=0, step=0)
    terms = defense.loss(model, batch, x)
    assert model.embed(x).shape == (4, 5) and all(term.isfinite() for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    for module in (backbone.separation, backbone.recalibration):
        assert all(parameter.grad is not None for parameter in module.parameters())
    # What the modules are trained with is at hand too.
    parts = backbone.separate(backbone.backbone.feature_map(x))
    assert isinstance(parts, Parts) and backbone.auxiliary_logits(parts.nonrobust).shape == (4, 10)


def test_a_map_network_keeps_the_shape_of_a_map() -> None:
    assert MapNetwork(6, hidden=3)(torch.rand(2, 6, 5, 4)).shape == (2, 6, 5, 4)
