"""SVG as matplotlib writes it, without what no eye sees: a report holds many figures."""

import re

_COMMENT = re.compile(r"<!--.*?-->\s*", re.DOTALL)
# Names of groups, such as "text_12", which nothing refers to.
_GROUP = re.compile(r'<g id="[a-z0-9]+_\d+">')
_PATH = re.compile(r' d="([^"]*)"')
_DECIMALS = re.compile(r"(-?\d+\.\d\d)\d+")
_SPACE = re.compile(r"\s+")


def slim_svg(text: str) -> str:
    """The same picture in about half the bytes: coordinates of paths to a hundredth of a point, no comments."""
    return _PATH.sub(_short_path, _GROUP.sub("<g>", _COMMENT.sub("", text)))


def _short_path(found: re.Match[str]) -> str:
    numbers = _DECIMALS.sub(lambda number: f"{float(number[0]):.2f}", found[1])
    return f' d="{_SPACE.sub(" ", numbers).strip()}"'
