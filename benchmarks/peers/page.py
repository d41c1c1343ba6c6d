"""docs/performance.md, written from the stored measurements."""

from pathlib import Path

from advdpnp.runs import Json, read_json
from peers import memory_text
from peers.text import floors_table, tables
from peers.verdicts import ACCURACY_BOUND, LOSS_BOUND

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
STORED = ROOT / "benchmarks" / "results"


def measurements() -> dict[Path, Json]:
    """The measurements of benchmarks/results, by file."""
    return {path: read_json(path) for path in sorted(STORED.glob("peers-*.json"))}


def write_page() -> Path:
    """Write the page anew."""
    PAGE.write_text(page(measurements()), encoding="utf-8")
    return PAGE


def page(results: dict[Path, Json]) -> str:
    """The whole page."""
    speed = (_section(path, result) for path, result in results.items())
    peaks = (memory_text.section(path, result) for path, result in memory_text.measurements().items())
    return "\n\n".join([_head(), *speed, *peaks]) + "\n"


def _head() -> str:
    text = (Path(__file__).parent / "head.md").read_text(encoding="utf-8")
    return text.format(accuracy=100 * ACCURACY_BOUND, loss=LOSS_BOUND).rstrip()


def _section(path: Path, result: Json) -> str:
    machine, rows = result["machine"], [row for group in result["groups"].values() for row in group["sides"].values()]
    loads = [load for row in rows for load in row.get("load_average", ())]
    networks = " and ".join(f"{name}, batch {batch}" for name, batch, _ in result["protocol"]["networks"])
    packages = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    processor = f"Family/model {machine['cpu_family_model']} ({', '.join(machine['cpu_instructions'])})"
    stored = f"([JSON](../benchmarks/results/{path.name}))"
    lines = [
        f"## {networks}, on {machine['cpu']}",
        "",
        f"{processor}, torch {machine['torch']}, one thread {stored}.",
        f"{packages}.",
        f"The load average was {min(loads):.1f} to {max(loads):.1f}; a machine with nothing else to do has at most 1.",
    ]
    if not result["finished"]:
        lines.append("**Not everything of this protocol has been measured yet.**")
    return "\n".join([*lines, "", floors_table(result), "", tables(result)])
