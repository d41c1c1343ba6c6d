"""The picture and the text."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from advdpnp import api
from advdpnp.predicting import (
    ClassCenter,
    ClassProbability,
    Failure,
    Prediction,
    Predictions,
    TrainingImage,
    predictions_text,
    write_picture,
)
from advdpnp.predicting.picture import drawable
from advdpnp.predicting.text import printable

ODD = ("Löwe", "猫 $x_1$ 🐈", "a" * 80, "line\nbreak", "{brace} %s \\frac")


def answers(count: int = 1, names: tuple[str, ...] = ODD, **changes: object) -> Predictions:
    pixels = np.zeros((3, 4, 4), np.uint8)
    images = tuple(
        Prediction(
            file=f"{names[0]}-{row}.png",
            class_name=names[1],
            probability=0.5,
            top=tuple(ClassProbability(name, 0.5 / (place + 1)) for place, name in enumerate(names[:5])),
            prototypes=tuple(ClassCenter(name, 1.5, 40.0 + place) for place, name in enumerate(names)),
            nearest_training=(TrainingImage("image", 7, names[2], 0.25, None, pixels),),
            pixels=pixels,
        )
        for row in range(count)
    )
    return Predictions("runs/r", "last", "prototypes", images, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
def test_odd_names_and_every_format_are_drawn_without_a_warning(ending: str, tmp_path: Path) -> None:
    assert write_picture(answers(), tmp_path / f"out.{ending}") == 1
    assert (tmp_path / f"out.{ending}").stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir()] == [f"out.{ending}"]


def test_a_hundred_classes_an_undefined_angle_and_missing_files_are_drawn(tmp_path: Path) -> None:
    many = answers(names=tuple(f"class {number}" for number in range(100)))
    bare = Prediction("x.png", "a", 1.0, (ClassProbability("a", 1.0),), (ClassCenter("a", 0.0, None),), (
        TrainingImage("prototype", 1, "a", 0.5, 3.0, None),), np.zeros((1, 2, 2), np.uint8))  # fmt: skip
    for found in (many, Predictions("m", None, "class weights", (bare,)), Predictions("m", None, None, many.images)):
        assert write_picture(found, tmp_path / "out.png") == 1


def test_the_picture_shows_the_image_that_the_network_read(finished: Path, folder: Path, tmp_path: Path) -> None:
    found = api.predict(finished, folder / "part 0" / "ziffer-0.png")
    write_picture(found, tmp_path / "out.png")
    drawn = np.asarray(Image.open(tmp_path / "out.png").convert("L")).astype(int)
    # 1.2 inches at 150 points each, 0.35 and 0.45 inches from the corner.
    tile = drawn[68:247, 53:232]
    read = np.asarray(Image.open(found.predicted[0].file))
    centers = [int((place + 0.5) * 179 / 8) for place in range(8)]
    assert abs(tile[np.ix_(centers, centers)] - read).max() <= 1


def test_only_the_first_images_of_many_are_drawn(tmp_path: Path) -> None:
    assert write_picture(answers(count=41, names=("a", "b", "c")), tmp_path / "out.png") == 40


def test_another_ending_and_nothing_to_draw_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.pdf, \.png, \.svg; got .*out\.gif"):
        write_picture(answers(), tmp_path / "out.gif")
    with pytest.raises(ValueError, match="none of the 1 images could be read"):
        write_picture(Predictions("m", None, None, (Failure("a.png", "broken"),)), tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_names_are_escaped_and_shortened() -> None:
    assert drawable("Löwe", 10) == "Löwe"
    assert drawable("a\nb", 10) == printable("a\nb") == "a\\nb"
    assert drawable("abcdefghij", 7) == "abc…hij" and len(drawable("x" * 50, 17)) == 17


def test_text_has_a_block_for_few_images_and_a_line_for_many() -> None:
    few = predictions_text(answers())
    assert "to the prototypes" in few and "#7" in few and few.endswith("not calibrated confidences.")
    # A name with a line break cannot forge a line.
    assert not [line for line in few.splitlines() if line.startswith("break")]
    many = predictions_text(answers(count=9, notes=("no files",)))
    assert len(many.splitlines()) == 1 + 9 + 2 and "note: no files" in many
