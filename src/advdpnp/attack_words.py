"""Attacks in words: their names, norms, settings and smallest radii as people write them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

_ATTACKS = {
    "cw": "C&W", "apgd-ce": "APGD-CE", "apgd-dlr": "APGD-DLR", "apgd-t": "APGD-T", "fab-t": "FAB-T", "square": "Square",
    "autoattack": "AutoAttack", "autoattack-quick": "AutoAttack (quick tier)", "deepfool": "DeepFool",
    "min-eps": "Min-eps", "adaptive-pgd": "Adaptive PGD", "adaptive-apgd": "Adaptive APGD",
    "autoattack-plus": "AutoAttack and more", "margin-pgd": "Margin PGD", "cw-l2": "C&W-L2",
}  # fmt: skip
SEARCHES = {
    "autoattack": "APGD-CE, APGD-T, FAB-T and Square, with the authors' budgets",
    "autoattack-quick": "APGD-CE and APGD-T of 50 steps, Square of 250 queries; a first look, not AutoAttack, under "
    "which accuracy is at most this",
    "autoattack-plus": "AutoAttack, then the margins of logits and of probabilities with restarts, and APGD and Square "
    "from other starts",
}
NORMS = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}
# Settings that have a better text than "name = value"; every other one is named by its field.
_SETTINGS = {
    "kappa": "κ = {}", "targets": "{} targets", "rho": "ρ = {}", "multi_eps": "radii 3ε, 2ε and ε",
    "alpha_max": "α at most {}", "target": "target class {}", "eta": "η = {}", "beta": "β = {}", "p_init": "p = {}",
    "eot": "mean of {} draws", "crafted_on": "crafted on {}", "overshoot": "overshoot {}",
    "objective": "on the objective of {}", "loss": "of {}",
}  # fmt: skip


# The attacks of the Ensemble of Adv-DPNP's Table 2, after FSR (Kim et al. 2023): names and steps.
_ENSEMBLE = {("fgsm", 1), ("pgd", 20), ("pgd", 100), ("cw", 30)}


def worst_case_name(attacks: Iterable[tuple[str, int | None]]) -> str:
    """What accuracy on clean images and under all of these attacks is called; attacks by name and steps, each once."""
    return "worst case (Ensemble)" if set(attacks) == _ENSEMBLE else "worst case"


def attack_label(name: str, steps: int | None) -> str:
    """Name and number of steps: PGD-40; AutoAttack has none of its own."""
    known = _ATTACKS.get(name, name.upper())
    return f"{known}-{steps}" if steps and steps > 1 else known


def attack_name(text: str) -> str:
    """An attack as arrays and geometry name it, "pgd-40 linf 8/255", in the field's notation: PGD-40, ℓ∞ 8/255."""
    name, *budget = text.split(" ")
    kind, _, steps = name.rpartition("-")
    if not steps.isdigit():
        kind, steps = name, "1"
    known = attack_label(kind, int(steps))
    return f"{known}, {NORMS.get(budget[0], budget[0])} {' '.join(budget[1:])}" if budget else known


def setting_text(name: str, value: Hashable) -> str:
    """A field of an attack that departs from its default."""
    number = f"{value:.10g}" if isinstance(value, float) else str(value)
    words = "" if value is False else _SETTINGS.get(name, "")
    return words.format(number) if words else f"{name} = {number}"


def radius_text(radius: float | None, norm: str, eps: str) -> str:
    """A radius as people read it: "0.0208 (5.31/255)" in linf, "0.0208" in other norms; "beyond 8/255" for None."""
    if radius is None:
        return f"beyond {eps}"
    return f"{radius:.3g} ({255 * radius:.3g}/255)" if norm == "linf" else f"{radius:.3g}"


def radii_texts(row: Mapping[str, Any]) -> list[str]:
    """What an attack's row says of smallest radii, in lines; none where it says nothing of them."""
    if not row.get("smallest_eps"):
        return []
    found = row["smallest_eps"]
    if not found["correct"]:
        return ["smallest eps: no image is right without an attack"]
    numbers = found["median"], found["mean"], found["quantiles"]["0.05"], found["quantiles"]["0.95"]
    median, mean, low, high = (radius_text(number, row["norm"], row["eps"]) for number in numbers)
    least = "at least " if found["censored"] else ""
    lines = [
        f"smallest eps found, median {median}, mean {least}{mean}, 5 % to 95 % of them {low} to {high}",
        f"of {found['correct']} right images; each is an upper bound: the true one may be smaller",
    ]
    if found["censored"]:
        beyond = found["censored"]
        verb = "was" if beyond == 1 else "were"
        lines.append(f"{beyond} of them {verb} not broken up to {row['eps']}: censored, not measured")
    return lines


def tier_text(tier: Mapping[str, Any], robust_accuracy: float, n: int) -> str:
    """What the rest of an attack has done beyond its first part, such as AutoAttack.

    Args:
        tier: the part, with the accuracy under it.
        robust_accuracy: what the whole attack left.
        n: images of the test set.
    """
    more = round((tier["robust_accuracy"] - robust_accuracy) * n)
    images = "1 image" if more == 1 else f"{more or 'no'} images"
    return f"{images} that {tier['name']} leaves standing {'falls' if more == 1 else 'fall'} to what follows it"


def aim_text(targeted: Mapping[str, Any]) -> str:
    """How often an attack reached the class that it aims at, in words."""
    low, high = targeted.get("interval95", (0.0, 1.0))
    success = f"{targeted['success']:.2%} [{low:.2%}, {high:.2%}]" if "success" in targeted else "none"
    others = f"{targeted['images']} images that are right and of another class"
    return f"class {targeted['class']} is reached for {success} of {others}"
