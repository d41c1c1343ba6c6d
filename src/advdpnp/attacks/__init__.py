"""Attacks: frozen dataclasses that are called with logits, images and labels."""

from advdpnp.attacks.adaptive import AdaptiveAPGD, AdaptivePGD
from advdpnp.attacks.apgd import APGDCE, APGDDLR, APGDT
from advdpnp.attacks.attack import Attack, Objective, label, record
from advdpnp.attacks.autoattack import AutoAttack, AutoAttackPlus, QuickAutoAttack
from advdpnp.attacks.collections import COLLECTIONS
from advdpnp.attacks.cw_l2 import CarliniWagnerL2
from advdpnp.attacks.deepfool import DeepFool
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.margin_pgd import MarginPGD
from advdpnp.attacks.mi_fgsm import MIFGSM
from advdpnp.attacks.min_eps import MinEps
from advdpnp.attacks.pgd import BIM, FGSM, PGD, CarliniWagner
from advdpnp.attacks.slide import SLIDE
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
        SLIDE,
        AdaptivePGD,
        AdaptiveAPGD,
        MarginPGD,
        AutoAttackPlus,
        BIM,
        MIFGSM,
        CarliniWagnerL2,
        DeepFool,
    )
}

__all__ = [
    "APGDCE",
    "APGDDLR",
    "APGDT",
    "ATTACKS",
    "BIM",
    "COLLECTIONS",
    "FABT",
    "FGSM",
    "MIFGSM",
    "PGD",
    "SLIDE",
    "AdaptiveAPGD",
    "AdaptivePGD",
    "Attack",
    "AutoAttack",
    "AutoAttackPlus",
    "CarliniWagner",
    "CarliniWagnerL2",
    "DeepFool",
    "MarginPGD",
    "MinEps",
    "Objective",
    "QuickAutoAttack",
    "Square",
    "Suite",
    "label",
    "record",
    "suite",
    "suite_names",
]
