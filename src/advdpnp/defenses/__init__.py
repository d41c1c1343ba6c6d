"""Defenses: one frozen dataclass per training method."""

from typing import Any

from advdpnp.defenses.adv_dpnp import AdvDPNP
from advdpnp.defenses.adv_dpnp_fsr import AdvDPNPFSR
from advdpnp.defenses.adv_dpnp_hat import AdvDPNPHAT
from advdpnp.defenses.alp import ALP
from advdpnp.defenses.at import AT
from advdpnp.defenses.at_he import ATHE
from advdpnp.defenses.base import Batch, Defense
from advdpnp.defenses.dio import DIO
from advdpnp.defenses.dpnp import DPNP
from advdpnp.defenses.fsr import FSR
from advdpnp.defenses.hat import HAT
from advdpnp.defenses.ikl import IKL
from advdpnp.defenses.mart import MART
from advdpnp.defenses.oc import OC
from advdpnp.defenses.pcl import PCL
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
        OC,
        PCL,
        HAT,
        FSR,
        DIO,
        IKL,
        DPNP,
        AdvDPNP,
        AdvDPNPHAT,
        AdvDPNPFSR,
    )
}

__all__ = [
    "ALP",
    "AT",
    "ATHE",
    "DEFENSES",
    "DIO",
    "DPNP",
    "FSR",
    "HAT",
    "IKL",
    "MART",
    "OC",
    "PCL",
    "ST",
    "TRADES",
    "AdvDPNP",
    "AdvDPNPFSR",
    "AdvDPNPHAT",
    "Batch",
    "Defense",
]
