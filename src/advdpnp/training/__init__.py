"""Training: recipe, loop, schedule, checkpoints."""

from advdpnp.training.interrupt import StopTraining
from advdpnp.training.loop import Observer, Task, check_task, fit
from advdpnp.training.recipe import RECIPE_NAMES, InnerAttack, Recipe

__all__ = ["RECIPE_NAMES", "InnerAttack", "Observer", "Recipe", "StopTraining", "Task", "check_task", "fit"]
