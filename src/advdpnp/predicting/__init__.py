"""Predictions: class, probabilities, distances and angles to the class centers, nearest training images."""

from advdpnp.predicting.answers import (
    ClassCenter,
    ClassProbability,
    Failure,
    Prediction,
    Predictions,
    TrainingImage,
)
from advdpnp.predicting.inputs import Inputs, find_images, from_files, from_tensor
from advdpnp.predicting.picture import check_format, write_picture
from advdpnp.predicting.predictor import Centers, Predictor, centers_of
from advdpnp.predicting.text import predictions_text
from advdpnp.predicting.training_set import TrainingSet, embed, keep, kept

__all__ = [
    "Centers",
    "ClassCenter",
    "ClassProbability",
    "Failure",
    "Inputs",
    "Prediction",
    "Predictions",
    "Predictor",
    "TrainingImage",
    "TrainingSet",
    "centers_of",
    "check_format",
    "embed",
    "find_images",
    "from_files",
    "from_tensor",
    "keep",
    "kept",
    "predictions_text",
    "write_picture",
]
