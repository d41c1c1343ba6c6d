"""Arrays that the report draws: a few attacked images, and two-dimensional embeddings."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from advdpnp.attacks import Attack, label, record
from advdpnp.data import Images
from advdpnp.evaluation.chunks import chunks
from advdpnp.evaluation.geometry import Embeddings
from advdpnp.evaluation.precision import attack_surface
from advdpnp.evaluation.robustness import attacked
from advdpnp.models.classifier import Classifier

Arrays = dict[str, Any]


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy()


def attacked_samples(
    model: Classifier, images: Images, class_names: tuple[str, ...], attack: Attack, count: int, chunk: int
) -> Arrays:
    """The first image of each class, up to `count`, clean and attacked, with the predictions."""
    first = [int((images.labels == label).int().argmax()) for label in range(len(class_names))][:count]
    chosen = images.select(torch.tensor(first, device=images.labels.device))
    (block,) = chunks(chosen, len(chosen), chunk)
    x_adv, _ = attacked(attack_surface(model), attack, block, seed=0)
    with torch.no_grad():
        clean, adversarial = model(block.x).argmax(dim=1), model(x_adv).argmax(dim=1)
    valid = slice(0, block.valid)
    return {
        "clean": _array(block.x[valid]),
        "adversarial": _array(x_adv[valid]),
        "labels": _array(block.y[valid]),
        "clean_predictions": _array(clean[valid]),
        "adversarial_predictions": _array(adversarial[valid]),
        "class_names": np.array(class_names),
        "attack": np.array(label(record(attack))),
    }


def embedding_arrays(
    model: Classifier, images: Images, class_names: tuple[str, ...], attack: Attack, n: int, chunk: int
) -> Arrays:
    """Embeddings of the first n images, clean and attacked, with the class centers (Figure 2)."""
    clean, adversarial, surface = Embeddings(model), Embeddings(model), attack_surface(model)
    for block in chunks(images, n, chunk):
        clean(block.x, block)
        adversarial(attacked(surface, attack, block, seed=0)[0], block)
    return {
        "clean": _array(clean.features),
        "adversarial": _array(adversarial.features),
        "labels": _array(clean.labels),
        "centers": _array(model.class_centers()),
        "class_names": np.array(class_names),
        "attack": np.array(label(record(attack))),
    }
