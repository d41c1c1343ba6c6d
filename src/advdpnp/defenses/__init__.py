"""Defenses: one frozen dataclass per training method."""

from typing import Any

from advdpnp.defenses.adv_dpnp import AdvDPNP
from advdpnp.defenses.at import AT
from advdpnp.defenses.base import Batch, Defense
from advdpnp.defenses.dpnp import DPNP
from advdpnp.defenses.st import ST
from advdpnp.defenses.trades import TRADES

DEFENSES: dict[str, type[Defense[Any]]] = {defense.name: defense for defense in (ST, AT, TRADES, DPNP, AdvDPNP)}

__all__ = ["AT", "DEFENSES", "DPNP", "ST", "TRADES", "AdvDPNP", "Batch", "Defense"]
