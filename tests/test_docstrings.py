"""What docstrings list under Args is what the function or class takes."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "advdpnp"
FILES = sorted(PACKAGE.rglob("*.py"))


def listed(docstring: str) -> list[str]:
    """Names under Args: "x, y: ..." lists two."""
    section = re.search(r"^Args:\n((?:    .*\n?)+)", docstring, re.MULTILINE)
    lines = re.findall(r"^    ([a-z_*][\w, *]*):", section[1], re.MULTILINE) if section else []
    return [name.strip(" *") for line in lines for name in line.split(",")]


def taken(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    """Parameters of a function; fields and parameters of `__init__` of a class."""
    if isinstance(node, ast.FunctionDef):
        spare = [argument.arg for argument in (node.args.vararg, node.args.kwarg) if argument]
        return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} | {*spare}
    fields = {field.target.id for field in node.body if isinstance(field, ast.AnnAssign)}  # type: ignore[union-attr]
    init = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
    return fields.union(*map(taken, init))


def documented(path: Path) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        # Fields of a base class are not looked up.
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and not node.bases):
            yield node


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_docstrings_list_what_is_taken(path: Path) -> None:
    wrong = {node.name: set(listed(ast.get_docstring(node) or "")) - taken(node) for node in documented(path)}
    assert {name: names for name, names in wrong.items() if names} == {}
