"""Names of files and folders that every system can have: the one place where a text becomes part of a path."""

import re
from pathlib import Path

# What Windows keeps for devices, in any case and with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


_LONGEST = 200


def check_name(what: str, text: str) -> None:
    """ValueError unless a text that a user, or a stored file, gives can be part of the name of a file or folder.

    Args:
        what: the text is, for the message, as "--name".
        text: letters of any alphabet, digits, and . _ + - @, at most 200 of them, not dots alone.
    """
    if len(text) > _LONGEST or not re.fullmatch(r"[\w.+@-]+", text) or not text.strip("."):
        shown = text if len(text) <= _LONGEST else f"{text[:40]}..."
        raise ValueError(
            f"{what} must be letters, digits and ._+-@ alone, at most {_LONGEST}, and more than dots; got {shown!r}"
        )


def folders(name: str) -> Path:
    """A name with / in it, such as that of a data set, as folders, none of which leads out of the one they are in."""
    return Path(*map(folder_name, name.split("/")))


def folder_name(text: str, limit: int = 60) -> str:
    """A text, such as the last part of a path, as the name of one folder.

    Letters of any alphabet, digits, and . _ + - are kept; all else, drive letters' colons and separators of paths
    included, becomes "-".

    Args:
        text: whatever a user calls it.
        limit: at most so many characters.
    Returns:
        The name; "" where nothing is left.
    """
    name = re.sub(r"[^\w.+-]+", "-", text)[:limit].strip("-.")
    return f"{name}-" if _DEVICES.match(name) else name
