"""docs/growth.md, written from the stored measurement."""

import statistics
from collections.abc import Iterator
from pathlib import Path

from advdpnp.runs import Json, read_json
from growth.axes import AXES, Axis
from growth.exponents import Exponent, fitted

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "growth.md"
STORED = ROOT / "benchmarks" / "results" / "growth.json"


def write_page() -> Path:
    """Write the page anew."""
    PAGE.write_text(page(read_json(STORED)), encoding="utf-8")
    return PAGE


def page(result: Json) -> str:
    """The whole page."""
    head = (Path(__file__).parent / "head.md").read_text(encoding="utf-8").rstrip()
    machine = result["machine"]
    rows = [row for measured in result["axes"].values() for row in measured]
    loads = [row["load_average"] for row in rows]
    about = (
        f"Measured on {machine['cpu']}, family/model {machine['cpu_family_model']} "
        f"({', '.join(machine['cpu_instructions'])}), torch {machine['torch']}, one thread "
        f"([JSON](../benchmarks/results/{STORED.name})).\n"
        f"The load average was {min(loads):.1f} to {max(loads):.1f}; a machine with nothing else to do has at most 1."
    )
    sections = [section(axis, result["axes"][axis.name]) for axis in AXES if result["axes"].get(axis.name)]
    return "\n\n".join([head, about, exponents_table(result), *sections]) + "\n"


def seconds_of_an_image(row: Json) -> float:
    """The median of the rounds, over the images of one."""
    return statistics.median(row["seconds"]) / float(row["images"])


def by_work(axis: Axis, rows: list[Json]) -> dict[str, tuple[list[int], list[Json]]]:
    """By work: values of what grows, and the points, both in growing order."""
    found: dict[str, tuple[list[int], list[Json]]] = {}
    for row in sorted(rows, key=lambda row: row["setting"][axis.name]):
        values, points = found.setdefault(row["setting"]["work"], ([], []))
        values.append(row["setting"][axis.name])
        points.append(row)
    return found


def exponents_of(axis: Axis, rows: list[Json]) -> dict[str, tuple[Exponent, Exponent]]:
    """By work the exponents of the seconds of an image, and of the process's peak of memory."""
    return {
        work: (
            fitted(values, [seconds_of_an_image(point) for point in points]),
            fitted(values, [max(point["memory_mib"]["process"], 0.1) for point in points]),
        )
        for work, (values, points) in by_work(axis, rows).items()
        if len(values) > 1
    }


def exponents_table(result: Json) -> str:
    """All exponents, and which of them are larger than the work's."""
    lines = ["| | | range | time of an image | the work's | peak of memory | the work's |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for axis in AXES:
        for work, (time, memory) in exponents_of(axis, result["axes"].get(axis.name, [])).items():
            cells = [_judged(time, axis.seconds), f"{axis.seconds:g}", _judged(memory, axis.memory), f"{axis.memory:g}"]
            lines.append(f"| {axis.title} | {work} | {time.least:,} to {time.most:,} | {' | '.join(cells)} |")
    return "\n".join(lines)


def section(axis: Axis, rows: list[Json]) -> str:
    """The measured points of one axis."""
    return "\n".join([f"## {axis.title[0].upper()}{axis.title[1:]}", "", *_table(axis, rows), *_bytes(axis, rows)])


def _table(axis: Axis, rows: list[Json]) -> Iterator[str]:
    heads = by_work(axis, rows).get("training step")
    last = f" {'share of the classes' if heads else ''} |" if heads else ""
    yield f"| {axis.title} | | ms of an image | MiB, process | MiB, tensors |{last}"
    yield f"| --- | --- | --- | --- | --- |{' --- |' if heads else ''}"
    for work, (values, points) in by_work(axis, rows).items():
        for value, point in zip(values, points, strict=True):
            memory = point["memory_mib"]
            line = f"| {value:,} | {work} | {1000 * seconds_of_an_image(point):.3g} "
            line += f"| {memory['process']:.1f} | {memory['tensors']:.1f} |"
            yield line + (f" {_share(point)} |" if heads else "")


def _share(point: Json) -> str:
    """Of a training step what depends on the classes alone."""
    if "head_seconds" not in point:
        return ""
    return f"{statistics.median(point['head_seconds']) / statistics.median(point['seconds']):.1%}"


def _bytes(axis: Axis, rows: list[Json]) -> Iterator[str]:
    """What each image of a data set adds to the peak."""
    if axis.name != "images":
        return
    yield ""
    for work, (values, points) in by_work(axis, rows).items():
        if len(values) > 1:
            grown = points[-1]["memory_mib"]["process"] - points[0]["memory_mib"]["process"]
            yield f"- {work}: {grown * 2**20 / (values[-1] - values[0]):.0f} bytes more for each image."


def _judged(found: Exponent, known: float) -> str:
    error = f" ± {found.error:.2f}" if found.error == found.error else ""
    text = f"{found.value + 0:.2f}{error}".replace("-0.00", "0.00")
    return f"**{text}**" if found.exceeds(known) else text
