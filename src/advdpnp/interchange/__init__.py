"""A trained classifier as files that other programs load, with a model card and what was checked."""

from advdpnp.interchange.agreement import Probe, probe
from advdpnp.interchange.claim import Claim
from advdpnp.interchange.folder import check_folder, write_export
from advdpnp.interchange.formats import FORMATS, Unavailable, chosen
from advdpnp.interchange.subject import Subject

__all__ = ["FORMATS", "Claim", "Probe", "Subject", "Unavailable", "check_folder", "chosen", "probe", "write_export"]
