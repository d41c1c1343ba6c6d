"""What is measured while a run trains: held-out accuracy and the class centers."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks import PGD, CarliniWagner
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.data import Images
from advdpnp.losses import is_right, margin
from advdpnp.metrics import mean_pairwise_angle_degrees, mean_separation_degrees, min_separation_degrees
from advdpnp.models.classifier import Classifier, logits_saturate, other_answers
from advdpnp.noise import IndexNoise
from advdpnp.training.distributed import ALONE, World
from advdpnp.training.recipe import InnerAttack

_MEASURES = "clean", "robust"
# How many held-out images are shown.
SHOWN = 8


def center_statistics(model: Classifier) -> dict[str, float]:
    """Norms of the class centers, and the angles between them, in degrees: of all pairs and to the nearest rival."""
    centers = model.class_centers().float()
    norms = centers.norm(dim=1)
    return {
        "norm_mean": norms.mean().item(),
        "norm_min": norms.min().item(),
        "norm_max": norms.max().item(),
        "angle_mean_degrees": mean_pairwise_angle_degrees(centers),
        "nearest_rival_mean_degrees": mean_separation_degrees(centers),
        # The smallest of all pairs is also the smallest to a nearest rival.
        "angle_min_degrees": min_separation_degrees(centers),
    }


def center_distributions(model: Classifier) -> dict[str, Tensor]:
    """Norms (C,) of the class centers, and the cosines (C (C - 1) / 2,) of the angles between two of them."""
    centers = model.class_centers().detach().float()
    unit = nn.functional.normalize(centers, dim=1)
    first, second = torch.triu_indices(len(centers), len(centers), offset=1, device=centers.device)
    return {"centers/norm": centers.norm(dim=1), "centers/cosine": (unit[first] * unit[second]).sum(dim=1)}


@dataclass(frozen=True)
class Validation:
    """What a network says of held-out images, clean and under the recipe's own attack.

    Args:
        accuracy: shares of the images that are right, and "n", their number.
        distributions: "holdout/margin_clean" and "holdout/margin_robust", (N,): the label's logit less the largest
            other one, positive where right; NaN where the attack had no gradient to follow.
        images: "clean" and "adversarial", (S, channels, H, W) in [0, 1]: some of the images.
    """

    accuracy: dict[str, Any]
    distributions: dict[str, Tensor]
    images: dict[str, Tensor]


def validate(
    model: Classifier, images: Images, attack: InnerAttack, batch_size: int, world: World = ALONE
) -> Validation:
    """Clean accuracy, and accuracy under the recipe's own attack, on held-out training images.

    It is PGD on the cross-entropy, or on the margin for a network whose logits saturate. On the same images those of
    the classifier's other answers: "clean_accuracy/NAME" and "robust_accuracy/NAME".

    Of several ranks each takes some of the batches, and all get the same as one rank would.
    """
    was_training = model.training
    model.eval()
    # Where logits saturate the cross-entropy has no gradient to choose weights by.
    kind = functools.partial(CarliniWagner, random_start=True) if logits_saturate(model) else PGD
    ascent = kind(eps=attack.eps, norm=attack.norm, steps=attack.steps, step_size=attack.step_size)
    everything = torch.arange(len(images), device=images.labels.device)
    chosen = torch.linspace(0, len(images) - 1, min(SHOWN, len(images)), device=everything.device).long()
    first, _ = images.batch(chosen)
    with torch.no_grad():
        others = list(other_answers(model, first[:1]))
    right = {f"{measure}_accuracy{name}": 0 for name in ("", *(f"/{o}" for o in others)) for measure in _MEASURES}
    margins = {measure: torch.zeros(len(images), device=everything.device) for measure in _MEASURES}
    shown = {name: torch.zeros_like(first) for name in ("clean", "adversarial")}
    for index in torch.split(everything, batch_size)[world.rank :: world.size]:
        x, y = images.batch(index)
        watched = MonitoredModel(model, len(x), x.device)
        x_adv = ascent(watched, x, y, noise=IndexNoise(0, index))
        with torch.no_grad():
            for measure, seen in zip(_MEASURES, (x, x_adv), strict=True):
                # Nothing is known of images without a gradient to follow, so they choose no checkpoint.
                unknown = watched.nonfinite & (measure == "robust")
                logits = model(seen)
                right[f"{measure}_accuracy"] += int((is_right(logits, y) & ~unknown).sum())
                margins[measure][index] = (-margin(logits, y)).masked_fill(unknown, torch.nan).float()
                for name, other in other_answers(model, seen).items():
                    right[f"{measure}_accuracy/{name}"] += int(is_right(other, y).sum())
        place, among = torch.isin(chosen, index), torch.isin(index, chosen)
        shown["clean"][place], shown["adversarial"][place] = x[among], x_adv[among]
    model.train(was_training)
    counts = world.add_up(torch.tensor(list(right.values()))).tolist()
    # What a rank has not seen is 0, so sums put together what all have.
    for values in (*margins.values(), *shown.values()):
        world.add_up(values)
    accuracy = {"n": len(images), **{name: n / len(images) for name, n in zip(right, counts, strict=True)}}
    return Validation(accuracy, {f"holdout/margin_{name}": values for name, values in margins.items()}, shown)
