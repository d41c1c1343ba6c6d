"""What moves during a run: rate, momentum, and from which epoch on."""

import math

from advdpnp.training.recipe import Recipe

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
