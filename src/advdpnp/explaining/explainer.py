"""Explains images: predictions, scores, and the nearest adversarial image of each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from advdpnp.attacks import Attack
from advdpnp.evaluation import CHUNK, EvaluationCallback
from advdpnp.evaluation.scores import Scorer
from advdpnp.explaining.explanation import Adversarial, Explanation, Score, StoredImage
from advdpnp.explaining.places import placed
from advdpnp.explaining.search import AtGoal, FoundPoint, Search, unlabeled
from advdpnp.ood_results import OodResult
from advdpnp.predicting import Predictor

# Values of an image that has a form as a picture: grey, or red, green and blue.
_CHANNELS = (1, 3)


@dataclass(frozen=True, eq=False)
class Explainer:
    """What images are explained with.

    Args:
        predictor: network, names of its classes, class centers and training images.
        attack: what looks for adversarial images; its field `target` is the class that it aims at.
        stored: what scores are compared with; None where nothing is stored.
        callback: called as it proceeds.
    """

    predictor: Predictor
    attack: Attack
    stored: OodResult | None
    callback: EvaluationCallback

    def __call__(self, files: Sequence[str], x: Tensor, labels: Sequence[int | None]) -> list[Explanation]:
        """An explanation for each image.

        Args:
            files: names of the images.
            x: (N, channels, H, W) float32 in [0, 1], on the network's device.
            labels: true classes; None where they are not known.
        Raises:
            ValueError: the network's answers or gradients are not finite, or not one for each class.
        """
        names, target = self.predictor.class_names, getattr(self.attack, "target", None)
        answers = list(self.predictor(files, unlabeled(x)))
        predicted = [names.index(answer.class_name) for answer in answers]
        # An attack that aims does not read the label, but leaves images alone whose label is its aim.
        away = [own if label is None or target is not None else label for own, label in zip(predicted, labels)]

        def at_goal(number: int, name: str) -> bool:
            return name == names[target] if target is not None else name != names[away[number]]

        done = [at_goal(number, answer.class_name) for number, answer in enumerate(answers)]
        found = self._adversarial(x, away, [row for row, is_done in enumerate(done) if not is_done], at_goal)
        return [
            Explanation(
                prediction=answer,
                label=None if label is None else names[label],
                attacked_class=None if target is not None else names[away[row]],
                target=None if target is None else names[target],
                at_goal=done[row],
                scores=scores,
                adversarial=found.get(row),
            )
            for row, (answer, label, scores) in enumerate(zip(answers, labels, self._scores(x), strict=True))
        ]

    def _adversarial(self, x: Tensor, away: list[int], rows: list[int], at_goal: AtGoal) -> dict[int, Adversarial]:
        """The adversarial images that are found, by row."""
        if not rows:
            return {}
        alone = replace(self.predictor, training=None, neighbors=0)
        search = Search(alone, self.attack, self.callback)
        y = torch.tensor([away[row] for row in rows], device=x.device)
        pairs = search(x[rows], y, lambda number, name: at_goal(rows[number], name))
        found = {row: pair for row, pair in zip(rows, pairs) if pair is not None}
        if not found:
            return {}
        scores = self._scores(torch.stack([exact.x for exact, _ in found.values()]))
        return {
            row: _described(*pair, x[row], of, at_goal(row, pair[1].answer.class_name))
            for (row, pair), of in zip(found.items(), scores)
        }

    def _scores(self, x: Tensor) -> list[dict[str, Score]]:
        """The scores of each image, with their places."""
        scorer, found = Scorer(self.predictor.model), list[dict[str, Score]]()
        for first in range(0, len(x), CHUNK):
            scores, _ = scorer(x[first : first + CHUNK])
            columns = [
                [placed(name, value, self.stored) for value in values.tolist()] for name, values in scores.items()
            ]
            found += [dict(zip(scores, row)) for row in zip(*columns)]
        return found


def _described(exact: FoundPoint, whole: FoundPoint, x: Tensor, scores: dict[str, Score], at_goal: bool) -> Adversarial:
    picture = StoredImage(whole.distance, at_goal, whole.answer) if exact.x.shape[0] in _CHANNELS else None
    change = (exact.x - x).cpu().numpy()
    return Adversarial(exact.distance, exact.answer, scores, picture, exact.x.cpu().numpy(), change)
