"""Class by class, where an image and its adversarial image lie: what the page and the picture draw."""

from collections.abc import Sequence
from dataclasses import dataclass

from advdpnp.explaining.explanation import Explanation
from advdpnp.explaining.words import by_angle
from advdpnp.predicting import ClassCenter

# With more classes than this, only the nearest are drawn.
_DRAWN = 12


@dataclass(frozen=True)
class Line:
    """One class.

    Args:
        class_name: the class.
        before: distance and angle of the image to its center.
        after: the same of the adversarial image; None where there is none.
        predicted: whether the image is taken for it.
        becomes: whether the adversarial image is.
    """

    class_name: str
    before: ClassCenter
    after: ClassCenter | None
    predicted: bool
    becomes: bool

    @property
    def angles(self) -> list[float]:
        """Those that are defined, in degrees."""
        angles = (center.angle_degrees for center in (self.before, self.after) if center is not None)
        return [angle for angle in angles if angle is not None]


def all_lines(image: Explanation) -> list[Line]:
    """Every class, that of the smallest angle first; none for a network without class centers."""
    found = image.adversarial
    after = {} if found is None else {center.class_name: center for center in found.answer.prototypes}
    becomes = None if found is None else found.answer.class_name
    return [
        Line(
            center.class_name,
            center,
            after.get(center.class_name),
            center.class_name == image.prediction.class_name,
            center.class_name == becomes,
        )
        for center in by_angle(image.prediction.prototypes)
    ]


def drawn_lines(image: Explanation) -> list[Line]:
    """The classes that are drawn: the nearest, and in any case what the image is taken for and becomes."""
    lines = all_lines(image)
    if len(lines) <= _DRAWN:
        return lines
    wanted = {line.class_name for line in sorted(lines, key=lambda line: not (line.predicted or line.becomes))[:_DRAWN]}
    return [line for line in lines if line.class_name in wanted]


def axis_ticks(lines: Sequence[Line]) -> list[int]:
    """Ticks of an axis that has all angles between its ends, in degrees, evenly spaced."""
    angles = [angle for line in lines for angle in line.angles] or [0.0, 90.0]
    step = 10 if max(angles) - min(angles) < 60 else 30
    first, last = int(min(angles) - 1) // step * step, -(int(-max(angles) - 1) // step) * step
    return list(range(max(first, 0), min(last, 180) + 1, step))
