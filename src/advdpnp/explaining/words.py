"""Explanations in sentences, for the page, the picture and the terminal."""

from collections.abc import Iterator, Sequence

from advdpnp.attack_words import NORMS, attack_label
from advdpnp.explaining.explanation import Adversarial, Explanation, Explanations, Score
from advdpnp.predicting import ClassCenter
from advdpnp.predicting.text import answers_text, degrees, percent
from advdpnp.ranges import eps_text


def explanations_text(found: Explanations) -> str:
    """All explanations as text, for people."""

    def said(image: Explanation) -> str:
        return f"{image.prediction.file}: {answer(image)}"

    def block(image: Explanation) -> list[str]:
        return [said(image), *(f"  {line}" for line in sentences(image, found))]

    def line(image: Explanation) -> str:
        return f"{said(image)}; {in_short(image, found)}"

    notes = [f"note: {note}" for note in found.notes]
    return answers_text(found.source, found.checkpoint, found.images, block, line, notes)


def answer(image: Explanation) -> str:
    """The class, its probability, and whether it is right."""
    said = f"{image.prediction.class_name}, {percent(image.prediction.probability)}"
    if image.label is None:
        return said
    return f"{said} (right)" if image.right else f"{said} (wrong: it is labeled {image.label})"


def sentences(image: Explanation, of: Explanations) -> list[str]:
    """What there is to say of one image, a sentence or two in each line."""
    lines = [nearest_centers(image.prediction.prototypes, of.prototypes_are), *_attacked(image, of)]
    return [line for line in [*lines, rejecting(image, of)] if line]


def in_short(image: Explanation, of: Explanations) -> str:
    """The smallest eps in a few words."""
    if image.at_goal:
        return "smallest eps 0"
    if image.adversarial is None:
        return f"nothing found up to {radius(of.largest_eps, of)}"
    return f"eps {radius(image.adversarial.distance, of)} makes it {image.adversarial.answer.class_name}"


def radius(value: float, of: Explanations) -> str:
    """A radius with its unit, as "5.1/255 in ℓ∞"."""
    return f"{_number(value, of)} in {NORMS[of.norm]}"


def amplification(times: float) -> str:
    """By how much a difference is amplified."""
    return f"{times:.2g}" if times < 10 else f"{times:,.0f}"


def attack_text(of: Explanations) -> str:
    """The attack, and how far it looked."""
    name = attack_label(of.attack["name"], of.attack["steps"])
    return f"{name} in {NORMS[of.norm]}, radius at most {_number(of.largest_eps, of)}"


def by_angle(centers: Sequence[ClassCenter]) -> list[ClassCenter]:
    """The class centers, that of the smallest angle first; those without an angle last, by distance."""
    return sorted(centers, key=lambda center: (center.angle_degrees is None, center.angle_degrees, center.distance))


def nearest_centers(centers: Sequence[ClassCenter], prototypes_are: str | None) -> str:
    """The nearest class center and the runner-up; "" where there are none."""
    if not centers:
        return ""
    vector = {"prototypes": "prototype", "class weights": "class weight"}.get(prototypes_are or "", "class center")
    if all(center.angle_degrees is None for center in centers):
        return f"The embedding is zero, so that it has no angle to any {vector}."
    first, *others = by_angle(centers)
    text = f"The nearest {vector} by angle is {first.class_name} ({_place(first)})"
    text += f"; the runner-up is {others[0].class_name} ({_place(others[0])})." if others else "."
    closest = min(centers, key=lambda center: center.distance)
    if closest.distance < first.distance:
        text += f" By distance the nearest is {closest.class_name} ({_place(closest)})."
    return text


def rejecting(image: Explanation, of: Explanations) -> str:
    """Where the score that is best made for this network lies, and whether a threshold would reject the answer."""
    name = {"prototypes": "distance", None: "max-softmax"}.get(of.prototypes_are, "angle")
    score = image.scores[name]
    text = f"Its reject score ({name}) is {score.value:.4g}"
    if score.below is not None:
        text += f"; {share_below(score)} of the test images score lower"
    if score.accepted is None:
        return f"{text}."
    verdict = "accepted" if score.accepted else "rejected"
    return f"{text}. It is {verdict} at the threshold that 95 % of the test images pass, {score.threshold:.4g}."


