"""AutoAttack whose attacks do not agree: where one does alone what those before it together do not, something masks."""

from advdpnp.metrics.significance import exceeds
from advdpnp.runs import Json

# The share of all images that an attack may break of those that stand after the ones before it, on honest networks.
_SCALE_FREE, _OTHER = 0.1, 0.02
_NAMES = {"apgd-ce": "APGD-CE", "apgd-t": "APGD-T", "apgd-dlr": "APGD-DLR", "fab-t": "FAB-T", "square": "Square"}


def with_lone_attack_warnings(result: Json) -> Json:
    """A result that warns where a part of AutoAttack breaks many images that all parts before it left standing.

    Args:
        result: content of eval/<suite>.json; earlier warnings of this kind are replaced.
    """
    kept = [text for text in result.get("warnings", []) if not text.startswith(_BEGINNING)]
    found = kept + [text for row in result["attacks"] for text in _of_row(row, result["n"])]
    return result | {"warnings": found} if found or "warnings" in result else result


_BEGINNING = "the attacks of AutoAttack do not agree: "


def _of_row(row: Json, n: int) -> list[str]:
    said, before = [], list[str]()
    for search in row.get("searches", ()):
        name, broken, left = _NAMES.get(search["name"], search["name"]), search["broken"], search["attacked"]
        climbs = search["name"].startswith("apgd")
        if before and exceeds(broken, n, _SCALE_FREE if climbs else _OTHER):
            said.append(_text(name, broken, left, n, before, climbs, row["norm"]))
        before.append(name)
    return said


def _text(name: str, broken: int, left: int, n: int, before: list[str], climbs: bool, norm: str) -> str:
    others = before[0] if len(before) == 1 else f"{', '.join(before[:-1])} and {before[-1]} together"
    share = _SCALE_FREE if climbs else _OTHER
    what = "cross-entropy misleads" if climbs else "gradients seem to be masked"
    return (
        f"{_BEGINNING}in {norm} {name} breaks {broken} of {left} images that {others} left standing "
        f"({broken / n:.0%} of all; at most {share:.0%} on honest networks): {what}; look with advdpnp audit"
    )
