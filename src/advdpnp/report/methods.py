"""The methods that a report knows: title, color and marker of each, in the order in which they are shown.

Any other method shows under the title that its run stores, or its name, with a color and a marker of its own.
"""

from __future__ import annotations

import colorsys
from hashlib import sha256
from itertools import count
from typing import NamedTuple


class Method(NamedTuple):
    """How a method is shown: its title, its color in all figures and tables, its marker in figures."""

    title: str
    color: str
    marker: str


# What has no color: networks from elsewhere, and a variant that no figure compares.
INK = "#1F2933"
# Undefended first, the method of the paper last. Colors that color-blind eyes tell apart (Okabe and Ito; Tol's muted
# scheme for the rest).
METHODS = {
    "st": Method("ST", "#666666", "o"),
    "at": Method("AT", "#0072B2", "s"),
    "at-he": Method("AT-HE", "#332288", "^"),
    "trades": Method("TRADES", "#E69F00", "D"),
    "mart": Method("MART", "#882255", "v"),
    "alp": Method("ALP", "#999933", "<"),
    "oc": Method("OC", "#117733", ">"),
    "pcl": Method("PCL", "#56B4E9", "p"),
    "hat": Method("HAT", "#44AA99", "P"),
    "fsr": Method("FSR", "#AA4499", "X"),
    "dio": Method("DIO", "#C5A900", "h"),
    "ikl": Method("IKL", "#661100", "d"),
    "dpnp": Method("DPNP", "#009E73", "*"),
    "adv-dpnp": Method("Adv-DPNP", "#D55E00", "8"),
    "adv-dpnp-literal": Method("Adv-DPNP (Eq. 3 as printed)", INK, "."),
    "adv-dpnp-hat": Method("Adv-DPNP + HAT", "#7A4A2B", "H"),
}
FOREIGN = "foreign"
# Euclidean distance in RGB, each channel in [0, 1], of a derived color from those of the table; and the relative
# luminance that leaves a contrast of 3 to 1 with a white page.
_DISTANCE, _LUMINANCE = 0.15, 0.3


def method(defense: str, title: str = "") -> Method:
    """How a defense is shown.

    Args:
        defense: its name, or "foreign".
        title: what its run calls it; "" for nothing. The table's own titles stay.
    """
    if defense == FOREIGN:
        return Method(title or defense, INK, "o")
    if defense in METHODS:
        return METHODS[defense]
    markers = [known.marker for known in METHODS.values()]
    marker = markers[sha256(defense.encode()).digest()[-1] % len(markers)]
    return Method(title or defense.upper(), _derived_color(defense), marker)


def color(defense: str) -> str:
    """The color of a defense in all figures and tables, "#RRGGBB"."""
    return method(defense).color


def _derived_color(name: str) -> str:
    """A function of the name: dark enough to read on white, and no color of the table."""
    known = [_channels(found.color) for found in METHODS.values()]
    for attempt in count():
        hue, lightness, saturation = (byte / 255 for byte in sha256(f"{name} {attempt}".encode()).digest()[:3])
        found = colorsys.hls_to_rgb(hue, 0.25 + 0.3 * lightness, 0.45 + 0.5 * saturation)
        nearest = min(sum((a - b) ** 2 for a, b in zip(found, other, strict=True)) for other in known)
        if nearest >= _DISTANCE**2 and _luminance(found) <= _LUMINANCE:
            break
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in found)


def _channels(text: str) -> tuple[float, ...]:
    return tuple(byte / 255 for byte in bytes.fromhex(text[1:]))


def _luminance(channels: tuple[float, ...]) -> float:
    """Relative luminance of sRGB, as the WCAG defines it."""
    linear = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
