"""The name of an experiment, data/backbone/defense, and what to say of one that is incomplete."""

from pathlib import Path

from advdpnp.data import SPECS
from advdpnp.defenses import DEFENSES
from advdpnp.experiments.ablations import ABLATIONS
from advdpnp.models import BACKBONES
from advdpnp.models.libraries import is_library_name

_EXAMPLE = {"data set": "cifar10", "backbone": "resnet18", "defense": "adv-dpnp"}
# Backbones that suit small images.
_SMALL = {"mnist": "lenets++", "digits": "tiny"}


def split_name(name: str) -> tuple[str, str, str]:
    """Data, backbone and defense of a name; data, and a backbone of another library, may have slashes of their own.

    Raises:
        ValueError: it has fewer than three parts; a whole name with the given ones is suggested.
    """
    if name.count("/") >= 2:
        parts = name.split("/")
        begin = next((place for place, part in enumerate(parts) if is_library_name(part)), len(parts) - 2)
        return "/".join(parts[:begin]), "/".join(parts[begin:-1]), parts[-1]
    wanted = "a training is named data/backbone/defense"
    if name and Path(name).is_dir():
        raise ValueError(f"{wanted}; got the folder {name!r}: give its images as --data folder:{name}")
    found = {kind: part for part in name.split("/") for kind in [_kind(part)] if kind}
    example = _EXAMPLE | ({"backbone": _SMALL.get(found.get("data set", ""), "resnet18")}) | found
    what = f", a {' and a '.join(found)} alone" if found else ""
    raise ValueError(
        f"{wanted}; got {name!r}{what}: give all three, for example {'/'.join(example.values())} "
        "(`advdpnp list` has the names)"
    )


def _kind(part: str) -> str | None:
    """What a part of a name is, if it is known."""
    tables = {"data set": [*SPECS], "backbone": [*BACKBONES], "defense": [*DEFENSES, *ABLATIONS]}
    return next((kind for kind, names in tables.items() if part in names), None)
