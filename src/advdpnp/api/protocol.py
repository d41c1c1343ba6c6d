"""The attacks that a caller asks for: a suite by name, in a norm, at a radius; or attacks as objects and texts."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from advdpnp import attacks
from advdpnp.attacks import ATTACKS, Attack, AutoAttack, AutoAttackPlus, QuickAutoAttack, Suite, suite_names
from advdpnp.attacks.adaptive import with_objective
from advdpnp.attacks.attack import Objective
from advdpnp.attacks.collections import COLLECTIONS
from advdpnp.attacks.suites import check_suite_norm, l1_radius, l2_radius
from advdpnp.audit_files import is_audit
from advdpnp.defenses import Defense
from advdpnp.experiments.config import decode
from advdpnp.ranges import Count, NonNegative, check, check_fields, nearest
from advdpnp.threat import eps_text, parse_eps

# A suite's name, a suite, or attacks, as objects or as texts such as "pgd:eps=0.3,steps=40,step_size=0.01".
Protocol = str | Suite | Attack | Sequence[Attack | str]
# A radius, as a number or as people write it: 8 / 255, "8/255".
Radius = float | str

# A radius of linf that is so many times the usual one may be meant for l2; suite curve goes up to twice.
_WIDE = 4
# What is put behind a suite's name where it is not as usual.
_VARIANT = r"-(l1|l2|linf|tf32|bf16|eps-.*|eot-.*|transfer-.*)"


@dataclass(frozen=True)
class Radii:
    """Radii of attacks that do not say theirs.

    Args:
        usual: the field's radius by norm.
        of: what they are usual for, for messages, such as a data set's name.
        pixels: values of one image, from which an l2 radius follows that is as wide as that of linf.
        asked: one for all norms instead of these; None for the usual ones.
        named: whether a suite by name is called after a radius that is not usual, as where results are stored.
    """

    usual: Mapping[str, float]
    of: str
    pixels: Count
    asked: NonNegative | None = None
    named: bool = True

    def __post_init__(self) -> None:
        check_fields(self)

    def __getitem__(self, norm: str) -> float:
        """In a norm; ValueError where none is asked for and none is usual."""
        radius = self.usual.get(norm) if self.asked is None else self.asked
        if radius is None:
            linf = self.usual["linf"]
            example = eps_text((l1_radius if norm == "l1" else l2_radius)(linf, self.pixels))
            raise ValueError(
                f"{self.of} has no usual radius in {norm}: give one, as --eps {example}, or in an attack by hand as "
                f"norm={norm},eps={example} ({example} is about as wide as {eps_text(linf)} in linf)"
            )
        return radius

    def remark(self, norm: str | None) -> str:
        """A word on a radius that is so wide in linf that it may be meant for l2; "" where there is no need."""
        linf = self.usual["linf"]
        if norm is not None or self.asked is None or self.asked <= _WIDE * linf:
            return ""
        return (
            f"eps {eps_text(self.asked)} is taken in linf, where {eps_text(linf)} is usual for {self.of}: if it is "
            "meant in l2, give norm l2 too"
        )


def radius_of(eps: Radius | None) -> float | None:
    """The number in a radius such as 0.03 or "8/255"; ValueError where there is none."""
    if eps is None:
        return None
    radius = parse_eps(eps) if isinstance(eps, str) else eps
    check("eps", radius, NonNegative)
    return float(radius)


def attack_by_hand(text: str, eps: float | Radii, norm: str | None = None) -> Attack:
    """The attack in "NAME:field=value,...", such as "pgd:eps=0.3,steps=40,step_size=0.01".

    Args:
        text: name of an attack and its fields; budgets are numbers or fractions.
        eps: radius where the text gives none.
        norm: where the text gives none; None for the attack's default.
    Raises:
        ValueError: unknown name, field or value; the nearest ones are listed.
    """
    name, _, rest = text.partition(":")
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; nearest: {nearest(name, ATTACKS)}")
    values: dict[str, str | float] = {}
    for part in rest.split(",") if rest else ():
        field, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or field in values:
            raise ValueError(f"--attack takes NAME:field=value,... with each field once; got {part!r} in {text!r}")
        values[field] = value
    kind: Any = ATTACKS[name]
    if norm is not None:
        values.setdefault("norm", norm)
    attack: Attack = decode(kind, {"eps": 0.0} | values, name)
    if "eps" in values:
        return attack
    # Of the attack's own norm: a radius of linf is next to nothing in l2.
    radius = eps[attack.norm] if isinstance(eps, Radii) else eps
    complete: Attack = decode(kind, {"eps": radius} | values, name)
    return complete


def suite_of(protocol: Protocol, radii: Radii, norm: str | None = None, name: str | None = None) -> Suite:
    """The suite that a caller asks for.

    Args:
        protocol: a suite's name, a suite, an attack, or attacks.
        radii: of what gives none; a suite by name is called after a radius that is not the usual one, and after a norm
            other than linf, so that results do not meet.
        norm: "linf", "l2" or "l1", of a suite by name and of texts that give none; None for linf.
        name: what attacks are called; None for "custom".
    Raises:
        ValueError: unknown names, no attacks, or a name that reads like another suite.
    """
    if norm is not None:
        check_suite_norm(norm)
    if isinstance(protocol, Suite):
        return _own_suite(protocol, radii, norm)
    if isinstance(protocol, str):
        return _suite_by_name(protocol, radii, norm or "linf")
    members = _members(protocol, radii, norm)
    called = name or ("custom" if norm in (None, "linf") else f"custom-{norm}")
    _check_own_name(called, members)
    return Suite(called, "attacks by hand", members, features=None)


def adapted(suite: Suite, defense: Defense[Any]) -> Suite:
    """The suite with adaptive attacks on the objective of this defense, where they do not say another."""
    objective = Objective(defense.name, defense.objective)
    return replace(suite, attacks=tuple(with_objective(attack, objective) for attack in suite.attacks))


def _suite_by_name(name: str, radii: Radii, norm: Any) -> Suite:
    if name in COLLECTIONS:
        parts = ", ".join(dict.fromkeys(part.suite for part in COLLECTIONS[name].parts))
        raise ValueError(f"{name} is several evaluations ({parts}): ask advdpnp.evaluate for it, or for one of them")
    if name == "figure2":
        raise ValueError("Figure 2 is features and no accuracy: advdpnp illustrate RUN stores it for the report")
    if name not in suite_names():
        by_hand = f"; {name} is an attack: give it by hand, as --attack {name}" if name in ATTACKS else ""
        raise ValueError(f"unknown suite {name!r}; nearest: {nearest(name, [*suite_names(), *COLLECTIONS])}{by_hand}")
    # A suite without attacks has no radius to ask for.
    norm = norm if attacks.suite(name, 0.0).attacks else "linf"
    radius = radii[norm]
    found = attacks.suite(name, radius, radii.pixels, norm)
    if radius == radii.usual.get(norm) or not found.attacks or not radii.named:
        return found
    return replace(found, name=f"{found.name}-eps-{eps_text(radius).replace('/', '-')}")


def _own_suite(suite: Suite, radii: Radii, norm: str | None) -> Suite:
    if radii.asked is not None:
        raise ValueError("eps changes a suite by name; got a suite, whose attacks have radii of their own")
    if norm is not None and any(attack.norm != norm for attack in suite.attacks):
        raise ValueError(
            f"norm changes a suite by name; got {norm!r} and a suite, whose attacks have norms of their own"
        )
    if suite.name not in suite_names():
        _check_name(suite.name, suite.attacks)
    elif [*map(_kind, suite.attacks)] != [*map(_kind, attacks.suite(suite.name, 0.1).attacks)]:
        raise ValueError(f"{suite.name} is the name of a suite with other attacks: call yours something else")
    return suite


def _kind(attack: Attack) -> tuple[str, int | None]:
    return attack.name, attack.steps


def _members(protocol: Any, radii: Radii, norm: str | None) -> tuple[Attack, ...]:
    """The attacks of a list, or the one attack."""
    listed = list(protocol) if isinstance(protocol, list | tuple) else [protocol]
    if not listed:
        raise ValueError("a suite needs at least one attack; for none, the suite is called clean")
    for one in listed:
        if not isinstance(one, str) and (isinstance(one, type) or not callable(one) or not hasattr(one, "norm")):
            shown = one.__name__ if isinstance(one, type) else type(one).__name__
            raise ValueError(
                "a suite is a name such as 'quick', an attack such as PGD(eps=8 / 255), or a list of attacks; "
                f"got {shown}"
            )
    objects = [one for one in listed if not isinstance(one, str)]
    if len(objects) == len(listed):
        if radii.asked is not None and any(one.eps != radii.asked for one in objects):
            raise ValueError(
                f"eps is for suites by name and attacks as text; got {eps_text(radii.asked)} and an attack of "
                f"{eps_text(next(one.eps for one in objects if one.eps != radii.asked))}: leave eps out"
            )
        if norm is not None and any(one.norm != norm for one in objects):
            raise ValueError(
                f"norm is for suites by name and attacks as text; got {norm!r} and an attack in "
                f"{next(one.norm for one in objects if one.norm != norm)}: give the attack its norm"
            )
    return tuple(attack_by_hand(one, radii, norm) if isinstance(one, str) else one for one in listed)


def _check_name(name: str, members: Sequence[Attack]) -> None:
    """Raise ValueError on a name of attacks that is no file name, or that reads like AutoAttack where they are not."""
    # A hidden file, or one as an unfinished evaluation has, would not be read again.
    if not re.fullmatch(r"\w[\w.+-]*", name) or name.endswith(".partial"):
        raise ValueError(
            "attacks by hand need a name of their own, of letters, digits and ._+- alone, that begins with a letter or "
            f"digit and does not end in .partial; got {name!r}"
        )
    kinds = (QuickAutoAttack, AutoAttackPlus)
    kind: type[AutoAttack] = next((one for one in kinds if name.startswith(one.name)), AutoAttack)
    if name.startswith("autoattack") and not all(type(one) is kind for one in members):
        raise _taken(name, kind.name)


def _check_own_name(name: str, members: Sequence[Attack]) -> None:
    """As `_check_name`; the name of a suite, and what a suite in another norm, radius or precision is called, too."""
    _check_name(name, members)
    if is_audit(Path(f"{name}.json")):
        raise ValueError(f"attacks by hand need a name of their own: {name!r} reads like a masking audit's")
    suites = (
        one for one in [*suite_names(), *COLLECTIONS] if name == one or re.fullmatch(re.escape(one) + _VARIANT, name)
    )
    taken = next(suites, "")
    if taken and (name == taken or not name.startswith("autoattack")):
        raise _taken(name, taken)


def _taken(name: str, suite: str) -> ValueError:
    return ValueError(
        f"attacks by hand need a name of their own: {name!r} reads like the suite {suite}, which is other attacks. "
        "Call them something else, as --suite mine, or leave --attack out for the suite"
    )
