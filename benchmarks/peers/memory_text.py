"""The peaks of memory for people: a part of docs/performance.md."""

from collections.abc import Iterator
from pathlib import Path

from advdpnp.runs import Json, read_json

RESULTS = Path(__file__).parents[1] / "results"
# What the leanest of the others takes, over what ours takes.
FLOOR = 1.0


def table(result: Json) -> str:
    """The peaks, and how the leanest of the others compares with ours in fp32."""
    lines = ["| | | MiB, process | MiB, tensors | over ours |", "| --- | --- | --- | --- | --- |"]
    for group in result["groups"].values():
        sides = group["sides"]
        for name, row in sides.items():
            tensors = f"{row['tensors']:.1f}" if "tensors" in row else ""
            over = f"{row['process'] / sides['ours']['process']:.2f}x" if name != "ours" and "ours" in sides else ""
            lines.append(f"| {group['title']} | {name} | {row['process']:.1f} | {tensors} | {over} |")
    return "\n".join([*lines, "", *_verdicts(result)])


def section(path: Path, result: Json) -> str:
    """A part of docs/performance.md."""
    machine = result["machine"]
    lines = [
        f"## Memory, on {machine['cpu']}",
        "",
        "What one run takes beyond network, images and libraries, each side in a process of its own: the process's",
        "peak, and of a second run the peak of the tensors that were alive at the same time; of a search the first",
        f"alone ([JSON](../benchmarks/results/{path.name})). Ours must take no more than the leanest of the others.",
        "Again: `OMP_NUM_THREADS=1 PYTHONPATH=benchmarks:tests .bench-venv/bin/python -m peers.memory`.",
    ]
    return "\n".join([*lines, "", table(result)])


def measurements() -> dict[Path, Json]:
    """What benchmarks/results has, by file."""
    return {path: read_json(path) for path in sorted(RESULTS.glob("memory-*.json"))}


def least_over_ours(group: Json) -> float | None:
    """The peak of the leanest of the others over that of ours in fp32; None where one of them is missing."""
    others = [row["process"] for name, row in group["sides"].items() if not name.startswith("ours")]
    ours = group["sides"].get("ours")
    return min(others) / ours["process"] if others and ours else None


def _verdicts(result: Json) -> Iterator[str]:
    for group in result["groups"].values():
        if (ratio := least_over_ours(group)) is not None:
            verdict = "above the floor" if ratio >= FLOOR else "**under the floor**"
            yield f"- {group['title']}: the leanest of the others takes {ratio:.2f}x of ours, {verdict}."
