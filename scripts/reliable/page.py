"""docs/reliability.md from the stored parts."""

from collections.abc import Iterator
from typing import Any

from advdpnp.runs import Json
from page_table import table

_NAMES = {"train": "training", "evaluate": "evaluation", "report": "report"}
_LOOKS = {
    "resident_kib": "KiB that the process has of the machine",
    "allocated_kib": "KiB in use in the heap of C, tensors included",
    "python_blocks": "blocks of memory of Python's objects",
    "open_files": "open files",
}


def losses(parts: dict[str, Json]) -> list[str]:
    """What was lost, damaged without being noticed, or ended otherwise than in one line; nothing where all is well."""
    found = [f"{_NAMES[what]}: {text}" for what, kill in _kills(parts) for text in _lost(kill)]
    for part in ("damage", "malformed"):
        for row in parts.get(part, {}).get("kinds", ()):
            found += [f"{row['file']}: {text}" for text in row["missed"]]
    return found


def _kills(parts: dict[str, Json]) -> list[tuple[str, Json]]:
    kills = parts.get("kills", {})
    return [(name, kills[name]) for name in _NAMES if name in kills]


def _lost(kill: Json) -> Iterator[str]:
    for number, one in enumerate(kill["rounds"], start=1):
        if not one.get("identical", True):
            yield f"round {number} ended with other bytes"
        if one.get("verdict_differences", 0):
            yield f"round {number} ended with {one['verdict_differences']} other verdicts"
        if one["left_behind"]:
            yield f"round {number} left {', '.join(one['left_behind'])} behind"
    if kill.get("torn_files"):
        yield f"{kill['torn_files']} files were half-written after a kill"


def page_text(parts: dict[str, Json]) -> str:
    """The page, in Markdown; a part that was not measured says so."""
    lost = losses(parts)
    lines = [
        "# Reliability",
        "",
        "What was tried to lose or to spoil results, and what became of it. This page is written by",
        "`python scripts/reliability.py` from the files in `results/reliability/`, which the script measures.",
        "",
        f"**{'Nothing was lost.' if not lost else f'Lost: {len(lost)}, listed at the end.'}**",
        "",
        *_summary(parts),
        "",
        *_kill_lines(parts),
        *_damage_lines(parts),
        *_malformed_lines(parts),
        *_soak_lines(parts),
    ]
    if lost:
        lines += ["", "## What was lost", "", *(f"- {text}" for text in lost)]
    return "\n".join([*lines, ""])


def _summary(parts: dict[str, Json]) -> list[str]:
    rows: list[tuple[str, Any, Any]] = []
    for name, kill in _kills(parts):
        good = sum(one["kills"] for one in kill["rounds"] if one.get("identical", not one.get("verdict_differences")))
        rows.append((f"SIGKILLs in {_NAMES[name]} after which the end is the same", kill["kills"], good))
    for part, what in (("damage", "damaged files refused, or harmless"), ("malformed", "malformed values refused")):
        if part in parts:
            kinds = parts[part]["kinds"]
            tried, missed = sum(row["tried"] for row in kinds), sum(len(row["missed"]) for row in kinds)
            taken = sum(row.get("taken", 0) for row in kinds)
            more = f", {taken} of which are values that may be so" if taken else ""
            rows.append((what + more, tried, tried - missed))
    if "soak" in parts:
        soak = parts["soak"]
        growth = soak["growth"]["resident_kib"]["per_run"]
        rows.append(("runs in one process", soak["runs"], f"{growth:+.2f} KiB for each run"))
    return table(("What", "Tried", "Well"), rows) if rows else ["Nothing is measured yet."]


def _kill_lines(parts: dict[str, Json]) -> Iterator[str]:
    if not _kills(parts):
        return
    rows = [
        (f"`{name}`{_HOW[name]}", kill["kills"], kill["finished"], _compared(name, kill), _left(kill))
        for name, kill in _kills(parts)
    ]
    yield from (
        "## Kills",
        "",
        "`kill -9` at moments that are uniform at random, from the start of the process on. What was killed is gone on",
        "with, by `--resume` where there is one, and killed again, until it ends; then the same from its beginning.",
        "The processes are forked from one that has imported torch, so that kills fall into work, not into imports.",
        "",
        *table(("In", "Kills", "Times to the end", "Compared with an undisturbed one", "Left behind"), rows),
        "",
    )


_HOW = {"train": ", a checkpoint in each step", "evaluate": ", four searches of AutoAttack", "report": ""}


