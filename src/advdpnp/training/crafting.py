"""Adversarial training batches, from the cheapest network that gives the same gradients."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend
from advdpnp.cuda_graphs import cuda_graph
from advdpnp.defenses.base import Batch, Defense
from advdpnp.models.classifier import Classifier
from advdpnp.models.first_layer import computed_in_bf16
from advdpnp.models.folding import fold_batchnorm, refold, unfolded
from advdpnp.models.packed_convolution import pack_convolutions
from advdpnp.noise import IndexNoise
from advdpnp.ranges import check
from advdpnp.threat import ThreatModel
from advdpnp.training.recipe import InnerAttack, Mode, Recipe

BudgetedAscent = Callable[..., Tensor]


@contextmanager
def attack_mode(model: nn.Module, mode: Mode) -> Iterator[None]:
    """Freeze the parameters and set eval or train mode; everything is restored after."""
    check("mode", mode, Mode)
    modes = {module: module.training for module in model.modules()}
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model.train(mode == "train")
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        for module, training in modes.items():
            module.training = training


class MovingBudget:
    """The budget of an inner attack whose radius and step size grow from epoch to epoch, or whose radius is drawn anew.

    It is one and the same `Budget`, with tensors that are written in place: an ascent that was compiled or captured for
    it serves the whole run.

    Args:
        attack: final budget, the fraction of the epochs over which it is reached, and the spread of the radius.
        epochs: of the whole run.
        device: where the attack runs.
    """

    def __init__(self, attack: InnerAttack, epochs: int, device: torch.device) -> None:
        self._attack, self._ramp_epochs = attack, attack.ramp * epochs
        self._eps, self._step_size = torch.zeros((), device=device), torch.zeros((), device=device)
        self._budget = Budget(ThreatModel(attack.norm, self._eps), attack.steps, self._step_size, attack.start)

    def __call__(self, batch: Batch) -> Budget:
        """Epoch t, counted from 0, has the fraction (t + 1) / ramp of the budget, at most all of it."""
        done = torch.ones_like(self._eps) + batch.epoch
        part = (done / self._ramp_epochs).clamp(max=1.0) if self._ramp_epochs else torch.ones_like(self._eps)
        drawn = 1 - self._attack.spread * batch.draw("attack/radius", ()) if self._attack.spread else 1.0
        self._eps.copy_(drawn * part * self._attack.eps)
        self._step_size.copy_(part * self._attack.step_size)
        return self._budget


class Crafter:
    """The inner maximization of a run: a folded, frozen copy of the network, brought up to date before each batch.

    Folding needs BatchNorm's statistics to be constants, so an attack in train mode runs on the network itself.

    Args:
        model: the network that is trained.
        defense: whose `perturb` is called.
        recipe: budget, mode, precision and engine.
        shape: (B, channels, H, W) of all batches but the last of an epoch.
    """

    def __init__(self, model: Classifier, defense: Defense[Any], recipe: Recipe, shape: tuple[int, ...]) -> None:
        self._model, self._defense, self._inner = model, defense, recipe.attack
        self._budget: Budget | MovingBudget = recipe.attack.budget()
        if recipe.attack.ramp or recipe.attack.spread:
            self._budget = MovingBudget(recipe.attack, recipe.epochs, next(model.parameters()).device)
        self._low_precision = recipe.precision == "bf16"
        self._folded = None
        self._ascend: BudgetedAscent = ascend
        if defense.crafts and recipe.engine != "eager" and recipe.attack.mode == "eval":
            self._folded = fold_batchnorm(model, torch.bfloat16 if self._low_precision else torch.float32)
            if recipe.engine == "folded":
                pack_convolutions(self._folded)
            else:
                # In the engine "step" the attack is part of a larger graph.
                self._ascend = CompiledAscent(shape, cuda_graph if recipe.engine == "graph" else None)

    def note(self) -> str:
        """What the attack runs on, for the log."""
        if not self._defense.crafts:
            return "no attack in training"
        if self._folded is None:
            return f"attack on the network itself, in {self._inner.mode} mode: nothing is folded"
        left = unfolded(self._folded)
        compiled = "" if self._ascend is ascend else ", compiled"
        return f"attack on a folded copy{compiled}" + (
            f"; {len(left)} BatchNorm layers cannot be folded: {left[0]} ..." if left else ""
        )

    def __call__(self, batch: Batch) -> Tensor:
        """Adversarial images for the batch: (B, channels, H, W) float32; its own images where the defense has none."""
        if not self._defense.crafts:
            return batch.x
        noise = IndexNoise(batch.seed, batch.index, batch.epoch)
        budget = self._budget(batch) if isinstance(self._budget, MovingBudget) else self._budget
        bound = functools.partial(self._ascend, budget=budget, noise=noise, stream="attack")
        if self._folded is not None:
            refold(self._folded, self._model)
            return self._defense.perturb(self._folded, batch, bound)
        low = computed_in_bf16(self._model, batch.x.device.type) if self._low_precision else nullcontext()
        with attack_mode(self._model, self._inner.mode), low:
            return self._defense.perturb(self._model, batch, bound)
