"""What a result says where all its attacks in l1 are weak ones, under which an accuracy means little."""

from collections.abc import Iterable

from advdpnp.attacks import SLIDE, Attack
from advdpnp.attacks.stepwise import stepwise_attacks
from advdpnp.runs import Json

WARNING = (
    "in l1 only weak attacks were run: steps along single coordinates stop at the box after a pixel each, dense ones "
    "gain little, and the accuracy in l1 can be far too high: run slide, apgd-ce or suite autoattack with norm l1 too"
)


def only_weak_in_l1(attacks: Iterable[Attack]) -> bool:
    """Whether there are attacks in l1, and none is SLIDE or one of those that choose how many pixels to move."""
    in_l1 = [attack for attack in attacks if attack.norm == "l1"]
    return bool(in_l1) and not any(isinstance(attack, SLIDE) or stepwise_attacks(attack) for attack in in_l1)


def with_l1_warning(result: Json, attacks: Iterable[Attack]) -> Json:
    """A result, with the warning where it is due.

    Args:
        result: content of eval/<suite>.json.
        attacks: of its suite.
    """
    if not only_weak_in_l1(attacks):
        return result
    return result | {"warnings": [*result.get("warnings", []), WARNING]}
