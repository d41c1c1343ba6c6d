"""One training step: ours, ART's trainer, a library's attack in a plain loop, and published algorithms written out.

What is written out follows the papers' pseudocode: TRADES (Zhang et al. 2019, Algorithm 1), and adversarial training
with PGD as in Rice et al. 2020 and Pang et al. 2021.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from advdpnp.attacks.projected_ascent import Budget
from advdpnp.bench.variants import BenchModel, naive_attack, started
from advdpnp.models.classifier import Classifier
from advdpnp.noise import IndexNoise, Noise
from peers.attacks import arrays, named, torchattacks_pgd
from peers.side import Side, Work

# The optimizer, and images and labels -> the images that were trained on.
Step = Callable[[Classifier, torch.optim.Optimizer, Tensor, Tensor, Noise], Tensor]


def at_sides(subject: BenchModel, precisions: tuple[str, ...]) -> tuple[Side, ...]:
    """Adversarial training with PGD (AT)."""
    return (
        Side("Rice/Pang loop", "fp32", lambda: _written_out(subject, _rice_pang(subject.budget))),
        Side("ART trainer", "fp32", lambda: _art(subject)),
        Side("torchattacks, plain update", "fp32", lambda: _written_out(subject, _with_torchattacks(subject.budget))),
        *our_sides(subject, precisions),
    )


def trades_sides(subject: BenchModel, precisions: tuple[str, ...]) -> tuple[Side, ...]:
    """TRADES."""
    algorithm = _trades(subject.budget, subject.experiment.defense.beta)
    return Side("TRADES algorithm", "fp32", lambda: _written_out(subject, algorithm)), *our_sides(subject, precisions)


def our_sides(subject: BenchModel, precisions: tuple[str, ...], compiled: bool = False) -> tuple[Side, ...]:
    """The package's own training step."""
    return tuple(
        Side(named("ours", precision, engine), precision, lambda p=precision, e=engine: _ours(subject, p, e))
        for precision in precisions
        for engine in ("folded", "compiled")[: 1 + compiled]
    )


def naive_side(subject: BenchModel) -> Side:
    """The defense's own losses, with the attack as it is often written, fp32 and NCHW."""

    def step(model: Classifier, optimizer: Any, x: Tensor, y: Tensor, draws: Noise) -> Tensor:
        model.eval()
        x_adv = naive_attack(model, x, y, subject.budget, draws)
        model.train()
        optimizer.zero_grad()
        torch.stack(list(defense.loss(model, whole, x_adv).values())).sum().backward()
        optimizer.step()
        return x_adv

    defense, whole = subject.experiment.defense, subject.batch
    return Side("backward() loop", "fp32", lambda: _written_out(subject, step))


def _ours(subject: BenchModel, precision: str, engine: Any) -> Callable[[int], Work]:
    training = started(subject.task(precision, engine))
    model, craft = training.task.model, training.craft
    weights = deepcopy(model.state_dict())
    crafted: list[Tensor] = []

    def keeping(images: Any) -> Tensor:
        crafted[:] = [craft(images)]
        return crafted[0]

    training.craft = keeping  # type: ignore[assignment]

    def ready(number: int) -> Work:
        model.load_state_dict(weights)

        def step() -> tuple[Tensor, Tensor]:
            # The noise is keyed by the epoch; and a second call has this batch once more, not the empty one behind it.
            training.epoch, training.step = number, 0
            training.advance(subject.index)
            return crafted[0], subject.images.labels

        return step

    return ready


def _written_out(subject: BenchModel, step: Step) -> Callable[[int], Work]:
    (x, y), model = arrays(subject), deepcopy(subject.model)
    weights, optimizer = deepcopy(model.state_dict()), _sgd(subject, model)

    def ready(number: int) -> Work:
        model.load_state_dict(weights)
        torch.manual_seed(number)
        draws = IndexNoise(0, subject.index, number)
        return lambda: (step(model, optimizer, x, y, draws), y)

    return ready


def _sgd(subject: BenchModel, model: Classifier) -> torch.optim.Optimizer:
    recipe = subject.experiment.recipe
    groups = subject.experiment.defense.param_groups(model)
    return torch.optim.SGD(groups, recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay)


def _update(model: Classifier, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> Tensor:
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()
    return x


def _rice_pang(budget: Budget) -> Step:
    """PGD by `backward()` of the mean loss, in eval mode as Pang et al. advise, then the update on its images."""

    def step(model: Classifier, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, draws: Noise) -> Tensor:
        model.eval()
        return _update(model, optimizer, naive_attack(model, x, y, budget, draws), y)

    return step


def _with_torchattacks(budget: Budget) -> Step:
    def step(model: Classifier, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, draws: Noise) -> Tensor:
        return _update(model, optimizer, torchattacks_pgd(model, budget)(x, y), y)

    return step


def _trades(budget: Budget, beta: float) -> Step:
    """The clean images go through the network in every iteration and twice in the loss, as in what was released."""

    def divergence(model: Classifier, x_adv: Tensor, x: Tensor) -> Tensor:
        return F.kl_div(F.log_softmax(model(x_adv), 1), F.softmax(model(x), 1), reduction="sum")

    def step(model: Classifier, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, draws: Noise) -> Tensor:
        model.eval()
        x_adv = budget.begin(x, draws, "attack")
        for _ in range(budget.steps):
            x_adv = x_adv.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(divergence(model, x_adv, x), [x_adv])
            x_adv = budget.threat.project(x_adv.detach() + budget.step_size * gradient.sign(), x)
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + beta / len(x) * divergence(model, x_adv.detach(), x)
        loss.backward()
        optimizer.step()
        return x_adv.detach()

    return step


def _art(subject: BenchModel) -> Callable[[int], Work]:
    import numpy as np
    from art.defences.trainer import AdversarialTrainerMadryPGD
    from art.estimators.classification import PyTorchClassifier

    (x, y), model, budget = arrays(subject), deepcopy(subject.model), subject.budget
    weights, count = deepcopy(model.state_dict()), len(x)
    classifier = PyTorchClassifier(
        model=model,
        loss=torch.nn.CrossEntropyLoss(),
        optimizer=_sgd(subject, model),
        input_shape=tuple(x.shape[1:]),
        nb_classes=subject.experiment.data.num_classes,
        clip_values=(0, 1),
        device_type="cpu",
    )
    trainer = AdversarialTrainerMadryPGD(
        classifier,
        nb_epochs=1,
        batch_size=count,
        eps=budget.threat.eps,
        eps_step=budget.step_size,
        max_iter=budget.steps,
        num_random_init=1,
    )
    generate, crafted = trainer.attack.generate, []

    # The trainer shuffles: its images go with its labels.
    def keeping(images: Any, y: Any = None, **options: Any) -> Any:
        found = generate(images, y=y, **options)
        crafted[:] = [(torch.from_numpy(found.copy()), torch.from_numpy(y.argmax(1) if y.ndim == 2 else y))]
        return found

    trainer.attack.generate = keeping
    pixels, labels = x.numpy(), F.one_hot(y, subject.experiment.data.num_classes).numpy()

    def ready(number: int) -> Work:
        model.load_state_dict(weights)
        # ART draws from numpy's global generator.
        np.random.seed(number)  # noqa: NPY002

        def step() -> tuple[Tensor, Tensor]:
            trainer.fit(pixels, labels)
            return crafted[0]

        return step

    return ready
