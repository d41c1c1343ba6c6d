"""SGD whose rate and momentum follow a schedule."""

import math
from typing import Any

import torch
from torch import Tensor

from advdpnp.runs import Json
from advdpnp.training.recipe import Recipe
from advdpnp.training.stored_state import damaged

# torch.optim.lr_scheduler.OneCycleLR's own: peak over first rate, first over last, and the momentum it cycles.
ONE_CYCLE_START, ONE_CYCLE_END = 25.0, 1e4
ONE_CYCLE_MOMENTUM = (0.85, 0.95)


def first_epoch(start: float, epochs: int) -> int:
    """Epochs completed when something that starts at a fraction of the run begins; never the whole run."""
    return min(round(start * epochs), epochs - 1)


def rate_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """What the scheduled rates of one step are multiplied by.

    Args:
        recipe: its schedule.
        step: steps done before this one, in [0, total_steps).
        total_steps: steps of the whole run.
    """
    return scale_factor(recipe, step, total_steps) * _scheduled_factor(recipe, step, total_steps)


def scale_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    """What a step's rates are multiplied by since the batch is larger than the one that they are meant for."""
    scaling = recipe.rate_scaling
    if not scaling.batch:
        return 1.0
    whole = recipe.batch_size / scaling.batch
    warmup_steps = scaling.warmup_epochs * total_steps / recipe.epochs
    if recipe.schedule == "onecycle" or step >= warmup_steps:
        return whole
    return 1 + (whole - 1) * step / warmup_steps


def _scheduled_factor(recipe: Recipe, step: int, total_steps: int) -> float:
    if recipe.schedule == "cosine":
        return (1 + math.cos(math.pi * step / total_steps)) / 2
    if recipe.schedule == "onecycle":
        first = 1 / ONE_CYCLE_START
        return _one_cycle(first, 1.0, first / ONE_CYCLE_END, recipe.warmup, step, total_steps)
    passed = sum(step >= round(milestone * total_steps) for milestone in recipe.milestones)
    return 0.1**passed


def momentum(recipe: Recipe, step: int, total_steps: int) -> float:
    """SGD's momentum in one step: the recipe's, or low where OneCycle's rate is high."""
    if not recipe.cycle_momentum:
        return recipe.momentum
    low, high = ONE_CYCLE_MOMENTUM
    return _one_cycle(high, low, high, recipe.warmup, step, total_steps)


def _one_cycle(first: float, peak: float, last: float, warmup: float, step: int, total_steps: int) -> float:
    """Half a cosine from `first` to `peak` in the fraction `warmup` of the run, and another to `last`."""
    turn = warmup * total_steps - 1
    if step < turn:
        return _half_cosine(first, peak, step / turn)
    return _half_cosine(peak, last, (step - turn) / max(total_steps - 1 - turn, 1e-12))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * progress))


class ScheduledSGD:
    """SGD on a defense's parameter groups, with the rates that the recipe's schedule gives each step.

    Args:
        groups: `Defense.param_groups`: options of a group override the recipe's, and one with scheduled=False keeps
            its rate and momentum.
        recipe: optimization.
        total_steps: steps of the whole run.
    """

    def __init__(self, groups: list[dict[str, Any]], recipe: Recipe, total_steps: int) -> None:
        self._recipe, self._total_steps = recipe, total_steps
        self._base = [group.get("lr", recipe.lr) for group in groups]
        self._scheduled = [group.pop("scheduled", True) for group in groups]
        self._cycled = [recipe.cycle_momentum and "momentum" not in group for group in groups]
        self.sgd = torch.optim.SGD(
            groups,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
            fused=True,
        )

    @property
    def rate(self) -> float:
        """Rate of the first group in the last step."""
        return float(self.sgd.param_groups[0]["lr"])

    def rates_in_tensors(self, device: torch.device) -> None:
        """Keep the rates on the device, where a captured graph reads them."""
        for group in self.sgd.param_groups:
            group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=device)

    def schedule(self, step: int) -> None:
        """Set the rates of a step, counted over the whole run."""
        factor = rate_factor(self._recipe, step, self._total_steps)
        groups = zip(self.sgd.param_groups, self._base, self._scheduled, self._cycled, strict=True)
        for group, base, scheduled, cycled in groups:
            rate = base * factor if scheduled else base
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
            if scheduled and cycled:
                group["momentum"] = momentum(self._recipe, step, self._total_steps)

    def state(self) -> Json:
        """Momentum and rates, for a checkpoint."""
        return self.sgd.state_dict()

    def _check_momentum(self, *_: Any) -> None:
        """ValueError before a step that has momentum of some parameters alone: a fused one fails on it."""
        for group in self.sgd.param_groups:
            learn = [parameter for parameter in group["params"] if parameter.grad is not None]
            lacking = [one for one in learn if self.sgd.state.get(one, {}).get("momentum_buffer") is None]
            if group["momentum"] and 0 < len(lacking) < len(learn):
                raise damaged(f"no momentum of {len(lacking)} of {len(learn)} parameters")

    def restore(self, state: Json) -> None:
        """Continue from what `state` returned."""
        in_tensors = [isinstance(group["lr"], Tensor) for group in self.sgd.param_groups]
        self.sgd.load_state_dict(state)
        for held in self.sgd.state.values():
            if held.get("momentum_buffer") is not None:
                # What steps change in place must lie in memory of its own, which a file need not give it.
                held["momentum_buffer"] = held["momentum_buffer"].clone()
        self.sgd.register_step_pre_hook(self._check_momentum)
        if any(in_tensors):
            self.rates_in_tensors(next(iter(self.sgd.param_groups[0]["params"])).device)