def share_below(score: Score) -> str:
    """The share of the test images that score lower, as stored histograms bound it; "" where it is not known."""
    if score.below is None:
        return ""
    low, high = (f"{100 * share:.1f}" for share in score.below)
    return f"{low} %" if low == high else f"{low} to {high} %"


def _attacked(image: Explanation, of: Explanations) -> Iterator[str]:
    if image.at_goal:
        yield (
            f"It is {image.target} already: there is nothing for the attack to do."
            if image.target is not None
            else "It is misclassified without any perturbation: its smallest eps is 0. A search with the target "
            f"{image.label} would tell how little makes it right."
        )
        return
    aim = f"makes it {image.target}" if image.target is not None else f"changes the class from {image.attacked_class}"
    found = image.adversarial
    if found is None:
        yield (
            f"No perturbation that {aim} was found up to {radius(of.largest_eps, of)}. That is no proof that there is "
            "none: a better attack may find one."
        )
        return
    yield from _what_was_found(found, image, of)
    yield _moved(image, found)
    yield _stored(found, image, of)


def _what_was_found(found: Adversarial, image: Explanation, of: Explanations) -> Iterator[str]:
    becomes = f"The image then becomes {found.answer.class_name} ({percent(found.answer.probability)})."
    which = f" that makes it {image.target}" if image.target is not None else ""
    if of.seeks_nearest:
        yield (
            f"Smallest perturbation found{which}: {radius(found.distance, of)}, an upper bound: a better attack may "
            f"find a smaller one. {becomes}"
        )
    else:
        yield (
            f"Perturbation found{which}: {radius(found.distance, of)}; the attack looks for any within its radius, "
            f"not for the smallest. {becomes}"
        )
    if of.usual_eps is not None and of.data:
        within = found.distance <= of.usual_eps
        usual = f"{eps_text(of.usual_eps)}, the usual radius of {of.data}"
        yield (
            f"That is within {usual}: there the image is broken."
            if within
            else f"That is beyond {usual}: this attack leaves the image standing there."
        )


def _moved(image: Explanation, found: Adversarial) -> str:
    """How the angles to the two classes change; "" without centers."""
    before = {center.class_name: center.angle_degrees for center in image.prediction.prototypes}
    after = {center.class_name: center.angle_degrees for center in found.answer.prototypes}
    one, other = image.prediction.class_name, found.answer.class_name
    if any(angles.get(name) is None for angles in (before, after) for name in (one, other)):
        return ""
    ways = [(degrees(before[name]), degrees(after[name]), name) for name in (one, other)]
    if all(start == end for start, end, _ in ways):
        return ""
    (start, end, _), (other_start, other_end, _) = ways
    return f"Its angle to {one} goes from {start} to {end}, that to {other} from {other_start} to {other_end}."


def _stored(found: Adversarial, image: Explanation, of: Explanations) -> str:
    picture = found.stored
    if picture is None:
        return ""
    name = picture.file or "As a picture"
    if picture.at_goal:
        return (
            f"{name}, in whole levels of 1/{of.levels}, is {radius(picture.distance, of)} away, and the network says "
            f"{picture.answer.class_name} of it too."
        )
    back = picture.answer.class_name
    return (
        f"Rounding to whole levels of 1/{of.levels} undoes it: of {name}, {radius(picture.distance, of)} away, the "
        f"network says {back}" + (" again." if back == image.prediction.class_name else ".")
    )


def _place(center: ClassCenter) -> str:
    return f"distance {center.distance:.4g}, angle {degrees(center.angle_degrees)}"


def _number(value: float, of: Explanations) -> str:
    # As the radius that was tried is written.
    return f"{255 * value:.3g}/255" if "/" in eps_text(of.largest_eps) and of.norm == "linf" else f"{value:.3g}"
