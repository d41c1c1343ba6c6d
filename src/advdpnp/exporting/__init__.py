"""A trained classifier as files that other programs load, with a model card and what was checked."""

from advdpnp.exporting.agreement import ReferenceLogits, reference_logits
from advdpnp.exporting.exported_model import ExportedModel
from advdpnp.exporting.folder import check_folder, write_export
from advdpnp.exporting.formats import FORMATS, Unavailable, chosen
from advdpnp.exporting.paper_reference import PaperReference

__all__ = [
    "FORMATS",
    "ExportedModel",
    "PaperReference",
    "ReferenceLogits",
    "Unavailable",
    "check_folder",
    "chosen",
    "reference_logits",
    "write_export",
]
