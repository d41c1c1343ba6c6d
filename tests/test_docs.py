"""The documents say what the code does: symbols, signatures, commands, settings, links and layers."""

import inspect
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

import advdpnp
from advdpnp.api.protocol import attack_by_hand
from advdpnp.attacks import COLLECTIONS, suite
from advdpnp.cli import app
from advdpnp.data import spec
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import Experiment, experiment
from advdpnp.experiments.config import paths
from test_layering import JOINTS, LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("results/*.md"), *ROOT.glob("benchmarks/*.md")])
# Pages of one name lie in several folders.
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# What the hooks of the site write when it is built.
WRITTEN = {
    DOCS / "reference/commands.md",
    *(DOCS / f"project/{name}.md" for name in ("results", "benchmarks", "contributing", "changes")),
}
PAPER_MAP, DECISIONS = (DOCS / "paper-map.md").read_text(), (DOCS / "decisions.md").read_text()


def inline_code(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def rows(text: str, heading: str) -> list[list[str]]:
    """Cells of the table below a heading, without its head."""
    section = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in cells[2:]]


def resolve(dotted: str) -> Any:
    found: Any = advdpnp
    for part in dotted.split(".")[1:]:
        # The attribute first: advdpnp.attacks.suites is a function, and also the module that defines it.
        found = getattr(found, part) if hasattr(found, part) else import_module(f"{found.__name__}.{part}")
    return found


def symbols(text: str) -> set[str]:
    return {code for code in inline_code(text) if re.fullmatch(r"advdpnp(\.\w+)+", code)}


def commands(text: str) -> Iterator[list[str]]:
    """Every command line of a page, in sentences and in blocks, without what the shell does around it."""
    blocks = re.findall(r"```[^\n]*\n(.*?)```", text, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for code in [*inline_code(text), *lines]:
        # A loop's variables stand for words that fit; 1 is a seed as well as a name.
        code = re.sub(r"\$\w+", "1", code.strip())
        if found := re.match(r"(?:timeout [^a-z]*--signal=KILL \d+ )?(?:\.venv/bin/)?(advdpnp [a-z].*)", code):
            alone = re.split(r" (?:\||\|\||&&|>|2>) ", found[1])[0]
            yield shlex.split(alone.rstrip(";"), comments=True)[1:]


def parse(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    """Name and parameters of a command, parsed as the command line does, without running it."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("advdpnp", arguments)
    name, command, rest = group.resolve_command(context, arguments)
    if rest and hasattr(command, "resolve_command"):
        _, command, rest = command.resolve_command(context, rest)
    # A sentence may name a command alone, without what it needs.
    return name, command.make_context(name, rest, parent=context, resilient_parsing=not rest).params


def settings(text: str) -> set[str]:
    return {code for code in inline_code(text) if re.match(r"(defense|recipe)\.\w", code)}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_symbol_of_a_page_can_be_imported(page: Path) -> None:
    assert all(resolve(symbol) is not None for symbol in symbols(page.read_text()))


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_of_a_page_has_its_subcommand_and_options(page: Path) -> None:
    for arguments in commands(page.read_text()):
        parse(arguments)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_resolves(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    local = [page.parent / target.partition("#")[0] for target in targets if not re.match(r"[a-z]+:|#", target)]
    assert [target for target in local if not target.exists() and target.resolve() not in WRITTEN] == []


def test_the_paper_map_has_a_symbol_or_not_yet_for_every_part_of_the_paper() -> None:
    headings = ("Equations", "Algorithm 1", "The protocol", "Tables", "Figures")
    table = [row for heading in headings for row in rows(PAPER_MAP, heading)]
    for part, _, symbol, command in table:
        assert symbols(symbol) or "not yet" in symbol, part
        assert list(commands(command)) or "not yet" in command, part
    named = {row[0] for row in table}
    wanted = (
        {f"Eq. {n}" for n in range(1, 13)}
        | {f"Table {n}" for n in range(1, 9)}
        | {f"Figure {n}" for n in range(1, 5)}
        | {"Section 4.1", "Tables 1 and 2, Avg"}
    )
    assert wanted <= named
    assert any(part.startswith("Algorithm 1") for part in named)


def test_the_experiments_and_suites_of_the_paper_map_exist() -> None:
    for arguments in commands(PAPER_MAP):
        name, values = parse(arguments)
        if name == "train" and values["name"]:
            experiment(values["name"], values["recipe"], settings=values["set_"] or ())
        if name == "evaluate" and values["run"]:
            by_hand = [attack_by_hand(text, 8 / 255) for text in values["attack"] or ()]
            known = values["suite"] in COLLECTIONS
            assert by_hand or known or suite(values["suite"], 8 / 255).name == values["suite"]
            assert spec(values["data"] or "cifar10").test_size


def test_every_setting_of_the_decisions_is_real_and_changes_something() -> None:
    known = [experiment(f"cifar10/resnet18/{name}") for name in DEFENSES]
    known += [experiment("mnist/lenets++/at"), experiment("digits/tiny/at")]
    assert len(settings(DECISIONS)) >= 20
    for setting in settings(DECISIONS):
        path, equals, _ = setting.partition("=")
        holders = [before for before in known if path in paths(before.config())]
        assert holders, setting
        if equals:
            assert any(changed(before, setting) for before in holders), setting


def changed(before: Experiment, setting: str) -> bool:
    name = f"{before.data.name}/{before.backbone}/{before.defense.name}"
    try:
        return experiment(name, settings=[setting]).config() != before.config()
    except ValueError:
        # Two methods may have fields of one name and different choices.
        return False


def test_the_layer_table_is_that_of_the_layering_test() -> None:
    table = {
        layer: ({name for name in inside.split(", ") if name}, {name for name in outside.split(", ") if name})
        for layer, inside, outside in rows((DOCS / "design.md").read_text(), "Layers")
    }
    assert table == LAYERS
    joints = (DOCS / "design.md").read_text().split("What joins the layers")[1].split("may import")[0]
    assert {f"`{name}`" for name in JOINTS - {"__init__"}} <= set(re.findall(r"`\w+`", joints))


def test_the_signatures_of_the_design_page_are_those_of_the_code() -> None:
    stated = [code for row in rows((DOCS / "design.md").read_text(), "Abstractions") for code in inline_code(row[1])]
    assert len(stated) >= 20
    for code in stated:
        dotted, _, parameters = code.removesuffix(")").partition("(")
        names = [name for name in inspect.signature(resolve(dotted)).parameters if name != "self"]
        assert parameters.split(", ") == names, code


def test_the_citation_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == advdpnp.__version__
    assert f"[{advdpnp.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
