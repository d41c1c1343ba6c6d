"""Predictions as text for people: a block for each image, or a line where there are many."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from advdpnp.predicting.predictions import Failure, Prediction, Predictions, TrainingImage

AnswerT = TypeVar("AnswerT")

# With more images than this, each gets one line.
_BLOCKS = 8


def predictions_text(predictions: Predictions) -> str:
    """All predictions as text, for people."""

    def block(image: Prediction) -> Iterator[str]:
        return _block(image, predictions.prototypes_are)

    said = [f"note: {note}" for note in predictions.notes]
    if predictions.predicted:
        said.append("Probabilities are softmax outputs, not calibrated confidences.")
    return answers_text(predictions.source, predictions.checkpoint, predictions.images, block, _line, said)


def answers_text(
    source: str,
    checkpoint: str | None,
    images: Sequence[AnswerT | Failure],
    block: Callable[[AnswerT], Iterable[str]],
    line: Callable[[AnswerT], str],
    said: Sequence[str],
) -> str:
    """Answers about images as text: lines for each, or one line where there are many.

    Args:
        source: the run's folder, or the class of the model.
        checkpoint: of the run.
        images: the answers, or why there is none.
        block: the lines of an answer.
        line: the same in one line.
        said: lines at the end.
    """
    of = f"{source}, checkpoint {checkpoint}" if checkpoint else source
    count = sum(isinstance(image, Failure) for image in images)
    lines = [f"{of}; images: {len(images)}" + (f", {count} of them not read" if count else "")]
    for image in images:
        if isinstance(image, Failure):
            lines.append(f"{image.file}: {image.error}")
        elif len(images) <= _BLOCKS:
            lines += block(image)
        else:
            lines.append(line(image))
    return "\n".join(printable(each) for each in [*lines, *said])


def printable(text: str) -> str:
    """The text on one line: an escape, such as \\n, for each character that is no visible one."""
    return "".join(c if c.isprintable() else escape(c) for c in text)


def escape(character: str) -> str:
    """A character as Python writes it in ASCII, such as \\u2028."""
    return character.encode("unicode_escape").decode()


def percent(probability: float) -> str:
    """A share in [0, 1] in percent."""
    return f"{100 * probability:.1f} %"


def degrees(angle: float | None) -> str:
    """An angle in degrees; None for that of a zero vector."""
    return "undefined" if angle is None else f"{angle:.1f}°"


def _line(image: Prediction) -> str:
    rivals = ", ".join(f"{entry.class_name} {percent(entry.probability)}" for entry in image.top[1:3])
    return f"{image.file}: {image.class_name} {percent(image.probability)}" + (f"  ({rivals})" if rivals else "")


def _block(image: Prediction, prototypes_are: str | None) -> Iterator[str]:
    yield f"{image.file}: {image.class_name}, {percent(image.probability)}"
    centers = {center.class_name: center for center in image.prototypes}
    width = max(len(entry.class_name) for entry in image.top)
    if centers:
        yield f"  {'':<{width}} {'probability':>12} {'angle':>10} {'distance':>10}   to the {prototypes_are}"
    for entry in image.top:
        row = f"  {entry.class_name:<{width}} {percent(entry.probability):>12}"
        if centers:
            center = centers[entry.class_name]
            row += f" {degrees(center.angle_degrees):>10} {center.distance:>10.4g}"
        yield row
    near = [other for other in image.nearest_training if other.to == "prototype"]
    if near:
        vector = (prototypes_are or "").removesuffix("s")
        yield f"  training images nearest to the {vector} of {image.class_name} (angle, distance):"
        yield from _listed(near)
    near = [other for other in image.nearest_training if other.to == "image"]
    if near:
        yield "  training images nearest to this image (angle, distance):"
        yield from _listed(near)


def _listed(images: list[TrainingImage]) -> Iterator[str]:
    width = max(8, *(len(other.label) for other in images))
    for other in images:
        angle = degrees(other.angle_degrees)
        yield f"    {other.label:>{width}}  {other.class_name}  ({angle}, {other.distance:.4g})"
