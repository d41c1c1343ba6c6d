"""The nearest adversarial image of each image, confirmed by the network itself, as it is and in whole levels."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from advdpnp.attacks import Attack
from advdpnp.attacks.stepwise import SLACK
from advdpnp.data import Images
from advdpnp.evaluation import EvaluationCallback
from advdpnp.evaluation.single_pass import model_to_attack
from advdpnp.noise import IndexNoise
from advdpnp.predicting import Prediction, Predictor
from advdpnp.threat import distance

# (number of the image, name of a class) -> whether that is what the attack is after.
AtGoal = Callable[[int, str], bool]

# Images that are attacked together.
_TOGETHER = 16
# How much farther from the image the found point may be put, until the network itself says so: what is found lies at a
# boundary, where the last bits of the folded copy decide.
_CONFIRM = (1.0, 1.0001, 1.001, 1.01)
# The same in whole levels, where half a level may be lost; and the levels that a smaller change is stretched to.
_ROUND, _AT_LEAST = (1.0, 1.02, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0), (1.0, 2.0, 3.0, 4.0)


@dataclass(frozen=True, eq=False)
class FoundPoint:
    """A point near an image, and what the network says of it.

    Args:
        x: (channels, H, W) in [0, 1].
        distance: from the image, in the norm of the attack.
        answer: of the network.
    """

    x: Tensor
    distance: float
    answer: Prediction


@dataclass(frozen=True, eq=False)
class Search:
    """Looks for adversarial images.

    Args:
        predictor: the network, and the names of its classes; without training images.
        attack: what looks for them.
        callback: called as it proceeds.
    """

    predictor: Predictor
    attack: Attack
    callback: EvaluationCallback

    def __call__(self, x: Tensor, y: Tensor, at_goal: AtGoal) -> list[tuple[FoundPoint, FoundPoint] | None]:
        """The nearest adversarial images.

        Args:
            x: (N, channels, H, W) in [0, 1], images that are not at the goal.
            y: (N,) int64, the classes that they are led away from.
            at_goal: asked with numbers from 0 to N - 1.
        Returns:
            For each image, None where none was found within the attack's radius; else the point that was found, and one
            in whole levels, at the goal where there is such a point not much farther.
        """
        if not len(x):
            return []
        self.callback.on_attack(self.attack.name, len(x))
        attacked, results = model_to_attack(self.predictor.model), list[tuple[FoundPoint, FoundPoint] | None]()
        for first in range(0, len(x), _TOGETHER):
            rows = torch.arange(first, min(first + _TOGETHER, len(x)), device=x.device)
            # The same for all: what is found of an image shall not depend on its place among others.
            noise = IndexNoise(0, torch.zeros_like(rows))
            found = self.attack(attacked, x[rows], y[rows], noise=noise)
            for number, points in zip(rows.tolist(), self._judged(x[rows], found)):
                results.append(self._chosen(points, [at_goal(number, point.answer.class_name) for point in points]))
            self.callback.on_images(len(rows))
        return results

    def _judged(self, x: Tensor, found: Tensor) -> list[list[FoundPoint]]:
        """For each image the points that may be chosen: first as they are, then in whole levels."""
        levels = self.predictor.levels
        change = found - x
        largest = change.flatten(1).abs().amax(dim=1, keepdim=True).clamp_min(1e-12)
        stretched = change.new_tensor(_AT_LEAST) / levels / largest
        factors = torch.cat([change.new_tensor(_CONFIRM + _ROUND).expand(len(x), -1), stretched.clamp_min(1)], dim=1)
        points = (x[:, None] + factors[:, :, None, None, None] * change[:, None]).clamp(0, 1)
        # The very point that was found: adding a difference again would round.
        points[:, 0] = found
        points[:, len(_CONFIRM) :] = (points[:, len(_CONFIRM) :] * levels).round() / levels
        flat, each = points.flatten(0, 1), points.shape[1]
        far = distance(flat, x.repeat_interleave(each, dim=0), self.attack.norm).tolist()
        answers = self.predictor([""] * len(flat), unlabeled(flat))
        judged = [FoundPoint(*facts) for facts in zip(flat, far, answers)]
        return [judged[start : start + each] for start in range(0, len(judged), each)]

    def _chosen(self, points: list[FoundPoint], at_goal: list[bool]) -> tuple[FoundPoint, FoundPoint] | None:
        limit = self.attack.eps * (1 + SLACK) + 1e-7
        places = [place for place in range(len(_CONFIRM)) if at_goal[place] and points[place].distance <= limit]
        if not places:
            return None
        whole = range(len(_CONFIRM), len(points))
        standing = [points[place] for place in whole if at_goal[place]]
        # Else the plain rounding, of which it is then said that it undoes the attack.
        return points[places[0]], min(standing, key=lambda point: point.distance, default=points[len(_CONFIRM)])


def unlabeled(x: Tensor) -> Images:
    """Images in [0, 1], (N, channels, H, W), with labels that nobody reads."""
    return Images(x, torch.zeros(len(x), dtype=torch.int64, device=x.device), 1)
