"""Gives changed files to every reader of the package, and keeps those that it does not answer with a value or one line.

    python scripts/fuzz.py results/fuzzing/summary.json --minutes 10 --jobs 2 --work /tmp/fuzz
    python scripts/fuzz.py results/fuzzing/summary.json --minutes 1 --only picture yaml
    python scripts/fuzz.py --again picture /tmp/fuzz/picture/0123456789abcdef.input

A reader may give a value, or raise ValueError or OSError, in one line. Anything else is a finding: another
error, a crash, more than ten seconds of the processor, more memory than files of that size need, a process that is
started, a connection, or a file that is written outside of the folder. Each runs in processes of its own, in which
memory is limited. Files that reach new lines of the package are changed further.

A target that has had its minutes at this commit is not run again, so an interrupted campaign goes on. Run it with
`nice -n 19` beside other work.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from advdpnp.api import environment, resolve_device
from advdpnp.runs import Json, read_json, write_json

# Seconds without a word from a process, after which it hangs where no signal reaches it.
_SILENT = 120.0


def campaign(name: str, seconds: float, seed: int, seed_files: Path, folder: Path) -> Json:
    """What one target has been given, and what was found."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    end, done, starts = time.monotonic() + seconds, {"count": 0, "lines": 0, "corpus": 0}, 0
    while (left := end - time.monotonic()) > 1:
        said, ending = _one_process(name, left, seed + 1000 * starts, seed_files, folder)
        starts += 1
        done = {
            "count": done["count"] + said["count"],
            **{key: max(done[key], said[key]) for key in ("lines", "corpus")},
        }
        if ending and (folder / "input").is_file():
            digest = f"ended-{starts}"
            shutil.copyfile(folder / "input", folder / f"{digest}.input")
            write_json(folder / f"{digest}.json", {"found": ending, "input": f"{digest}.input"})
    # Several processes find the same, each for itself.
    found = {one["found"]: one for one in map(read_json, sorted(folder.glob("*.json")))}
    return {
        "name": name,
        "executions": done["count"],
        "lines_of_the_package": done["lines"],
        "files_that_reached_new_ones": done["corpus"],
        "minutes": round(seconds / 60, 2),
        "processes": starts,
        "findings": list(found.values()),
    }


def _one_process(name: str, seconds: float, seed: int, seed_files: Path, folder: Path) -> tuple[dict[str, int], str]:
    """What a process has counted, and how it ended where it did not end by itself."""
    command = [sys.executable, __file__, "--worker", name, str(seconds), str(seed), str(seed_files), str(folder)]
    said = {"count": 0, "lines": 0, "corpus": 0}
    out, errors = folder / "out", folder / "errors"
    with out.open("wb") as lines, errors.open("wb") as said_of_errors:
        process = subprocess.Popen(command, stdout=lines, stderr=said_of_errors)
        size, heard, ending = 0, time.monotonic(), ""
        while process.poll() is None:
            time.sleep(0.5)
            if (now := out.stat().st_size) != size:
                size, heard = now, time.monotonic()
            elif time.monotonic() - heard > _SILENT:
                process.kill()
                ending = f"hang: not a word for {_SILENT:.0f} s, and no signal is heard"
        process.wait()
    for line in out.read_text().splitlines()[-1:]:
        said |= json.loads(line)
    if process.returncode and not ending:
        last = (errors.read_text(errors="replace").splitlines() or [""])[-1]
        ending = f"ended with status {process.returncode}: {last[:200]}"
    return said, ending


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, nargs="?", help="JSON file of the summary")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="targets; by default all, the riskiest first")
    parser.add_argument("--work", type=Path, default=Path("/tmp/advdpnp-fuzz"), help="folder of files that were found")
    parser.add_argument(
        "--again", nargs=2, metavar=("TARGET", "FILE"), help="give one file to one target, with its traceback"
    )
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args()
    # Findings of the package are found by their own frames, and its folder may be anywhere.
    if given.worker:
        from fuzzing.worker import work

        name, seconds, seed, seed_files, folder = given.worker
        work(name, float(seconds), int(seed), Path(seed_files), Path(folder))
        return
    seed_files = given.work / "seeds"
    if not seed_files.is_dir():
        from fuzzing.seeds import write_all

        write_all(seed_files)
    if given.again:
        _again(given.again[0], Path(given.again[1]), seed_files, given.work / "again")
        return
    _run_all(given, seed_files)


def _again(name: str, file: Path, seed_files: Path, folder: Path) -> None:
    from fuzzing.targets import TARGETS

    content = file.read_bytes()
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(seed_files / "run", folder / "run")
    path = folder / f"input{TARGETS[name].suffix}"
    path.write_bytes(content)
    print(TARGETS[name].read(path))


def _is_done(stored: Json | None, commit: str, minutes: float) -> bool:
    return stored is not None and stored["commit"] == commit and bool(stored["minutes"] >= minutes)


def _run_all(given: Any, seed_files: Path) -> None:
    from fuzzing.targets import TARGETS

    unknown = set(given.only or ()) - set(TARGETS)
    if unknown or given.out is None:
        raise SystemExit(
            f"expected a file for the summary and targets of {', '.join(TARGETS)}; got {unknown or 'none'}"
        )
    commit = environment(resolve_device("cpu"))["commit"]
    stored: dict[str, Any] = read_json(given.out)["targets"] if given.out.is_file() else {}
    wanted = [name for name in given.only or TARGETS if not _is_done(stored.get(name), commit, given.minutes)]

    def one(name: str) -> None:
        # Of the code that its processes are about to import.
        at = environment(resolve_device("cpu"))["commit"]
        found = campaign(name, 60 * given.minutes, given.seed, seed_files, given.work / name)
        stored[name] = found | {"commit": at}
        print(f"{name}: {found['executions']:,} files, {len(found['findings'])} findings", flush=True)
        for finding in found["findings"]:
            print(f"  {finding['found']}  {given.work / name / finding['input']}", flush=True)
        write_json(given.out, {"schema": 1, "targets": {key: stored[key] for key in TARGETS if key in stored}})

    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(one, wanted))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
