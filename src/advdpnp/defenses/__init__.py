"""Defenses: one frozen dataclass per training method."""

from typing import Any

from advdpnp.defenses.adv_dpnp import AdvDPNP
from advdpnp.defenses.adv_dpnp_hat import AdvDPNPHAT
from advdpnp.defenses.alp import ALP
from advdpnp.defenses.at import AT
from advdpnp.defenses.at_he import ATHE
from advdpnp.defenses.base import Batch, Defense
from advdpnp.defenses.dpnp import DPNP
from advdpnp.defenses.hat import HAT
from advdpnp.defenses.ikl import IKL
from advdpnp.defenses.mart import MART
from advdpnp.defenses.st import ST
from advdpnp.defenses.trades import TRADES

DEFENSES: dict[str, type[Defense[Any]]] = {
    defense.name: defense
    for defense in (
        ST,
        AT,
        TRADES,
        MART,
        ATHE,
        ALP,
        HAT,
        IKL,
        DPNP,
        AdvDPNP,
        AdvDPNPHAT,
    )
}

__all__ = [
    "ALP",
    "AT",
    "ATHE",
    "DEFENSES",
    "DPNP",
    "HAT",
    "IKL",
    "MART",
    "ST",
    "TRADES",
    "AdvDPNP",
    "AdvDPNPHAT",
    "Batch",
    "Defense",
]
