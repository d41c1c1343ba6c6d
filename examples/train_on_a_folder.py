"""Train Adv-DPNP on a folder of images by class: here scikit-learn's digits, written as PNG files into 0/, 1/, ... 9/.

The same from the command line: advdpnp train --data folder:images --image-size 8 --model tiny --defense adv-dpnp
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

import advdpnp
from advdpnp.data import folder_spec
from advdpnp.experiments import experiment_on
from advdpnp.progress import Lines, result_text


def write_images(folder: Path) -> None:
    """Your images: one folder for each class, files of any kind and size in it."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(place / f"{number}.png")


def main(folder: Path) -> None:
    images, decoded = folder / "images", folder / "decoded"
    write_images(images)
    # Decoded once, and kept; 10 % of each class are test images, another 10 % of all choose the `best` weights.
    facts = folder_spec(images, image_size=8, root=decoded, tell=print)
    # A mirrored digit is another sign, or none, so it is not flipped.
    settings = ["recipe.epochs=6", "recipe.attack.steps=5", "recipe.augmentation.flip=false"]
    wanted = experiment_on(facts, "tiny", "adv-dpnp", settings=settings)
    run = advdpnp.train(wanted, folder / "runs", data_root=decoded, resume=True, callback=Lines())
    print(
        f"{facts.train_size} images to train and choose with, {facts.test_size} to test on; the run is in {run.folder}"
    )
    print(result_text(advdpnp.evaluate(run.folder, "pgd20", checkpoint="best", data_root=decoded)))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
