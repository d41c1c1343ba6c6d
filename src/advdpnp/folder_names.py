"""Names of folders that every system can have."""

import re

# What Windows keeps for devices, in any case and with any ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


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
