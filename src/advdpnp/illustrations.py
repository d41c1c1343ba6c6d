"""The schema of eval/illustration/illustration.json: confusion and spread of features, clean and under one attack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from advdpnp.declared_fields import declared_values
from advdpnp.indices import first_or_chosen, of_the_first
from advdpnp.ranges import Count, Degrees, Natural, NonNegative, parse_eps
from advdpnp.result_parts import Environment
from advdpnp.results import SCHEMA, AttackKey
from advdpnp.runs import Json, Run, read_shown
from advdpnp.stored_values import check_schema

# Arrays of pictures, in the folder of a run's evaluations: attacked images; 2-D features; projections of wider ones.
SAMPLES, EMBEDDING, PROJECTION = "samples.npz", "embedding.npz", "projection.npz"


class Confused(NamedTuple):
    """Images of one class that are taken for another: the positions of both, and how many images."""

    true: int
    predicted: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How far the features of each class are spread, see `advdpnp.metrics.spread`; None where it is not defined.

    Args:
        angle_degrees: root mean square of the angle to the class's mean direction.
        angle_to_center_degrees: the same to the class center.
        radius: standard deviation of the length of the features over their mean length.
    """

    angle_degrees: list[Degrees | None]
    angle_to_center_degrees: list[Degrees | None]
    radius: list[NonNegative | None]


def mean_over_classes(values: Iterable[float | None]) -> float | None:
    """Mean of those that are defined; None where none is."""
    defined = [value for value in values if value is not None]
    return math.fsum(defined) / len(defined) if defined else None


@dataclass(frozen=True, kw_only=True)
class Illustration:
    """What a network makes of images, clean and under one attack.

    Args:
        n, indices: how many test images, and which.
        attack: as `advdpnp.attacks.record` describes it.
        class_names: one for each class.
        confusion: "clean" and "adversarial": counts, true classes in rows, predicted ones in columns.
        dimensions: width of the features; None for a network whose features are not known.
        centers: what the class centers are: "prototypes", near which features are brought, or "rows" of a linear layer.
        spread: "clean" and "adversarial".
        projected: images whose features are in projection.npz.
        notes: what limits the meaning of the numbers.
    """

    schema: int
    data: str
    n: Count
    indices: str
    checkpoint: str
    precision: str
    chunk: Count
    seed: int
    attack: dict[str, Any]
    class_names: list[str]
    confusion: dict[str, list[list[Natural]]]
    epoch: Natural | None = None
    weights: str = ""
    dimensions: Count | None = None
    centers: str = ""
    spread: dict[str, Spread] | None = None
    projected: Natural = 0
    notes: list[str] = field(default_factory=list)
    environment: dict[str, Any] = field(default_factory=dict, metadata={"kind": Environment})

    def json(self) -> Json:
        """As it is stored."""
        return asdict(self)

    @property
    def key(self) -> AttackKey:
        """The attack."""
        return AttackKey.read(self.attack)

    @property
    def images(self) -> str:
        """Which images, in words."""
        text = first_or_chosen(self.indices, self.n)
        return f"the {text}" if of_the_first(self.indices, self.n) else text

    def accuracy(self, of: str) -> float:
        """Share of the images on the diagonal of "clean" or "adversarial"."""
        return sum(row[place] for place, row in enumerate(self.confusion[of])) / self.n

    def most_confused(self, of: str, count: int) -> list[Confused]:
        """The classes that are taken for each other most often, the most frequent first."""
        pairs = [
            Confused(true, predicted, images)
            for true, row in enumerate(self.confusion[of])
            for predicted, images in enumerate(row)
            if images and true != predicted
        ]
        return sorted(pairs, key=lambda pair: (-pair.images, pair.true, pair.predicted))[:count]

    def confused_texts(self, of: str, count: int) -> list[str]:
        """These in words: "cat as dog (12 of 100)"."""
        names = self.class_names
        sizes = [sum(row) for row in self.confusion[of]]
        return [
            f"{names[true]} as {names[predicted]} ({images} of {sizes[true]})"
            for true, predicted, images in self.most_confused(of, count)
        ]


def read_illustration(stored: Json) -> Illustration:
    """A stored one, checked; KeyError, TypeError or ValueError where a field is not what it must be."""
    check_schema(stored, SCHEMA)
    values = declared_values(Illustration, stored)
    classes = len(values["class_names"])
    declared_values(AttackKey, values["attack"])
    parse_eps(values["attack"]["eps"])
    for of in ("clean", "adversarial"):
        _check_counts(values["confusion"][of], classes, values["n"])
    if values.get("spread") is not None:
        values["spread"] = {of: _spread(values["spread"][of], classes) for of in ("clean", "adversarial")}
    return Illustration(**values)


def _check_counts(rows: list[list[int]], classes: int, n: int) -> None:
    if sum(map(sum, rows)) != n:
        raise ValueError(f"confusion is no counts of {n} images")
    if [len(row) for row in rows] != [classes] * classes:
        raise ValueError(f"confusion is not of {classes} classes")


def _spread(stored: Mapping[str, Any], classes: int) -> Spread:
    found = Spread(**declared_values(Spread, stored))
    for values in (found.angle_degrees, found.angle_to_center_degrees, found.radius):
        if len(values) != classes:
            raise ValueError(f"a spread has not {classes} numbers")
    return found


def illustration_path(run: Run) -> Path:
    """Where it lies, apart from the evaluations, whose schema it does not have."""
    return run.eval_path("illustration/illustration.json")


def stored_illustration(run: Run) -> Illustration | None:
    """What is stored of a run; None where nothing is.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    path = illustration_path(run)
    if not path.is_file():
        return None
    return read_shown(path, "remove it, and make it again with advdpnp illustrate", read_illustration)


def illustration_text(found: Illustration) -> str:
    """What it shows, in lines."""
    clean, adversarial = found.accuracy("clean"), found.accuracy("adversarial")
    lines = [
        f"{found.data}, {found.images}, checkpoint {found.checkpoint}",
        f"attack: {found.key.details}",
        f"right: {clean:.2%} clean, {adversarial:.2%} attacked",
    ]
    for of, word in (("clean", "clean"), ("adversarial", "attacked")):
        if texts := found.confused_texts(of, 3):
            lines.append(f"most often confused, {word}: {', '.join(texts)}")
    if found.spread is not None:
        lines.append(f"{'spread of features, mean over classes':<40} {'clean':>9} {'attacked':>9}")
        sides = found.spread["clean"], found.spread["adversarial"]
        for name, unit, words in (
            ("angle_degrees", "°", "angle to the mean direction"),
            ("angle_to_center_degrees", "°", "angle to the class center"),
            ("radius", "%", "radius, of its mean"),
        ):
            shown = [spread_text(mean_over_classes(getattr(side, name)), unit) for side in sides]
            lines.append(f"  {words:<38} {shown[0]:>9} {shown[1]:>9}")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def spread_text(value: float | None, unit: str) -> str:
    """An angle in degrees, or a share in percent."""
    if value is None:
        return "—"
    return f"{100 * value:.1f} %" if unit == "%" else f"{value:.1f}{unit}"
