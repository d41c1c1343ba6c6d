"""docs/paper-order.md: does the order of the methods in stored runs come out as the paper prints it?

    python scripts/paper_order.py [RESULTS] [--sweep FILE.yaml] [--out PAGE.md]

RESULTS is results/cifar10-fourteen, the runs of examples/fourteen.yaml. What of that sweep is not there is listed.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

from ordering.page import page  # noqa: E402
from ordering.runs import lacking, read  # noqa: E402

RESULTS = ROOT / "results" / "cifar10-fourteen"
SWEEP = ROOT / "examples" / "fourteen.yaml"
PAGE = ROOT / "docs" / "paper-order.md"


def page_of(results: Path, sweep: Path = SWEEP) -> str:
    """The page on a folder of runs.

    Args:
        results: the folder.
        sweep: file that the runs are of.
    Raises:
        ValueError: the runs, or the file, cannot be read or compared.
    """
    shown = results.resolve()
    name = shown.relative_to(ROOT) if shown.is_relative_to(ROOT) else results
    return page(read(results), lacking(sweep, results), f"{name.as_posix()}/")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=RESULTS, help="folder of runs")
    parser.add_argument("--sweep", type=Path, default=SWEEP, help="what they are runs of")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page")
    asked = parser.parse_args()
    try:
        asked.out.write_text(page_of(asked.results, asked.sweep), encoding="utf-8")
    except (ValueError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    print(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
