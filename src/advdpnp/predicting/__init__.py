"""Predictions: class, probabilities, distances and angles to the class centers, nearest training images."""

from advdpnp.predicting.inputs import Inputs, blocks_of_files, find_images, from_files, from_tensor
from advdpnp.predicting.picture import ROWS, check_format, write_picture
from advdpnp.predicting.predictions import (
    ClassCenter,
    ClassProbability,
    Failure,
    Prediction,
    Predictions,
    TrainingImage,
)
from advdpnp.predicting.predictor import Centers, Predictor, centers_of
from advdpnp.predicting.text import predictions_text
from advdpnp.predicting.training_set import TrainingSet, embed_training_set, read_training_set, write_training_set

__all__ = [
    "ROWS",
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
    "blocks_of_files",
    "centers_of",
    "check_format",
    "embed_training_set",
    "find_images",
    "from_files",
    "from_tensor",
    "predictions_text",
    "read_training_set",
    "write_picture",
    "write_training_set",
]
