"""Adaptive attacks: what they maximize, that they maximize it, and where the objective comes from."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp import api, data
from advdpnp.api.protocol import attack_by_hand
from advdpnp.attacks import PGD, AdaptiveAPGD, AdaptivePGD, Objective
from advdpnp.attacks.apgd_step import APGDState
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.attacks.stepwise import ChunkedModel
from advdpnp.defenses import DEFENSES, AdvDPNP
from advdpnp.experiments import experiment
from advdpnp.losses import is_right
from advdpnp.models.folding import fold_batchnorm
from advdpnp.noise import IndexNoise
from advdpnp.progress import result_text
from advdpnp.report import write_report
from attacks.linear import two_classes
from training.small import double_task

B = 3


def images(n: int = B) -> tuple[Tensor, Tensor, Tensor]:
    """Images, attacked images and labels in float64."""
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(n, 1, 8, 8, generator=generator, dtype=torch.float64)
    moved = (x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)).clamp(0, 1)
    return x, moved, torch.tensor([4, 0, 7])[:n]


def eq7(defense: AdvDPNP, model: Any, x: Tensor, x_adv: Tensor, y: int) -> Tensor:
    """What depends on x' in Eq. 7 of one image, term by term; times 2, since the branches have a half each.

    log p_k = z_k - log sum_j exp z_j, z_k = h(x) c_k / alpha;
    D(x') = -log p_y(x') + lambda_DPP / 2 sum_i (h_i - c_yi)^2;
    KL = sum_k p_k(x) (log p_k(x) - log p_k(x')).
    """

    def logs(image: Tensor) -> tuple[list[Tensor], Tensor]:
        embedding = model.embed(image[None])[0]
        z = [(embedding * center).sum() / defense.alpha for center in model.head.prototypes]
        total = torch.stack([value.exp() for value in z]).sum().log()
        return [value - total for value in z], embedding

    clean, _ = logs(x)
    attacked, embedding = logs(x_adv)
    pull = sum((embedding[i] - model.head.prototypes[y][i]) ** 2 for i in range(len(embedding)))
    divergence = sum(p.exp() * (p - q) for p, q in zip(clean, attacked, strict=True))
    return -attacked[y] + defense.lambda_dpp / 2 * pull + defense.lambda_dfa * divergence


def test_the_gradient_that_is_followed_is_that_of_eq_7_written_out() -> None:
    task = double_task("adv-dpnp", "defense.alignment=sum")
    model, defense = task.model.eval(), task.defense
    x, x_adv, y = images()
    network = ChunkedModel(MonitoredModel(model, B, x.device), chunk=2)
    found = network.objective_gradient(x_adv, defense.objective, x, y)
    for i in range(B):
        point = x_adv[i].clone().requires_grad_()
        value = eq7(defense, model, x[i], point, int(y[i]))
        (gradient,) = torch.autograd.grad(value, point)
        torch.testing.assert_close(found.loss[i], value.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.gradient[i], gradient, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(found.logits, model(x_adv).detach())


@pytest.mark.parametrize("name", DEFENSES)
def test_the_objective_of_every_defense_is_the_same_on_the_copy_that_attacks_compute_on(name: str) -> None:
    task = double_task(name)
    model, folded = task.model.eval(), fold_batchnorm(task.model.eval()).double()
    x, x_adv, y = images()
    gradients = []
    for network in (model, folded):
        monitored = MonitoredModel(network, B, x.device)
        answer = ChunkedModel(monitored).objective_gradient(x_adv, task.defense.objective, x, y)
        gradients.append(answer.gradient)
        assert answer.loss.shape == (B,) and answer.loss.isfinite().all() and not monitored.nonfinite.any()
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-7)


def lead(model: Any, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
    """Whose maximum over a ball is known on a linear model: three times how far the other logit has risen."""
    other = 1 - y
    return 3 * (model(x_adv) - model(x)).gather(1, other[:, None]).squeeze(1)


# Auto-PGD in l1 thins out its steps over hundreds of iterations.
@pytest.mark.parametrize(
    "kind, norm, eps",
    [(AdaptivePGD, "l1", 0.4)]
    + [(kind, norm, eps) for kind in (AdaptivePGD, AdaptiveAPGD) for norm, eps in (("linf", 0.05), ("l2", 0.3))],
)
def test_on_a_linear_model_the_objective_reaches_its_maximum_over_the_ball(kind: Any, norm: Any, eps: float) -> None:
    # In the middle of the box, which the ball does not leave.
    x, y, model = torch.full((4, 1, 8, 8), 0.5, dtype=torch.float64), torch.zeros(4, dtype=torch.int64), two_classes(64)
    # A random start is off the line, and PGD's steps of one size bring it back only by and by.
    start = {"random_start": False} if kind is AdaptivePGD else {}
    attack = kind(eps=eps, norm=norm, steps=30, objective=Objective("lead", lead), **start)
    w = model.weight[1].detach()
    # In l1 all of the radius goes to the steepest pixel.
    dual = {"linf": w.abs().sum(), "l2": w.square().sum().sqrt(), "l1": w.abs().amax()}[norm]
    found = climbed(attack, model, x, y)
    torch.testing.assert_close(found, (3 * eps * dual).expand(4), rtol=1e-6, atol=0)


def climbed(attack: Any, model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The highest objective at any point of the attack: (B,)."""
    if isinstance(attack, AdaptivePGD):
        return lead(model, x, attack(model, x, y), y)
    return ascent(attack, model, x, y)[-1]


def ascent(attack: AdaptiveAPGD, model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """The best objective of each row after each iteration."""
    network, noise = ChunkedModel(MonitoredModel(model, len(x), x.device)), IndexNoise(0, torch.arange(len(x)))
    state: APGDState = attack.init(x, y, y, 0, noise)
    best = []
    for _ in range(attack.length):
        attack.step(network, state, noise)
        best.append(state.best_loss.clone())
    return best


def test_the_best_objective_of_apgd_only_rises_and_is_that_of_its_best_point() -> None:
    task = double_task("adv-dpnp")
    model, (x, _, y) = task.model.eval(), images()
    attack = AdaptiveAPGD(eps=0.1, steps=20, objective=Objective("adv-dpnp", task.defense.objective))
    best = torch.stack(ascent(attack, model, x, y))
    assert (best.diff(dim=0) >= 0).all() and (best[-1] > best[0]).all()
    network, noise = ChunkedModel(MonitoredModel(model, B, x.device)), IndexNoise(0, torch.arange(B))
    state: APGDState = attack.init(x, y, y, 0, noise)
    for _ in range(attack.length):
        attack.step(network, state, noise)
    torch.testing.assert_close(task.defense.objective(model, x, state.best_point, y).detach(), state.best_loss)


def test_on_cross_entropy_adaptive_pgd_is_pgd() -> None:
    task = double_task("at")
    model, (x, _, y) = task.model.eval(), images()
    how: Any = {"eps": 0.1, "steps": 5, "restarts": 2}
    adaptive = AdaptivePGD(**how, objective=Objective("at", task.defense.objective))
    assert torch.equal(adaptive(model, x, y), PGD(**how)(model, x, y))


@pytest.mark.parametrize("kind", [AdaptivePGD, AdaptiveAPGD])
def test_an_objective_that_is_nan_is_noticed(kind: Any) -> None:
    def hollow(model: Any, x: Tensor, x_adv: Tensor, y: Tensor) -> Tensor:
        return model(x_adv)[:, 0] * math.nan

    model = two_classes(64)
    # Far on the side of class 0.
    x = (0.5 - 0.3 * model.weight[1].detach().sign()).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    with pytest.raises(ValueError, match="2 of 2 images are not finite"):
        kind(eps=0.01, steps=2, objective=Objective("hollow", hollow))(model, x, torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("kind", [AdaptivePGD, AdaptiveAPGD])
def test_a_network_alone_has_no_objective_and_says_so_in_a_line(kind: Any) -> None:
    model, x = two_classes(64).float(), torch.rand(2, 1, 8, 8)
    y = model(x).argmax(dim=1)
    for ask in (
        lambda: kind(eps=0.1)(model, x, y),
        lambda: api.evaluate(model, x, y, suite=kind(eps=0.1)),
        lambda: api.evaluate(model, x, y, suite=[kind.name]),
    ):
        with pytest.raises(ValueError, match=rf"{kind.name} maximizes the objective .* evaluate a run") as refused:
            ask()
        assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ("recipe.epochs=1", "recipe.train_images=320", "recipe.holdout=0", "recipe.attack.steps=1")
    wanted = experiment("digits/tiny/adv-dpnp", settings=settings)
    return api.train(wanted, tmp_path_factory.mktemp("runs")).folder


def test_a_run_is_attacked_on_the_objective_of_its_own_defense_and_the_result_says_so(
    run: Path, tmp_path: Path
) -> None:
    attacks = ["adaptive-pgd:steps=3", "adaptive-apgd:steps=5"]
    result = api.evaluate(run, attacks, limit=16, suite_name="mine")
    assert [row["objective"] for row in result["attacks"]] == ["adv-dpnp", "adv-dpnp"]
    model, (x, y) = api.load(run), data.load("digits", "test").batch(torch.arange(16))
    for text, row in zip(attacks, result["attacks"], strict=True):
        by_hand: Any = attack_by_hand(text, 0.1)
        x_adv = replace(by_hand, objective=Objective("by hand", AdvDPNP().objective))(model, x, y)
        assert abs(int(is_right(model(x_adv), y).sum()) - 16 * row["robust_accuracy"]) <= 1
    assert "adaptive-pgd linf 0.1, 3 steps of 21.25/255, on the objective of adv-dpnp" in result_text(result)
    write_report([run], tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert "Adaptive PGD-3" in page and "on the objective of adv-dpnp" in page


def test_adaptive_apgd_in_shards_has_the_verdicts_of_the_whole(run: Path) -> None:
    attacks = ["adaptive-apgd:steps=4,restarts=2"]
    whole = api.evaluate(run, attacks, limit=21, suite_name="shards")
    for part in ("1/2", "2/2"):
        merged = api.evaluate(run, attacks, limit=21, suite_name="shards", shard=part)
    assert merged["shards"] == 2 and merged["attacks"][0]["verdicts"] == whole["attacks"][0]["verdicts"]


def test_an_objective_is_no_text(run: Path) -> None:
    with pytest.raises(ValueError, match=r"adaptive-pgd\.objective"):
        api.evaluate(run, ["adaptive-pgd:objective=ce"])
