#!/usr/bin/env python3
"""Titles of commits have fewer than 70 characters. With a file (git's hook commit-msg) its title, else those of HEAD.

Merges are left out, and so is what was written before the check was.
"""

import subprocess
import sys
from pathlib import Path

LIMIT = 70
# 2026-11-27, 00:00 UTC, in seconds.
SINCE = 1795737600


def written_since(since: int = SINCE) -> list[str]:
    """Titles of the commits behind HEAD whose author wrote them at that time or later."""
    # Dates of authors are not in order, so git's own --since, which goes by committers, is no help.
    log = subprocess.run(["git", "log", "--no-merges", "--format=%at %s"], check=True, capture_output=True, text=True)
    commits = (line.partition(" ") for line in log.stdout.splitlines())
    return [title for date, _, title in commits if int(date) >= since]


def too_long(titles: list[str]) -> list[str]:
    return [title for title in titles if len(title) >= LIMIT]


def of_message(text: str) -> list[str]:
    """The title of a message, and none of a merge, which git words itself."""
    title = text.lstrip().partition("\n")[0]
    return [] if title.startswith("Merge ") else [title]


def main(arguments: list[str]) -> int:
    titles = of_message(Path(arguments[0]).read_text(encoding="utf-8")) if arguments else written_since()
    for title in (long := too_long(titles)):
        print(f"expected fewer than {LIMIT} characters, got {len(title)}; shorten this title: {title}", file=sys.stderr)
    return int(bool(long))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
