"""Pages that are tables and links: one template and one style, no script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).with_name("plain_pages")


def plain_page(template: str, **content: Any) -> str:
    """A self-contained page; text in it is escaped.

    Args:
        template: file in plain_pages/.
        content: what it shows; `title` is its heading.
    """
    css = (_FOLDER / "plain.css").read_text("utf-8")
    return templates(_FOLDER).get_template(template).render(content, css=css)


def templates(folder: Path) -> Environment:
    """The templates of a folder, in which text is escaped and a name that is not given is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
