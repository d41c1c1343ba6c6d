"""Sections of docstrings, as griffe wants to read them."""

import re
from typing import Any

import griffe

_SECTION = re.compile(r"(?<=\S)\n([ ]*(?:Args|Returns|Raises|Note):\n)")


class BlankLines(griffe.Extension):
    """The house style has no blank line between Args and Returns; griffe sees a section only below one."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = _SECTION.sub(r"\n\n\1", obj.docstring.value)
