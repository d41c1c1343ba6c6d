"""Explanations of single images: a prediction, what little changes it, and how like the training data the image is."""

from advdpnp.explaining.explainer import Explainer
from advdpnp.explaining.explanation import Adversarial, Explanation, Explanations, Score, StoredImage
from advdpnp.explaining.files import check_folder, write_explanations
from advdpnp.explaining.words import explanations_text

__all__ = [
    "Adversarial",
    "Explainer",
    "Explanation",
    "Explanations",
    "Score",
    "StoredImage",
    "check_folder",
    "explanations_text",
    "write_explanations",
]
