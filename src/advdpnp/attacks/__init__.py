"""Attacks: frozen dataclasses that are called with logits, images and labels."""

from advdpnp.attacks.apgd import APGDCE, APGDDLR, APGDT
from advdpnp.attacks.attack import Attack, label, record
from advdpnp.attacks.autoattack import AutoAttack, QuickAutoAttack
from advdpnp.attacks.collections import COLLECTIONS
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.min_eps import MinEps
from advdpnp.attacks.pgd import FGSM, PGD, CarliniWagner
from advdpnp.attacks.square import Square
from advdpnp.attacks.suites import Suite, suite, suite_names

ATTACKS = {
    attack.name: attack
    for attack in (
        FGSM,
        PGD,
        CarliniWagner,
        APGDCE,
        APGDDLR,
        APGDT,
        FABT,
        Square,
        MinEps,
        AutoAttack,
        QuickAutoAttack,
    )
}

__all__ = [
    "APGDCE",
    "APGDDLR",
    "APGDT",
    "ATTACKS",
    "COLLECTIONS",
    "FABT",
    "FGSM",
    "PGD",
    "Attack",
    "AutoAttack",
    "CarliniWagner",
    "MinEps",
    "QuickAutoAttack",
    "Square",
    "Suite",
    "label",
    "record",
    "suite",
    "suite_names",
]
