"""Names of files and classes as text and pictures can show them, whatever they are made of."""

import functools

# matplotlib brings the first; of the others, those that are installed stand in for what it lacks.
_FONTS = (
    *("DejaVu Sans", "Noto Sans", "Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans Devanagari", "Noto Emoji"),
    *("WenQuanYi Zen Hei", "Arial Unicode MS", "Hiragino Sans", "Microsoft YaHei", "Segoe UI Symbol"),
)


@functools.cache
def font_families() -> list[str]:
    """The font families that names are drawn with, in order of preference."""
    from matplotlib import font_manager

    installed = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in installed]


@functools.cache
def _characters() -> frozenset[int]:
    from matplotlib import font_manager

    found: set[int] = set()
    for name in font_families():
        found |= set(font_manager.get_font(font_manager.findfont(name)).get_charmap())
    return frozenset(found)


def printable(text: str) -> str:
    """The text on one line: an escape, such as \\n, for each character that is no visible one."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def drawable(text: str, length: int) -> str:
    """The text in at most `length` characters, its middle left out; an escape for each character that no font has."""
    known = _characters()
    text = "".join(c if ord(c) in known else _escape(c) for c in printable(text))
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[len(text) - tail :]}"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
