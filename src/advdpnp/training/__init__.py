"""Training: recipe, loop, schedule, checkpoints."""

from advdpnp.callbacks import StopTraining, TrainingCallback
from advdpnp.training.loop import fit
from advdpnp.training.recipe import RECIPE_NAMES, InnerAttack, Recipe
from advdpnp.training.step import Task, check_task

__all__ = ["RECIPE_NAMES", "InnerAttack", "Recipe", "StopTraining", "Task", "TrainingCallback", "check_task", "fit"]
