"""Attacks: frozen dataclasses that are called with logits, images and labels."""

from advdpnp.attacks.attack import Attack, label, record
from advdpnp.attacks.carlini_wagner import CarliniWagner
from advdpnp.attacks.fgsm import FGSM
from advdpnp.attacks.pgd import PGD
from advdpnp.attacks.suite import Suite, suite, suite_names

ATTACKS = {attack.name: attack for attack in (FGSM, PGD, CarliniWagner)}

__all__ = ["ATTACKS", "FGSM", "PGD", "Attack", "CarliniWagner", "Suite", "label", "record", "suite", "suite_names"]
