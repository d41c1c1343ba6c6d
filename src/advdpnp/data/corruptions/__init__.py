"""Common corruptions of images: their names, the published arrays, and the same nineteen generated anew."""

from advdpnp.data.corruptions.corrupt import corrupt
from advdpnp.data.corruptions.names import (
    CORRUPTIONS,
    FAMILY,
    SEVERITIES,
    check_corruption,
    layout,
    open_array,
    parse_corruption,
)

__all__ = [
    "CORRUPTIONS",
    "FAMILY",
    "SEVERITIES",
    "check_corruption",
    "corrupt",
    "layout",
    "open_array",
    "parse_corruption",
]
