"""The site over the stored results: a report for each folder, and what of the paper is reproduced.

    python scripts/report_results.py [RESULTS] [--out DIR]

`make report` calls it with results/ and report/results/.
"""

import argparse
import sys
import warnings
from pathlib import Path

from advdpnp.report.site import write_site


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results"), help="folder of folders of runs")
    parser.add_argument("--out", type=Path, default=Path("report/results"), help="folder of the site")
    asked = parser.parse_args()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        page = write_site(asked.results, asked.out)
    for one in said:
        print(one.message, file=sys.stderr)
    print(f"The site is at {page.resolve()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
