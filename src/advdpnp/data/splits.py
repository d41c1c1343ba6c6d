"""The names by which people call the parts of a data set: folders, or keys of a mapping."""

from collections.abc import Iterable
from typing import Literal

Role = Literal["train", "validation", "test"]

_WORDS: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trainset"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "eval"), "test"),
}


def role_of(name: str) -> Role | None:
    """What a part of that name is for; None for a name that says nothing of the kind."""
    return _WORDS.get(name.lower())


def roles_of(names: Iterable[str], where: str) -> dict[Role, str]:
    """The name of each part, by its role; names that say no role are left out.

    Without a test part, the validation part is the test set.

    Args:
        names: of all parts.
        where: what has them, for messages.
    Raises:
        ValueError: two names of one role.
    """
    found: dict[Role, str] = {}
    for name in names:
        role = role_of(name)
        if role in found:
            raise ValueError(f"{where} has two parts for one purpose, {found[role]} and {name}: leave one of them")
        if role is not None:
            found[role] = name
    if "validation" in found and "test" not in found:
        found["test"] = found.pop("validation")
    return found
