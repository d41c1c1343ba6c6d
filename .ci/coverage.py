"""How many of the lines of src/ the fast tests ran, by coverage.json of `make test`; too few is an error."""

import json
import sys
from pathlib import Path

# One point below what was measured without the real data files.
LEAST = 96.7
NAMED = 10


def main(report: str = "coverage.json") -> int:
    found = json.loads(Path(report).read_text())
    percent = found["summary"]["percent_covered"]
    print(f"The tests ran {percent:.1f} % of the lines of src; at least {LEAST} % are expected.")
    if percent >= LEAST:
        return 0
    missing = {name: len(file["missing_lines"]) for name, file in found["files"].items()}
    for name in sorted(missing, key=missing.__getitem__, reverse=True)[:NAMED]:
        print(f"{missing[name]:5d} lines not run in {name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
