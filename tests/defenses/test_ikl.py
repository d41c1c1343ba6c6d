"""IKL against a float64 reference that has every pair of classes, and its table against a loop over the data."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from advdpnp.attacks.projected_ascent import kl_divergence as kl_ascent
from advdpnp.defenses import IKL
from advdpnp.defenses.ikl import ikl_ascent, soft_cross_entropy, weighted_mse
from advdpnp.experiments import experiment
from advdpnp.losses import kl_divergence
from advdpnp.models.folding import fold_batchnorm, refold
from advdpnp.training import fit
from advdpnp.training.step import Training, make_batch
from defenses.smooth import CLASSES, make, terms_and_logit_gradients
from reference import ikl as reference
from training.small import StopAt, created, small_task, trained


def logits_and_weights(images: int = 6, classes: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    clean, adversarial, raw = (
        3 * torch.randn(images, classes, dtype=torch.float64, generator=generator) for _ in range(3)
    )
    return clean, adversarial, torch.softmax(raw, dim=1)


def test_terms_and_gradients_equal_the_float64_reference() -> None:
    defense = IKL(alpha=3.0, beta=7.0)
    model, batch, x_adv = make(defense)
    table = torch.softmax(torch.randn(CLASSES, CLASSES, dtype=torch.float64), dim=1)
    model.class_table.copy_(table)
    terms, (adversarial, clean), gradients = terms_and_logit_gradients(defense, model, batch, x_adv)
    # Adversarial images go first.
    torch.testing.assert_close(adversarial, model(x_adv).detach())
    arrays = clean.numpy(), adversarial.numpy(), batch.y.tolist(), table.numpy(), 3.0, 7.0
    assert list(terms) == ["ce_clean", "wmse", "sce"]
    assert list(terms.values()) == pytest.approx(reference.ikl(*arrays), rel=1e-12)
    for found, expected in zip(reversed(gradients), reference.ikl_gradients(*arrays), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-9, atol=1e-14)


def test_the_wmse_is_that_of_all_pairs_and_live_in_both_branches() -> None:
    clean, adversarial, weights = logits_and_weights()
    expected = [reference.wmse(*row) for row in zip(clean.numpy(), adversarial.numpy(), weights.numpy(), strict=True)]
    torch.testing.assert_close(weighted_mse(clean, adversarial, weights), torch.tensor(expected), rtol=1e-12, atol=0)
    clean.requires_grad_()
    adversarial.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: weighted_mse(a, b, weights), (clean, adversarial))
    on_clean, on_adversarial = torch.autograd.grad(
        weighted_mse(clean, adversarial, weights).sum(), (clean, adversarial)
    )
    assert on_clean.abs().sum(dim=1).min() > 0
    torch.testing.assert_close(on_clean, -on_adversarial)


def test_the_target_of_the_sce_is_detached() -> None:
    clean, adversarial, _ = logits_and_weights()
    total = soft_cross_entropy(clean.requires_grad_(), adversarial.requires_grad_()).sum()
    on_clean, on_adversarial = torch.autograd.grad(total, (clean, adversarial), allow_unused=True)
    assert on_clean is None and on_adversarial.abs().sum(dim=1).min() > 0


def test_the_two_parts_have_the_gradients_of_the_kl() -> None:
    """What IKL starts from: WMSE with w = p(x) on the clean logits, SCE on the adversarial ones."""
    clean, adversarial, _ = logits_and_weights()
    clean.requires_grad_()
    adversarial.requires_grad_()
    by_kl = torch.autograd.grad(kl_divergence(clean, adversarial).sum(), (clean, adversarial))
    weights = torch.softmax(clean, dim=1).detach()
    (by_wmse,) = torch.autograd.grad(weighted_mse(clean, adversarial, weights).sum(), clean)
    (by_sce,) = torch.autograd.grad(soft_cross_entropy(clean, adversarial).sum(), adversarial)
    torch.testing.assert_close(by_wmse, by_kl[0], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(by_sce, by_kl[1], rtol=1e-10, atol=1e-12)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that an operation makes."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.size = max(self.size, result.numel())
        return result


def test_no_tensor_holds_every_pair_of_classes_of_every_image() -> None:
    clean, adversarial, weights = logits_and_weights(64, 100)
    with LargestTensor() as largest:
        total = weighted_mse(clean.requires_grad_(), adversarial.requires_grad_(), weights).sum()
        torch.autograd.grad(total, (clean, adversarial))
    assert largest.size == 64 * 100


def test_a_certain_network_stays_finite_and_in_fp32() -> None:
    for dtype in (torch.bfloat16, torch.float32):
        z = torch.tensor([[200.0, -200.0, 0.0]], dtype=dtype, requires_grad=True)
        weights = torch.tensor([[1.0, 0.0, 0.0]])
        total = ikl_ascent(-z, (z, weights), ()).sum()
        total.backward()
        assert total.dtype == torch.float32 and torch.isfinite(total)
        assert z.grad is not None and torch.isfinite(z.grad).all()


def test_the_table_is_uniform_before_the_first_epoch_is_over() -> None:
    task = small_task("ikl")
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    for _ in range(3):
        assert torch.equal(task.model.class_table, torch.full((10, 10), 0.1))
        training.advance(torch.arange(96))
    assert task.model.class_sums.sum().item() == pytest.approx(96, rel=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_table_is_the_mean_over_the_epoch_before_as_a_loop_finds_it(precision: str) -> None:
    # 80 images in batches of 32: the last batch is smaller.
    task = small_task("ikl", "recipe.train_images=80", f"recipe.precision={precision}")
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    seen: list[tuple[Tensor, Tensor]] = []
    outputs: list[Tensor] = []
    handle = task.model.register_forward_hook(lambda *hook: outputs.append(hook[2].detach().clone()))
    before = task.model.class_table.clone()
    order = torch.arange(80)
    for step in range(3):
        outputs.clear()
        training.advance(order)
        # The last forward of a step is that of the clean images; the attack runs on a copy.
        seen.append((outputs[-1], task.train.labels[order[step * 32 : (step + 1) * 32]]))
    handle.remove()
    training.finish_epoch()
    logits, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    expected = reference.class_table(logits.double().numpy(), labels.tolist(), before.double().numpy(), 4.0)
    torch.testing.assert_close(task.model.class_table.double(), torch.from_numpy(expected), rtol=2e-6, atol=1e-7)
    torch.testing.assert_close(task.model.class_table.sum(dim=1), torch.ones(10))
    assert task.model.class_table.dtype == torch.float32 and not task.model.class_sums.any()


def test_a_class_without_images_keeps_its_row() -> None:
    model, _, _ = make(IKL())
    model.class_table[1] = torch.tensor([0.5, 0.5, 0.0, 0.0, 0.0])
    logits = torch.randn(4, CLASSES, dtype=torch.float64)
    model.count(logits, torch.tensor([0, 0, 2, 3]), 2.0)
    model.roll()
    assert model.class_table[1].tolist() == [0.5, 0.5, 0.0, 0.0, 0.0]
    torch.testing.assert_close(model.class_table[0], torch.softmax(logits[:2] / 2, dim=1).mean(dim=0))
    table = model.class_table.clone()
    model.roll()
    assert torch.equal(model.class_table, table)


def test_gradients_neither_reach_the_table_nor_are_kept_by_its_sums() -> None:
    model, batch, x_adv = make(IKL())
    torch.stack(list(IKL().loss(model, batch, x_adv).values())).sum().backward()
    assert not model.class_sums.requires_grad and not model.class_table.requires_grad


def test_a_step_with_weight_perturbation_counts_every_image_once() -> None:
    task = small_task("ikl", "recipe.weight_perturbation.gamma=0.01")
    training = Training(task)
    task.model.train()
    for _ in range(3):
        training.advance(torch.arange(96))
    counts = task.model.class_sums.sum(dim=1)
    torch.testing.assert_close(counts, torch.bincount(task.train.labels, minlength=10).float())


def test_an_average_of_the_weights_has_the_networks_own_table(tmp_path: Path) -> None:
    settings = ("recipe.averaging.kind=ema", "recipe.averaging.decay=0.5")
    task = small_task("ikl", *settings)
    weights = trained(tmp_path, task, created(tmp_path / "run", "ikl", *settings))
    assert torch.equal(weights["class_table"], task.model.class_table)
    assert not torch.equal(weights["head.linear.weight"], task.model.head.linear.weight)


def test_a_run_stopped_in_the_middle_of_an_epoch_ends_with_the_same_table(tmp_path: Path) -> None:
    whole = trained(tmp_path, small_task("ikl"), created(tmp_path / "whole", "ikl"))
    for steps in (1, 3, 5):
        run = created(tmp_path / f"stopped-{steps}", "ikl")
        with pytest.raises(KeyboardInterrupt):
            fit(small_task("ikl"), run, StopAt(steps), resume=False, checkpoint_seconds=0)
        resumed = trained(tmp_path, small_task("ikl"), run, resume=True)
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert "class_table" in whole and not torch.equal(whole["class_table"], torch.full((10, 10), 0.1))


def test_the_attack_climbs_the_sce_or_both_with_the_rows_of_the_table() -> None:
    model, batch, _ = make(IKL())
    model.class_table.copy_(torch.softmax(torch.randn(CLASSES, CLASSES), dim=1))
    called: list[tuple[Any, Any]] = []

    def ascend(forward: Any, loss: Any, x: Tensor, reference: Any, per_step: Any = ()) -> Tensor:
        called.append((loss, reference))
        return x

    IKL().perturb(model, batch, ascend)
    IKL(inner_loss="sce+wmse").perturb(model, batch, ascend)
    assert called[0][0] is kl_ascent and called[1][0] is ikl_ascent
    clean = model(batch.x).detach()
    for _, tensors in called:
        torch.testing.assert_close(tensors[0], clean)
    assert torch.equal(called[1][1][1], model.class_table[batch.y])
    output, (clean, weights) = clean + torch.randn_like(clean), called[1][1]
    expected = [
        reference.sce(z, z_adv) + reference.wmse(z, z_adv, w)
        for z, z_adv, w in zip(clean.numpy(), output.numpy(), weights.numpy(), strict=True)
    ]
    torch.testing.assert_close(ikl_ascent(output, (clean, weights), ()), torch.tensor(expected))


def test_a_frozen_copy_reads_the_table_of_today() -> None:
    model = small_task("ikl").model
    frozen = fold_batchnorm(model)
    model.class_table.fill_(0.0).fill_diagonal_(1.0)
    refold(frozen, model)
    assert torch.equal(frozen.class_table, torch.eye(10))


def test_the_objective_has_the_terms_that_the_attacker_moves() -> None:
    model, batch, x_adv = make(IKL())
    terms = IKL().loss(model, batch, x_adv)
    found = IKL().objective(model, batch.x, x_adv, batch.y)
    torch.testing.assert_close(found.mean(), terms["wmse"] + terms["sce"])


def test_the_authors_weights_are_the_defaults_and_cifar100_crafts_on_both() -> None:
    defense = experiment("cifar10/resnet18/ikl").defense
    assert (defense.alpha, defense.beta, defense.temperature, defense.inner_loss) == (4.0, 20.0, 4.0, "sce")
    assert experiment("cifar100/resnet18/ikl").defense.inner_loss == "sce+wmse"


@pytest.mark.parametrize("fields", [{"temperature": 0.0}, {"inner_loss": "kl"}])
def test_impossible_fields_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"temperature must be above 0|inner_loss must be one of sce"):
        IKL(**fields)


@pytest.mark.slow
def test_compiled_losses_count_the_same_images() -> None:
    tables = []
    for engine in ("folded", "compiled"):
        task = small_task("ikl", f"recipe.engine={engine}")
        task.model.train()
        losses = Training(task)._static_losses
        batch = make_batch(task, torch.arange(32), 0, 0)
        for _ in range(2):
            losses(batch, batch.x)
        tables.append(task.model.class_sums.clone())
    torch.testing.assert_close(tables[0], tables[1], rtol=1e-4, atol=1e-5)
    assert tables[1].sum().item() == pytest.approx(64, rel=1e-5)
