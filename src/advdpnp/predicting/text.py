"""Predictions as text for people: a block for each image, or a line where there are many."""

from collections.abc import Iterator

from advdpnp.predicting.predictions import Failure, Prediction, Predictions, TrainingImage

# With more images than this, each gets one line.
_BLOCKS = 8


def predictions_text(predictions: Predictions) -> str:
    """All predictions as text, for people."""
    of = f"{predictions.source}, checkpoint {predictions.checkpoint}" if predictions.checkpoint else predictions.source
    failed = f", {len(predictions.failed)} of them not read" if predictions.failed else ""
    lines = [f"{of}; images: {len(predictions.images)}{failed}"]
    detailed = len(predictions.images) <= _BLOCKS
    for image in predictions.images:
        if isinstance(image, Failure):
            lines.append(f"{image.file}: {image.error}")
        elif detailed:
            lines += _block(image, predictions.prototypes_are)
        else:
            lines.append(_line(image))
    lines += [f"note: {note}" for note in predictions.notes]
    if predictions.predicted:
        lines.append("Probabilities are softmax outputs, not calibrated confidences.")
    return "\n".join(printable(line) for line in lines)


def printable(text: str) -> str:
    """The text on one line: an escape, such as \\n, for each character that is no visible one."""
    return "".join(c if c.isprintable() else escape(c) for c in text)


def escape(character: str) -> str:
    """A character as Python writes it in ASCII, such as \\u2028."""
    return character.encode("unicode_escape").decode()


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"


def _degrees(angle: float | None) -> str:
    return "undefined" if angle is None else f"{angle:.1f}°"


def _line(image: Prediction) -> str:
    rivals = ", ".join(f"{entry.class_name} {_percent(entry.probability)}" for entry in image.top[1:3])
    return f"{image.file}: {image.class_name} {_percent(image.probability)}" + (f"  ({rivals})" if rivals else "")


def _block(image: Prediction, prototypes_are: str | None) -> Iterator[str]:
    yield f"{image.file}: {image.class_name}, {_percent(image.probability)}"
    centers = {center.class_name: center for center in image.prototypes}
    width = max(len(entry.class_name) for entry in image.top)
    if centers:
        yield f"  {'':<{width}} {'probability':>12} {'angle':>10} {'distance':>10}   to the {prototypes_are}"
    for entry in image.top:
        row = f"  {entry.class_name:<{width}} {_percent(entry.probability):>12}"
        if centers:
            center = centers[entry.class_name]
            row += f" {_degrees(center.angle_degrees):>10} {center.distance:>10.4g}"
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
        angle = _degrees(other.angle_degrees)
        yield f"    {other.label:>{width}}  {other.class_name}  ({angle}, {other.distance:.4g})"
