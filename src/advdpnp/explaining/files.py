"""Explanations as files: a page, a picture, the adversarial images, and JSON."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from advdpnp.bounded_files import check_no_folder
from advdpnp.explaining.explanation import Explanation, Explanations
from advdpnp.explaining.page import page
from advdpnp.explaining.picture import picture
from advdpnp.explaining.thumbnails import png, shades
from advdpnp.lock import only_process
from advdpnp.predicting import Failure
from advdpnp.predicting.predictions import Pixels
from advdpnp.runs import LOCK, read_json, write_bytes, write_json

PAGE, PICTURE, VALUES, EXACT = "index.html", "explain.png", "explain.json", "adversarial.npy"


def check_folder(out: Path) -> None:
    """Raise ValueError where a folder cannot be written to because it is something else."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder; {out} is a file: name another one")


def write_explanations(found: Explanations, out: Path) -> Explanations:
    """Write index.html, explain.png, explain.json and the adversarial images; those of an earlier call are removed.

    A picture file of an adversarial image, adversarial.png or adversarial-<number>.png, has no loss: it is read again
    before it is written. adversarial.npy has all of them unrounded.

    Args:
        found: at least one image that could be read.
        out: folder of the files.
    Returns:
        The explanations with the names of the picture files.
    Raises:
        ValueError: no image to explain, or `out` is a file.
    """
    check_folder(out)
    if not found.explained:
        raise ValueError(f"{out} would be empty: none of the {len(found.images)} images could be read")
    named = _named(found)
    pictures = {
        image.adversarial.stored.file: _lossless(image.adversarial.stored.answer.pixels, found.levels)
        for image in named.explained
        if image.adversarial is not None and image.adversarial.stored is not None
    }
    # All of it is made before anything is written.
    content = {PICTURE: picture(named), PAGE: page(named).encode()}
    if exact := [image.adversarial.x for image in named.explained if image.adversarial is not None]:
        pictures[EXACT] = _array(np.stack(exact))
    check_no_folder(*(out / name for name in (*pictures, VALUES, *content)))
    with only_process(out / LOCK, str(out)):
        _remove_former(out, keep={*pictures})
        for name, data in pictures.items():
            write_bytes(out / name, data)
        write_json(out / VALUES, named.json() | {"files": sorted([*pictures, *content])})
        for name, data in content.items():
            write_bytes(out / name, data)
    return named


def _named(found: Explanations) -> Explanations:
    """With names of the picture files: by the position of the image, where there are several."""
    images: list[Explanation | Failure] = []
    for number, image in enumerate(found.images, start=1):
        if isinstance(image, Explanation) and image.adversarial is not None and image.adversarial.stored is not None:
            name = "adversarial.png" if len(found.images) == 1 else f"adversarial-{number}.png"
            stored = replace(image.adversarial.stored, file=name)
            image = replace(image, adversarial=replace(image.adversarial, stored=stored))
        images.append(image)
    return replace(found, images=tuple(images))


def _lossless(pixels: Pixels, levels: int) -> bytes:
    """A PNG file that gives these very pixels when it is read again."""
    content = png(shades(pixels, levels))
    with Image.open(io.BytesIO(content)) as image:
        again = np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)
    assert np.array_equal((again.astype(int) * levels + 127) // 255, pixels)
    return content


def _array(x: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, x, allow_pickle=False)
    return content.getvalue()


def _remove_former(out: Path, keep: set[str]) -> None:
    """Remove the adversarial images that an earlier explanation says it has written there."""
    path = out / VALUES
    if not path.is_file():
        return
    try:
        listed = read_json(path).get("files", [])
    except ValueError:
        return
    former = {str(name) for name in listed} if isinstance(listed, list) else set()
    for old in out.glob("adversarial*"):
        if old.name in former - keep:
            old.unlink()
