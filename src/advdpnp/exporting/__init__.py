"""A trained classifier as files that other programs load, with a model card and what was checked."""

from advdpnp.exporting.agreement import Probe, probe
from advdpnp.exporting.claim import Claim
from advdpnp.exporting.folder import check_folder, write_export
from advdpnp.exporting.formats import FORMATS, Unavailable, chosen
from advdpnp.exporting.subject import Subject

__all__ = ["FORMATS", "Claim", "Probe", "Subject", "Unavailable", "check_folder", "chosen", "probe", "write_export"]
