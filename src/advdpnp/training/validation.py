"""What is measured while a run trains: held-out accuracy and the class centers."""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks import PGD, CarliniWagner
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.data import Images
from advdpnp.losses import is_right
from advdpnp.metrics import mean_pairwise_angle_degrees, min_separation_degrees
from advdpnp.models.classifier import Classifier, logits_saturate
from advdpnp.noise import IndexNoise
from advdpnp.training.recipe import InnerAttack


def center_statistics(model: Classifier) -> dict[str, float]:
    """Norms of the class centers, and mean (over all pairs) and smallest of the angles between them, in degrees."""
    centers = model.class_centers().float()
    norms = centers.norm(dim=1)
    return {
        "norm_mean": norms.mean().item(),
        "norm_min": norms.min().item(),
        "norm_max": norms.max().item(),
        "angle_mean_degrees": mean_pairwise_angle_degrees(centers),
        "angle_min_degrees": min_separation_degrees(centers),
    }


def _correct(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return is_right(model(x), y)


def holdout_accuracy(model: Classifier, images: Images, attack: InnerAttack, batch_size: int) -> dict[str, Any]:
    """Clean accuracy, and accuracy under the recipe's own attack, on held-out training images.

    It is PGD on the cross-entropy, or on the margin for a network whose logits saturate.
    """
    was_training = model.training
    model.eval()
    # Where logits saturate the cross-entropy has no gradient to choose weights by.
    kind = functools.partial(CarliniWagner, random_start=True) if logits_saturate(model) else PGD
    ascent = kind(eps=attack.eps, norm=attack.norm, steps=attack.steps, step_size=attack.step_size)
    clean = robust = 0
    everything = torch.arange(len(images), device=images.labels.device)
    for index in torch.split(everything, batch_size):
        x, y = images.batch(index)
        clean += int(_correct(model, x, y).sum())
        watched = MonitoredModel(model, len(x), x.device)
        withstood = _correct(model, ascent(watched, x, y, noise=IndexNoise(0, index)), y)
        # Nothing is known of images without a gradient to follow, so they choose no checkpoint.
        robust += int((withstood & ~watched.nonfinite).sum())
    model.train(was_training)
    return {"n": len(images), "clean_accuracy": clean / len(images), "robust_accuracy": robust / len(images)}
