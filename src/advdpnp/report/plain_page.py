"""Pages that are tables and links: one template and one style, no script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).with_name("plain_pages")


def plain_page(template: str, **content: Any) -> str:
    """A self-contained page; text in it is escaped.

    Args:
        template: file in plain_pages/.
        content: what it shows; `title` is its heading.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(content, css=(_FOLDER / "plain.css").read_text("utf-8"))
