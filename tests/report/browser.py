"""Debian's chromium through Playwright, for the tests of pages: what it opens, says and asks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any

import pytest

Opener = Any
HEIGHT = 900


@dataclass
class Opened:
    """A page: what it said on the console or threw, and what it asked for besides its own file."""

    page: Any
    context: Any
    said: list[str]
    asked: list[str]

    def close(self) -> None:
        self.context.close()


def browsers() -> Iterator[Opener]:
    """A function that opens a file in a window of its own; skips where there is no browser."""
    api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    program = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs a browser: apt-get install chromium")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"], timeout=120_000)

        def open_file(path: Path, width: int = 1280, hash_: str = "", **options: Any) -> Opened:
            context = browser.new_context(viewport={"width": width, "height": HEIGHT}, **options)
            # Long, for machines on which others work too.
            context.set_default_timeout(60_000)
            opened = Opened(context.new_page(), context, [], [])
            opened.page.on("console", lambda message: opened.said.append(message.text))
            opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
            opened.page.on("dialog", lambda dialog: (opened.said.append(dialog.message), dialog.dismiss()))

            def watch(route: Any) -> None:
                if not route.request.url.startswith((path.as_uri(), "data:")):
                    opened.asked.append(route.request.url)
                route.continue_()

            context.route("**/*", watch)
            opened.page.goto(path.as_uri() + hash_)
            return opened

        yield open_file
        browser.close()
