"""The pages for users do what they say: their blocks run in order, in one folder, and print what the page shows."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "quick-start.md", *sorted((DOCS / "how-to").glob("*.md"))]


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
        if fence[1] in ("bash", "python"):
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


def execute(block: Block, folder: Path) -> str:
    """Output of a block; fails unless its exit status is the promised one."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ADVDPNP_DATA": str(folder / "data"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    if block.language == "python":
        wanted = [([sys.executable, "-c", block.text], 0)]
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


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_in_order_and_print_what_it_shows(page: Path, tmp_path: Path) -> None:
    for block in blocks(page):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
            continue
        output = execute(block, tmp_path)
        if block.shown is not None:
            assert as_pattern(block.shown).search(output), f"{block.text}\nprinted:\n{output}\nnot:\n{block.shown}"


def test_every_page_for_users_has_blocks_that_run_but_that_of_the_gpu() -> None:
    assert {page.stem for page in PAGES if not blocks(page)} == {"gpu"}


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
