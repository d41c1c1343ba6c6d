"""SGD as the recipe and the defense want it."""

from typing import Any

import torch
from torch import Tensor

from advdpnp.runs import Json
from advdpnp.training.recipe import Recipe
from advdpnp.training.schedule import momentum, rate_factor


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

    def restore(self, state: Json) -> None:
        """Continue from what `state` returned."""
        in_tensors = [isinstance(group["lr"], Tensor) for group in self.sgd.param_groups]
        self.sgd.load_state_dict(state)
        if any(in_tensors):
            self.rates_in_tensors(next(iter(self.sgd.param_groups[0]["params"])).device)
