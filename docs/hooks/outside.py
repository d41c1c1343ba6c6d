"""Pages and files of the repository that lie outside docs/ and are in the site too, with their links made right.

A link that leads out of docs/ works for whoever reads the file in the repository. In the site it leads to a copy: the
pages of `PAGES` are pages here as well, every other file is served as it is, under files/.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "results/README.md": "project/results.md",
    "results/fuzzing/README.md": "project/fuzzing.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changes.md",
    "SECURITY.md": "project/report-a-fault.md",
}
_SOURCES = {place: source for source, place in PAGES.items()}
_LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def _root(config: MkDocsConfig) -> Path:
    return Path(config.docs_dir).parent


def _source(place: str) -> str:
    """Where a page of the site lies in the repository."""
    return _SOURCES.get(place, f"docs/{place}")


def _place(source: str) -> str:
    """Where a file of the repository lies in the site."""
    return PAGES.get(source) or (source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}")


def _target(link: str, source: str) -> str:
    """The file of the repository that a link of `source` means."""
    return os.path.normpath(Path(source).parent / link)


def _links(root: Path, source: str) -> Iterator[str]:
    for match in _LINK.finditer((root / source).read_text()):
        yield _target(match[1], source)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in the pages from outside, and what any page links to."""
    root = _root(config)
    for source, place in PAGES.items():
        files.append(File.generated(config, place, content=(root / source).read_text()))
    pages = [f"docs/{page.src_uri}" for page in files.documentation_pages() if page.generated_by is None]
    for target in sorted({link for source in [*pages, *PAGES] for link in _links(root, source)}):
        outside = not target.startswith("docs/") and target not in PAGES
        if outside and (root / target).is_file():
            files.append(File.generated(config, _place(target), abs_src_path=str(root / target)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between places of the site."""
    source, folder = _source(page.file.src_uri), Path(page.file.src_uri).parent

    def moved(match: re.Match[str]) -> str:
        link = os.path.relpath(_place(_target(match[1], source)), folder)
        return f"]({Path(link).as_posix()}{match[2] or ''})"

    return _LINK.sub(moved, markdown)
