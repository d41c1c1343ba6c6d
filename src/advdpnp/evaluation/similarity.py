"""How alike the class centers of a network are, stored for the report to draw."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from advdpnp.models.classifier import Classifier, known_centers
from advdpnp.runs import SIMILARITY, Run

# A matrix of more classes is illegible, and its file heavy.
MOST_CLASSES = 200


def center_similarity(centers: Tensor) -> dict[str, Any]:
    """Cosines between class centers, and their norms.

    Args:
        centers: (C, D); a zero vector has cosine 0 to everything.
    Returns:
        Arrays: cosines (C, C) float32 in [-1, 1], norms (C,) float32.
    """
    unit = functional.normalize(centers.double())
    cosines = (unit @ unit.T).clamp(-1, 1)
    return {
        "cosines": cosines.float().cpu().numpy(),
        "norms": centers.double().norm(dim=1).float().cpu().numpy(),
    }


def store_similarity(run: Run, model: Classifier, class_names: Sequence[str], checkpoint: str) -> None:
    """Write how alike the class centers of a run are to its folder, where there are not too many.

    Args:
        class_names: C names.
        checkpoint: which of the run's weights the model has.
    """
    centers = known_centers(model)
    # A head of somebody's defense may have none.
    if centers is not None and len(centers) == len(class_names) <= MOST_CLASSES:
        told = {"class_names": np.array(class_names), "checkpoint": np.array(checkpoint)}
        run.write_arrays(SIMILARITY, center_similarity(centers) | told)
