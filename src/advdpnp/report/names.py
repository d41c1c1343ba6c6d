"""Methods, attacks and norms as people call them, and the order in which they are shown."""

from __future__ import annotations

# The order of tables and figures: undefended first, the method of the paper last.
METHODS = {
    "st": "ST",
    "at": "AT",
    "at-he": "AT-HE",
    "trades": "TRADES",
    "mart": "MART",
    "alp": "ALP",
    "oc": "OC",
    "pcl": "PCL",
    "hat": "HAT",
    "fsr": "FSR",
    "dio": "DIO",
    "ikl": "IKL",
    "dpnp": "DPNP",
    "adv-dpnp": "Adv-DPNP",
    "adv-dpnp-literal": "Adv-DPNP (Eq. 3 as printed)",
}
_ATTACKS = {
    "cw": "C&W",
    "apgd-ce": "APGD-CE",
    "apgd-dlr": "APGD-DLR",
    "apgd-t": "APGD-T",
    "fab-t": "FAB-T",
    "square": "Square",
    "autoattack": "AutoAttack",
    "autoattack-quick": "AutoAttack (quick tier)",
    "deepfool": "DeepFool",
}
# What attacks that are made of several are made of.
SEARCHES = {
    "autoattack": "APGD-CE, APGD-T, FAB-T and Square, with the authors' budgets",
    "autoattack-quick": "APGD-CE and APGD-T of 50 steps, Square of 250 queries; a first look, not AutoAttack, under "
    "which accuracy is at most this",
}
NORMS = {"linf": "ℓ∞", "l2": "ℓ2", "l1": "ℓ1"}


def method_name(defense: str) -> str:
    """The method as people call it: adv-dpnp -> Adv-DPNP."""
    return METHODS.get(defense, defense.upper())


def attack_name(text: str) -> str:
    """An attack as arrays and geometry name it, "pgd-40 linf 8/255", as people do: PGD-40, ℓ∞ 8/255."""
    name, *budget = text.split(" ")
    kind, _, steps = name.rpartition("-")
    if not steps.isdigit():
        kind, steps = name, "1"
    label = attack_label(kind, int(steps))
    return f"{label}, {NORMS.get(budget[0], budget[0])} {' '.join(budget[1:])}" if budget else label


def attack_label(name: str, steps: int | None) -> str:
    """Name and number of steps: PGD-40; AutoAttack has none of its own."""
    known = _ATTACKS.get(name, name.upper())
    return f"{known}-{steps}" if steps and steps > 1 else known
