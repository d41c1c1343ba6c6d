"""Draw the pictures of the documentation: python docs/pictures/draw.py [NAME ...] [--out FOLDER]

Each is a function of the code alone: drawing again on the same machine writes the same bytes. The measured ones train
small networks first, about a minute on one core.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cost
import diagrams
import ink
import measured
import speed
from matplotlib.figure import Figure

PICTURES: dict[str, Callable[[], Figure]] = {
    "prototypes": diagrams.prototypes,
    "branches": diagrams.branches,
    "threat-models": diagrams.threat_models,
    "resume": diagrams.resume,
    "distances": diagrams.distances,
    "attacked-digits": measured.attacked_digits,
    "verdicts": measured.verdicts,
    "plane": measured.plane,
    "performance": speed.performance,
    "growth": cost.growth,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(PICTURES)}; all by default")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="folder of the SVG files")
    asked = parser.parse_args()
    if unknown := set(asked.names) - set(PICTURES):
        parser.error(f"there is no picture {', '.join(sorted(unknown))}; expected {', '.join(PICTURES)}")
    ink.set_style()
    for name in asked.names or PICTURES:
        ink.write(PICTURES[name](), asked.out / f"{name}.svg")
        print(asked.out / f"{name}.svg")


if __name__ == "__main__":
    main()
