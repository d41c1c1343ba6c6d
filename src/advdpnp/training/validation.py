"""What is measured while a run trains: held-out accuracy and the class centers."""

import functools
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks import PGD, CarliniWagner
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.data import Images
from advdpnp.losses import is_right
from advdpnp.metrics import mean_pairwise_angle_degrees, mean_separation_degrees, min_separation_degrees
from advdpnp.models.classifier import Classifier, logits_saturate, other_answers
from advdpnp.noise import IndexNoise
from advdpnp.training.recipe import InnerAttack


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


def _correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return is_right(model(x), y)


def holdout_accuracy(model: Classifier, images: Images, attack: InnerAttack, batch_size: int) -> dict[str, Any]:
    """Clean accuracy, and accuracy under the recipe's own attack, on held-out training images.

    It is PGD on the cross-entropy, or on the margin for a network whose logits saturate. On the same images those of
    the classifier's other answers: "clean_accuracy/NAME" and "robust_accuracy/NAME".
    """
    was_training = model.training
    model.eval()
    # Where logits saturate the cross-entropy has no gradient to choose weights by.
    kind = functools.partial(CarliniWagner, random_start=True) if logits_saturate(model) else PGD
    ascent = kind(eps=attack.eps, norm=attack.norm, steps=attack.steps, step_size=attack.step_size)
    clean = robust = 0
    others: Counter[str] = Counter()
    everything = torch.arange(len(images), device=images.labels.device)
    for index in torch.split(everything, batch_size):
        x, y = images.batch(index)
        clean += int(_correct(model, x, y).sum())
        watched = MonitoredModel(model, len(x), x.device)
        x_adv = ascent(watched, x, y, noise=IndexNoise(0, index))
        # Nothing is known of images without a gradient to follow, so they choose no checkpoint.
        robust += int((_correct(model, x_adv, y) & ~watched.nonfinite).sum())
        with torch.no_grad():
            for measure, seen in (("clean_accuracy", x), ("robust_accuracy", x_adv)):
                for name, logits in other_answers(model, seen).items():
                    others[f"{measure}/{name}"] += int(is_right(logits, y).sum())
    model.train(was_training)
    found = {"clean_accuracy": clean, "robust_accuracy": robust, **others}
    return {"n": len(images), **{name: count / len(images) for name, count in found.items()}}
