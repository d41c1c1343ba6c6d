"""The built site: every link and anchor leads somewhere, nothing comes from the network, pictures can be told."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import typer.main
import yaml

from advdpnp.cli import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PICTURES = sorted(path.stem for path in (DOCS / "pictures").glob("*.svg") if path.stem != "favicon")
MEASURED = {"attacked-digits", "verdicts", "plane"}
# The proxy refuses every connection: a build that wants the network fails.
OFFLINE = {
    **os.environ,
    "NO_MKDOCS_2_WARNING": "1",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


@dataclass
class Html(HTMLParser):
    """What one page points at and can be pointed at."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in found:
            self.resources.append(found["src"])
        if tag == "link" and found.get("rel") not in ("prev", "next", "canonical"):
            self.resources.append(found.get("href", ""))
        if tag == "img":
            self.pictures.append((found["src"], found.get("alt", "")))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Html]:
    """Pages of the site by path, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=OFFLINE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path] = Html()
        pages[path].feed(path.read_text())
    return pages


def is_external(address: str) -> bool:
    return bool(urlsplit(address).scheme) or address.startswith("//")


@pytest.mark.slow
def test_every_link_and_anchor_of_the_site_leads_somewhere(site: dict[Path, Html]) -> None:
    lost = []
    for page, html in site.items():
        for address in [*html.links, *html.resources]:
            parts = urlsplit(address)
            if is_external(address):
                continue
            # The page of errors is served from any address, so its links begin at the top, where it lies itself.
            path = unquote(parts.path).lstrip("/")
            target = (page.parent / path).resolve() if path not in ("", ".") else page
            anchors = site[target].ids if target in site else set()
            if not target.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                lost.append(f"{page.name}: {address}")
    assert lost == []


@pytest.mark.slow
def test_external_links_are_well_formed(site: dict[Path, Html]) -> None:
    external = {address for html in site.values() for address in html.links if is_external(address)}
    assert len(external) >= 2
    for address in external:
        assert re.fullmatch(r"https://([\w-]+\.)+\w{2,}(/[^\s<>\"]*)?", address), address


@pytest.mark.slow
def test_nothing_is_loaded_from_the_network(site: dict[Path, Html]) -> None:
    for page, html in site.items():
        assert [address for address in html.resources if is_external(address)] == [], page.name
    folder = next(path for path in site if path.name == "404.html").parent
    for path in folder.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", path.read_text()), path.name
    for path in folder.rglob("*.svg"):
        assert not re.search(r"href=\"https?://", path.read_text()), path.name


@pytest.mark.slow
def test_every_picture_says_in_words_what_it_shows(site: dict[Path, Html]) -> None:
    pictures = [(page.name, source, alt) for page, html in site.items() for source, alt in html.pictures]
    assert {Path(source).stem for _, source, _ in pictures} >= set(PICTURES)
    for page, source, alt in pictures:
        assert len(alt.split()) >= 5, f"{page}: {source}"


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site: dict[Path, Html]) -> None:
    missing = []
    for source in (DOCS / "reference").glob("*.md"):
        (built,) = [html for page, html in site.items() if page.parent.name == "reference" and page.stem == source.stem]
        for module in re.findall(r"^::: (advdpnp\.\w+)$", source.read_text(), re.M):
            names = getattr(import_module(module), "__all__", ())
            public = [name for name in names if callable(getattr(import_module(module), name))]
            last = {anchor.rpartition(".")[2] for anchor in built.ids}
            missing += [f"{module}.{name}" for name in public if name not in last]
    assert missing == []


@pytest.mark.slow
def test_every_command_is_in_the_reference(site: dict[Path, Html]) -> None:
    (built,) = [html for page, html in site.items() if page.name == "commands.html"]
    group = typer.main.get_command(app)
    names = {name for name, one in group.commands.items() if not hasattr(one, "commands")}
    names |= {f"{outer}-{name}" for outer, one in group.commands.items() for name in getattr(one, "commands", ())}
    assert names <= built.ids


def test_every_page_is_in_the_navigation() -> None:
    # Python objects that other settings may name are of no interest here.
    text = (ROOT / "mkdocs.yml").read_text()
    nav = yaml.safe_load(text)["nav"]
    listed = set(re.findall(r"[\w/-]+\.md", str(nav)))
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert pages <= listed


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_colors_for_dark_pages_and_is_shown(name: str) -> None:
    picture = (DOCS / "pictures" / f"{name}.svg").read_text()
    assert "prefers-color-scheme: dark" in picture
    assert any(f"pictures/{name}.svg" in page.read_text() for page in DOCS.rglob("*.md"))


def numbers_and_rest(picture: str) -> tuple[list[float], str]:
    # Names of clips and markers are hashes of what they hold.
    picture = re.sub(r"(id=\"|#)[a-zA-Z]*[0-9a-f]{10,}", r"\1", picture)
    # Whole numbers too: 12 may be 12.000001 on another processor.
    return [float(text) for text in re.findall(r"-?\d+(?:\.\d+)?", picture)], re.sub(r"-?\d+(\.\d+)?", "", picture)


@pytest.mark.slow
def test_the_stored_pictures_are_what_the_script_draws(tmp_path: Path) -> None:
    import matplotlib

    pinned = re.search(r"^matplotlib==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    if pinned is None or matplotlib.__version__ != pinned[1]:
        pytest.skip(
            "compares drawn paths, which differ between versions of matplotlib; the pinned one is not installed"
        )
    names = [name for name in PICTURES if name not in MEASURED]
    script = DOCS / "pictures" / "draw.py"
    for folder in ("once", "again"):
        (tmp_path / folder).mkdir()
        subprocess.run([sys.executable, script, *names, "--out", tmp_path / folder], check=True, capture_output=True)
    for name in names:
        once, again = ((tmp_path / folder / f"{name}.svg").read_text() for folder in ("once", "again"))
        assert once == again
        drawn, rest = numbers_and_rest(once)
        stored, stored_rest = numbers_and_rest((DOCS / "pictures" / f"{name}.svg").read_text())
        assert rest == stored_rest
        assert drawn == pytest.approx(stored, abs=0.01)
