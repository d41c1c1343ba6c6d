"""One JSON object of everything that is on disk so far: what comes back from the machine."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from advdpnp.results import result_files
from advdpnp.runs import Json, Run, list_runs, read_json, write_json

SCHEMA = 1

# What may come back from a call.
MOST_FILES, FILE_BYTES, ALL_BYTES, FOLDERS_DOWN = 8, 16 * 2**20, 64 * 2**20, 2
LOG_BYTES = 4 * 2**20


def gather(work: Path, facts: Json) -> Json:
    """Everything that is known.

    Args:
        work: folder of stages/, runs/ and the files of the calls.
        facts: entries that come first, such as the commit.
    """
    return {
        "schema": SCHEMA,
        **facts,
        "calls": stored(work / "calls.json").get("calls", []),
        "outcomes": stored(work / "outcomes.json").get("outcomes", []),
        "plans": stored(work / "plans.json").get("plans", []),
        "stages": {path.stem: _or_error(stored, path) for path in sorted((work / "stages").glob("*.json"))},
        "arms": {folder.name: _or_error(arm_record, folder) for folder in sorted((work / "runs").glob("*"))},
        "weights": stored(work / "weights.json"),
    }


def arm_record(folder: Path) -> Json:
    """What is known of the one run below an arm's folder."""
    found = list_runs(folder)
    if not found:
        return {}
    run = Run(found[0])
    return {
        "folder": run.folder.relative_to(folder).as_posix(),
        "config": run.config(),
        "environment": stored(run.folder / "environment.json"),
        "trained": run.weights_path("last").exists(),
        "train": run.epochs(),
        "eval": {path.stem: read_json(path) for path in result_files(run)},
        "partial": {path.stem: read_json(path) for path in result_files(run, finished=False)},
        "going_on": stored(run.folder / "going-on.json"),
    }


def _or_error(read: Callable[[Path], Json], path: Path) -> Json:
    """What is damaged, no JSON, or gone between two looks must not hide the rest."""
    try:
        found = read(path)
        json.dumps(found, allow_nan=False)
        return found
    except (ValueError, OSError) as error:
        return {"unreadable": str(error)}


def stored(path: Path) -> Json:
    """A JSON object, empty where there is none."""
    return read_json(path) if path.exists() else {}


def append(path: Path, key: str, *entries: Json) -> None:
    """Add entries to the list that a JSON file holds, atomically."""
    write_json(path, {key: [*stored(path).get(key, []), *entries]})


class Gathering:
    """Keeps out/slot.json true to what is on disk: after every stage, epoch and suite.

    Args:
        work: folder of everything.
        out: folder of what comes back.
        facts: entries that come first.
    """

    def __init__(self, work: Path, out: Path, facts: Json) -> None:
        self._work, self._out, self._facts = work, out, facts
        self._seen: object = None
        self._next = 0.0

    def look(self, now: bool = False) -> None:
        """Write again what has changed; without `now` at most twice a second."""
        if not now and time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 0.5
        shorten_log(self._out / "log.txt")
        seen = self._signature()
        if now or seen != self._seen:
            self._seen = seen
            write_json(self._out / "slot.json", gather(self._work, self._facts))

    def _signature(self) -> object:
        patterns = ("*.json", "stages/*.json", "runs/**/*.json", "runs/**/train.jsonl")
        paths = [path for pattern in patterns for path in self._work.glob(pattern)]
        stats = ((path, path.stat()) for path in sorted(paths) if path.exists())
        return [(path, stat.st_mtime_ns, stat.st_size) for path, stat in stats]


def shorten_log(path: Path, limit: int = LOG_BYTES) -> None:
    """Keep the end of a log that has grown too long to come back; its writers append."""
    if path.exists() and path.stat().st_size > limit:
        content = path.read_bytes()[-limit // 2 :]
        with path.open("r+b") as file:
            file.truncate(0)
            file.write(b"(the beginning was left out)\n" + content)


def misfits(out: Path) -> list[str]:
    """What would not come back: too many files, one too large, all too large, a folder too deep, an odd name."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    total = sum(path.stat().st_size for path in files)
    found = [f"{len(files)} files, of which {MOST_FILES} come back"] if len(files) > MOST_FILES else []
    found += [f"{total} bytes, of which {ALL_BYTES} come back"] if total > ALL_BYTES else []
    for path in files:
        name = path.relative_to(out).as_posix()
        if path.stat().st_size > FILE_BYTES:
            found.append(f"{name} has {path.stat().st_size} bytes; {FILE_BYTES} come back")
        if name.count("/") > FOLDERS_DOWN:
            found.append(f"{name} lies more than {FOLDERS_DOWN} folders down")
        if not all(character.isascii() and (character.isalnum() or character in "._-/") for character in name):
            found.append(f"{name} has characters beside letters, digits and ._-")
    return found