def _compared(name: str, kill: Json) -> str:
    if name == "train":
        return f"bits of `last` and `best`: {_identical(kill)}"
    if name == "report":
        return f"{kill['files']} files: {_identical(kill)}; half-written ones: {kill['torn_files']}"
    differing = sum(max(one["verdict_differences"], 0) for one in kill["rounds"])
    return f"{kill['verdicts'] * len(kill['rounds']):,} verdicts: {differing} different"


def _identical(kill: Json) -> str:
    return f"{sum(one['identical'] for one in kill['rounds'])} of {kill['finished']} identical"


def _left(kill: Json) -> str:
    names = [name for one in kill["rounds"] for name in one["left_behind"]]
    return ", ".join(sorted(set(names))) or "nothing"


def _damage_lines(parts: dict[str, Json]) -> Iterator[str]:
    if "damage" not in parts:
        return
    scale = parts["damage"]["scale"]
    yield from (
        "## Damaged files",
        "",
        f"Each kind of file that a run or an export holds, with one bit turned over at up to {scale['flips']} places",
        "from the first byte to the last; 4,096 bytes zeroed (a quarter of smaller files) at four places; cut short at",
        "five; its halves exchanged; and with other content. *Refused*: one line that names the file. *Harmless*: what",
        "is read is the same to the last bit, as where the bit is in a date of an archive, or in spaces of JSON.",
        "",
        *table(
            ("File", "Bytes", "Tried", "Refused", "Harmless", "Missed"),
            [
                (row["file"], f"{row['bytes']:,}", row["tried"], row["refused"], row["harmless"], len(row["missed"]))
                for row in parts["damage"]["kinds"]
            ],
        ),
        "",
        "JSON has its SHA-256 as its first entry, over all others whatever their order and spaces, and so has each",
        "line of `train.jsonl`. Weights have theirs in the metadata of safetensors; `state.pt` and arrays are archives",
        "whose checksums are verified; what other programs read of an export is in its `SHA256SUMS`. Files without a",
        "checksum, of earlier versions or other programs, are read, and one warning says how many there are. Whoever",
        'edits a file by hand removes the entry `"sha256"`.',
        "",
    )


_IMPOSSIBLE = (
    "",
    "Numbers that cannot be, such as an accuracy of 7, an angle of 181 degrees or -8 images: a report names the file,",
    "leaves it out, and shows the rest. *Missed*: it shows such a number.",
)


def _malformed_lines(parts: dict[str, Json]) -> Iterator[str]:
    if "malformed" not in parts:
        return
    yield from (
        "## Malformed values",
        "",
        "Whole files with values that somebody made: an entry away, or of another kind, out of range, nested, of 400",
        "digits, a path out of the folder, another schema. *Refused*: status 2 and one line. *Taken*: the value may",
        "be so, such as another text in a note. *Missed*: a traceback, another status, or more than one line.",
        *_IMPOSSIBLE * any("cannot be" in row["file"] for row in parts["malformed"]["kinds"]),
        "",
        *table(
            ("In", "Tried", "Refused", "Taken", "Missed"),
            [
                (row["file"], row["tried"], row["refused"], row["taken"], len(row["missed"]))
                for row in parts["malformed"]["kinds"]
            ],
        ),
        "",
    )


def _soak_lines(parts: dict[str, Json]) -> Iterator[str]:
    if "soak" not in parts:
        return
    soak = parts["soak"]
    short = "" if soak["runs"] >= soak["asked"] else f" of {soak['asked']:,} that were asked for"
    yield from (
        "## Soak",
        "",
        f"{soak['runs']:,} runs{short}, each trained, attacked and removed, in one process, in {soak['seconds']:,.0f}",
        f"seconds, {soak['seconds_of_work']:,.0f} of the processor. Slopes are by least squares after the first fifth.",
        "",
        *table(
            ("What", "After the first fifth", "At the end", "For each run", "Standard error"),
            [(_LOOKS[name], *_growth(one)) for name, one in soak["growth"].items()],
        ),
        "",
        "What the process has of the machine is more than what is in use: the allocator keeps what was let go of, in",
        "pieces. Objects of Python are in blocks of at most 512 bytes, which are not in the heap of C.",
        "",
        "Earlier versions grew by 1 to 4.5 KiB for each run. It was `safe_open` of safetensors, which leaves integers",
        "of Python behind with every tensor; weights are now read whole. Blocks left behind for each tensor of a file",
        f"that is read and let go of: {_each(soak['blocks_per_tensor'])}.",
    )


def _growth(of: Json) -> tuple[str, ...]:
    return f"{of['after_warm_up']:,}", f"{of['at_the_end']:,}", f"{of['per_run']:+.3f}", f"{of['error']:.3f}"


def _each(blocks: Json) -> str:
    return ", ".join(f"{count:.2f} by {reader}" for reader, count in blocks.items())
