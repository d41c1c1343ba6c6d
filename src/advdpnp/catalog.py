"""Names and descriptions of all defenses, experiments, attacks, suites, data sets and so on, for `advdpnp list`.

They are those of the registries (`advdpnp.descriptions`), whose import takes seconds. So they stand in an index too,
which is read instead as long as nobody has imported the registries and their files are those it was made from.
"""

import hashlib
import json
import sys
from pathlib import Path

from advdpnp.importing import installed_defenses
from advdpnp.ranges import nearest

# Text by name, by kind.
Tables = dict[str, dict[str, str]]

_PACKAGE = Path(__file__).parent
INDEX = _PACKAGE / "catalog_index.json"
# The files that tell which names there are: whoever adds one changes one of them.
_REGISTRIES = (
    "attacks/__init__.py",
    "attacks/collections.py",
    "attacks/suites.py",
    "data/sets.py",
    "defenses/__init__.py",
    "descriptions.py",
    "experiments/ablations.py",
    "metrics/__init__.py",
    "models/__init__.py",
    "models/libraries/__init__.py",
)


def digests() -> dict[str, str]:
    """The start of the SHA-256 sum of each registry's file."""
    texts = {name: (_PACKAGE / name).read_text(encoding="utf-8") for name in _REGISTRIES}
    return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in texts.items()}


def catalog(kind: str = "") -> Tables:
    """Tables of names and descriptions, by kind.

    Args:
        kind: the one table that is wanted, such as "attacks"; "" for all.
    Raises:
        ValueError: there is no such kind.
    """
    tables = _tables()
    if kind and kind not in tables:
        raise ValueError(f"there is no list of {kind!r}; nearest: {nearest(kind, tables)}")
    return {title: rows for title, rows in tables.items() if kind in ("", title)}


def _tables() -> Tables:
    tables = _indexed() or _described()
    elsewhere = {name: f"an installed package's: {point.value}" for name, point in installed_defenses().items()}
    return tables | {"defenses": elsewhere | tables["defenses"]}


def _indexed() -> Tables | None:
    """What the index says; None where something may have changed since it was made."""
    # A defense may have been registered by hand.
    if "advdpnp.defenses" in sys.modules or not INDEX.is_file():
        return None
    index = json.loads(INDEX.read_text(encoding="utf-8"))
    tables: Tables = index["tables"]
    return tables if index["registries"] == digests() else None


def _described() -> Tables:
    from advdpnp.descriptions import described

    return described()


def catalog_text(tables: Tables) -> str:
    """The tables as text, one name per line."""
    lines = []
    for title, rows in tables.items():
        width = max(18, *map(len, rows))
        lines += [f"{title}:", *(f"  {name:<{width}} {text}".rstrip() for name, text in rows.items())]
    return "\n".join(lines)
