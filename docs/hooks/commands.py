"""The page of all commands, written from the command line itself when the site is built."""

from collections.abc import Iterator
from typing import Any

import typer.main
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from advdpnp.cli import app
from advdpnp.cli.command import Switches

_EVERY = tuple(Switches.__dataclass_fields__)
_HEAD = """# Commands

What `advdpnp COMMAND --help` says, for all commands. Errors are one line on the error stream and exit status 2;
Ctrl-C ends with 130, and the last line says how to go on.
"""


def commands(group: Any, before: str = "advdpnp") -> Iterator[tuple[str, Any]]:
    """All commands under a group, with their full names."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}", command


def _cell(text: str) -> str:
    """Text that a table's cell shows as it is."""
    for character in "\\|<>[]*_":
        text = text.replace(character, f"&#{ord(character)};")
    # What the help has in backticks is code here too.
    parts = text.split("`")
    return "".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts))


def _is_argument(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "argument"


def _default(parameter: Any) -> str:
    value = parameter.default
    if parameter.required or value is None or callable(value) or isinstance(value, bool) or value in ("", (), []):
        return ""
    return f"`{value}`"


def _row(parameter: Any) -> str:
    name = (
        parameter.name.upper() if _is_argument(parameter) else ", ".join([*parameter.opts, *parameter.secondary_opts])
    )
    return f"| `{name}` | {_cell(parameter.help or '')} | {_default(parameter)} |"


def _table(parameters: list[Any], title: str) -> list[str]:
    if not parameters:
        return []
    return [f"| {title} | | Default |", "| --- | --- | --- |", *map(_row, parameters), ""]


def _usage(name: str, parameters: list[Any]) -> str:
    words = []
    for parameter in filter(_is_argument, parameters):
        word = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
        words.append(word if parameter.required else f"[{word}]")
    return " ".join([name, *words, "[OPTIONS]"])


def section(name: str, command: Any) -> list[str]:
    """One command: usage, help, arguments, options of its own."""
    parameters = [one for one in command.params if one.name not in (*_EVERY, "help")]
    arguments = [one for one in parameters if _is_argument(one)]
    options = [one for one in parameters if not _is_argument(one)]
    return [
        f"## {name.removeprefix('advdpnp ')}",
        "",
        _cell(command.help or ""),
        "",
        "```text",
        _usage(name, parameters),
        "```",
        "",
        *_table(arguments, "Argument"),
        *_table(options, "Option"),
    ]


def page() -> str:
    """The whole page, as Markdown."""
    found = list(commands(typer.main.get_command(app)))
    shared = [one for one in found[0][1].params if one.name in _EVERY]
    lines = [_HEAD, "## Options of every command", "", *_table(shared, "Option")]
    for name, command in found:
        lines += section(name, command)
    return "\n".join(lines)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    files.append(File.generated(config, "reference/commands.md", content=page()))
    return files
