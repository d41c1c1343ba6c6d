"""The pages for users do what they say: their blocks run in order, in one folder, and print what the page shows."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import warm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Pages that add something to the package; they run in a copy of it.
ADDING = sorted(DOCS.glob("adding-*.md"))
PAGES = [DOCS / "quick-start.md", *ADDING, *sorted((DOCS / "how-to").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, its text, and the text block that directly shows its output."""

    language: str
    title: str
    text: str
    shown: str | None

    @property
    def status(self) -> int:
        """The exit status that a comment promises."""
        promised = re.search(r"# exit status (\d+)", self.text)
        return int(promised[1]) if promised else 0


def blocks(page: Path) -> list[Block]:
    """Blocks that run. A text block after one, with nothing or one paragraph between, shows what it prints."""
    fences = list(re.finditer(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", page.read_text(), re.DOTALL | re.M))
    found = []
    for fence, after in zip(fences, [*fences[1:], None]):
        if fence[1] in ("bash", "python", "diff"):
            near = (
                after is not None and after[1] == "text" and "\n#" not in page.read_text()[fence.end() : after.start()]
            )
            found.append(Block(fence[1], fence[2] or "", fence[3], after[3] if near and after else None))
    return found


def commands(text: str) -> list[str]:
    """Single commands where a block promises an exit status, the whole block elsewhere."""
    return text.strip().splitlines() if "# exit status" in text else [text]


def as_pattern(shown: str) -> re.Pattern[str]:
    """What a shown output promises: its words and its layout. Numbers may differ; "..." stands for any lines."""

    def line_pattern(line: str) -> str:
        if line.strip() == "...":
            return r"(?:.*\n)*?"
        words = [re.sub(r"(?:\d|\\\.)+", r"[\\d.e+-]+", re.escape(word)) for word in line.split()]
        return r"\s*" + r"\s+".join(words) + r"\s*\n"

    return re.compile("".join(map(line_pattern, shown.splitlines())))


def copy_of_the_repository(folder: Path) -> None:
    """What a page that adds something needs of it: the package, its tests, and their settings."""
    for name in ("src", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def changed(text: str, diff: str) -> str:
    """The text with every hunk of a diff: lines that stay, lines with "-" that go, lines with "+" that come."""
    for hunk in re.split(r"^@@.*\n", diff, flags=re.M):
        lines = hunk.splitlines(keepends=True)
        before = "".join(line[1:] for line in lines if line[0] in " -")
        after = "".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(before) == 1, f"{text.count(before)} times:\n{before}"
        text = text.replace(before, after)
    return text


def write(block: Block, folder: Path) -> None:
    """Put a block with a title where the title says."""
    path = folder / block.title
    text = changed(path.read_text(), block.text) if block.language == "diff" else block.text
    path.write_text(text)


def execute(block: Block, folder: Path, programs: Path = Path(sys.executable).parent) -> str:
    """Output of a block with the commands of a folder; fails unless its exit status is the promised one."""
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "ADVDPNP_DATA": str(folder / "data"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    if (folder / "src").is_dir():
        environment["PYTHONPATH"] = str(folder / "src")
    if block.language == "python":
        wanted = [([str(programs / "python"), "-c", block.text], 0)]
    else:
        lines = commands(block.text)
        wanted = [(["bash", "-euo", "pipefail", "-c", line], Block("", "", line, None).status) for line in lines]
    output = ""
    for command, status in wanted:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        output += done.stdout
        assert done.returncode == status, f"{command[-1]}\nended with {done.returncode}:\n{done.stdout}"
        assert "Traceback" not in done.stdout and "Warning" not in done.stdout, done.stdout
    return output


def programs_for(page: Path, block: Block, folder: Path) -> Path:
    """Where its commands are: those that are quick to start, but on one page, and where a command is killed."""
    real = page.stem == "data" or "timeout" in block.text
    return Path(sys.executable).parent if real else warm.commands(folder)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_in_order_and_print_what_it_shows(
    page: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if page in ADDING:
        copy_of_the_repository(tmp_path)
    elsewhere = tmp_path_factory.mktemp("commands")
    for block in blocks(page):
        if block.title:
            write(block, tmp_path)
            continue
        output = execute(block, tmp_path, programs_for(page, block, elsewhere))
        if block.shown is not None:
            assert as_pattern(block.shown).search(output), f"{block.text}\nprinted:\n{output}\nnot:\n{block.shown}"


def added(page: Path) -> list[Block]:
    """The blocks that a page adds to the package and its tests."""
    return [block for block in blocks(page) if block.title.startswith(("src/", "tests/"))]


@pytest.mark.parametrize("page", ADDING, ids=lambda page: page.stem)
def test_what_is_added_touches_a_file_its_test_and_one_registry(page: Path) -> None:
    places = [(block.language, block.title) for block in added(page)]
    assert [language for language, _ in places] == ["python", "diff", "python"]
    (_, file), (_, registry), (_, test) = places
    (diff,) = (block.text for block in blocks(page) if block.language == "diff")
    assert file.startswith("src/advdpnp/") and not (ROOT / file).exists()
    assert changed((ROOT / registry).read_text(), diff) != (ROOT / registry).read_text()
    assert test.startswith("tests/") and not (ROOT / test).exists()


@pytest.mark.parametrize("page", ADDING, ids=lambda page: page.stem)
def test_the_file_of_a_page_passes_the_test_of_the_page(
    page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source, _, test = added(page)
    module = ModuleType(source.title.removeprefix("src/").removesuffix(".py").replace("/", "."))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(source.text, page.name, "exec"), vars(module))
    names: dict[str, Any] = {"__name__": "of_the_page"}
    exec(compile(test.text, page.name, "exec"), names)
    laws = [value for name, value in names.items() if name.startswith("test_")]
    assert laws
    for number, law in enumerate(laws):
        folder = tmp_path / str(number)
        folder.mkdir()
        law(**({"tmp_path": folder} if "tmp_path" in inspect.signature(law).parameters else {}))


def test_the_defense_beside_the_package_is_that_of_the_examples() -> None:
    text = (DOCS / "adding-a-defense.md").read_text()
    for name in ("noisy.py", "pyproject.toml"):
        block = text.split(f'title="{name}"\n')[1].split("```")[0]
        assert block == (ROOT / "examples/defense_package" / name).read_text()


def test_a_diff_takes_and_gives_lines_where_they_stand_once() -> None:
    text = "a\nb\nc\nd\n"
    assert changed(text, " a\n-b\n+B\n@@\n d\n+e\n") == "a\nB\nc\nd\ne\n"
    with pytest.raises(AssertionError, match="0 times"):
        changed(text, " x\n+y\n")


def test_every_page_for_users_has_blocks_that_run_but_those_of_gpus() -> None:
    assert {page.stem for page in PAGES if not blocks(page)} == {"gpu", "several-gpus"}


def test_a_shown_output_is_compared_by_its_words_and_layout() -> None:
    pattern = as_pattern("...\nclean  98.3%  [96.4%, 99.2%]\nworst case 81 %\n")
    assert pattern.search("epoch 1\nclean   7.11%  [1%, 2.5%]\nworst case 3 %\n")
    assert not pattern.search("clean   7.11%  [1%, 2.5%]\nbest case 3 %\n")
    assert not pattern.search("clean   7.11%\nworst case 3 %\n")


def test_a_promised_exit_status_is_of_its_own_line() -> None:
    block = Block("bash", "", "true\nfalse  # exit status 1\n", None)
    assert execute(block, Path()) == ""
    with pytest.raises(AssertionError, match="ended with 1"):
        execute(Block("bash", "", "true\nfalse\n", None), Path())
