"""From what a training tells to what is logged."""

from collections.abc import Mapping
from typing import Any

from advdpnp.loggers.logger import Entry
from advdpnp.loggers.picture import attack_picture
from advdpnp.runs import Json

# Pictures in a whole training, besides the first.
PICTURES = 10


def scalars_of(line: Json, images: int) -> dict[str, float]:
    """Every number of a line of train.jsonl that makes a curve, and the images per second.

    Args:
        line: of one epoch.
        images: how many the training has.
    """
    found = {"lr": line["lr"], "images_per_second": images / max(line["seconds"], 1e-3)}
    for group in ("loss", "centers", "holdout"):
        for name, value in (line[group] or {}).items():
            # Stores that keep a file for each name have no folder of the same one.
            found[f"{group}/{name.replace('/', '.')}"] = value
    found.pop("holdout/n", None)
    return found


def entry_of(line: Json, images: int, distributions: Mapping[str, Any], shown: Mapping[str, Any]) -> Entry:
    """The entry of an epoch; `distributions` and `shown` are what `TrainingViewer.on_view` is given."""
    arrays = {name: tensor.float().cpu().numpy() for name, tensor in distributions.items()}
    histograms = {name: array[abs(array) < float("inf")] for name, array in arrays.items()}
    every = max(1, line["epochs"] // PICTURES)
    pictures = {}
    if shown and (line["epoch"] in (1, line["epochs"]) or line["epoch"] % every == 0):
        clean, adversarial = (shown[name].float().cpu().numpy() for name in ("clean", "adversarial"))
        pictures["holdout/images"] = attack_picture(clean, adversarial)
    kept = {name: array for name, array in histograms.items() if len(array)}
    return Entry(line["epoch"], scalars_of(line, images), kept, pictures)
