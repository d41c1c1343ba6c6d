"""Clean against robust accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from advdpnp.indices import chosen_text, images_text
from advdpnp.report.figures.tradeoff import ATTACKS_PER_FIGURE, defended, printed_marks, tradeoff
from advdpnp.report.read import Result, by_method
from advdpnp.report.sections.section import Picture, Section, binding, parts, picture
from advdpnp.report.tables import attack_keys
from advdpnp.results import AttackKey


def tradeoff_section(groups: list[list[Result]]) -> list[Section]:
    """The part on the price of robustness, where two methods, or one and the paper's own number, can be compared."""
    pictures = [
        _picture(group, keys, number)
        for group in map(defended, groups)
        for number, keys in enumerate(parts(_compared(group), ATTACKS_PER_FIGURE), start=1)
    ]
    text = (
        "A network that is more robust is often less accurate on clean images. Along a dotted line the mean of the "
        "two is the same; up and to the right is better. Networks trained without an attack are left out."
    )
    return [Section("tradeoff", "Clean against robust accuracy", text, [], pictures=pictures)] if pictures else []


def _compared(group: Sequence[Result]) -> list[AttackKey]:
    """Attacks under which two methods, or one and the paper's number, can be compared."""
    measured = {key: by_method(one for one in group if key in one.suite.attacks) for key in attack_keys(group)}
    return [key for key, methods in measured.items() if len(methods) > 1 or printed_marks(group, key)]


def _picture(group: list[Result], keys: Sequence[AttackKey], number: int) -> Picture:
    data, backbone, suite, n, indices = group[0].group
    chosen = chosen_text(indices, n)
    names = ", ".join(dict.fromkeys(result.run.method for result in group))
    attacks = ", ".join(dict.fromkeys(key.label for key in keys))
    caption = f"{images_text(indices, n)}; a mark for each seed, thin lines: its 95 % Wilson intervals."
    if any(printed_marks(group, key) for key in keys):
        caption += " Hollow: what the paper prints for the same attack on the whole test set."
    title = f"{group[0].place}: robust against clean accuracy, {suite} suite"
    alt = f"Scatter plot of accuracy under {attacks} against clean accuracy for {names}."
    name = f"tradeoff-{data}-{backbone}-{suite}-{n}{chosen}-{number}"
    return picture(name, title, alt, caption, binding(tradeoff, group, keys))
