"""What docs/reliability.md says is measured: kills, damaged files, malformed values, a soak. Unattended, resumable.

    python scripts/reliability.py                   all parts that results/reliability/ does not hold yet, and the page
    python scripts/reliability.py soak --again      one part, anew
    python scripts/reliability.py page              the page alone, from the stored parts
    python scripts/reliability.py --quick           a handful of each, to see that it works

Status 0: everything was measured, and nothing was lost. Status 1: something was, and the page names it.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

import torch  # noqa: E402

from advdpnp.api import environment  # noqa: E402
from advdpnp.runs import Json, read_json, write_json  # noqa: E402
from reliable.page import losses, page_text  # noqa: E402
from reliable.scale import FULL, QUICK, Scale  # noqa: E402


def _kills(work: Path, scale: Scale, keep: Callable[[Json], None]) -> Json:
    from reliable.kills import kill_evaluations, kill_reports, kill_trainings

    found: Json = {}
    for name, kill in (
        ("train", lambda: kill_trainings(work, scale.kills, scale.seed)),
        ("report", lambda: kill_reports(work, scale.kills, scale.seed)),
        ("evaluate", lambda: kill_evaluations(work, scale.kills, scale.seed, scale.images)),
    ):
        found[name] = kill()
        keep(found)
    return found


def _damage(work: Path, scale: Scale, keep: Callable[[Json], None]) -> Json:
    from reliable.damage import EXPORTED, KINDS, damage, made

    run, exported = made(work)
    return {"kinds": [*damage(run, KINDS, scale.flips, 0), *damage(exported, EXPORTED, scale.flips, 0)]}


def _malformed(work: Path, scale: Scale, keep: Callable[[Json], None]) -> Json:
    from reliable.damage import made
    from reliable.impossible import impossible
    from reliable.malformed import malformed

    run, _ = made(work)
    return {"kinds": [*malformed(run, work, scale.changes), *impossible(run, work, scale.changes)]}


def _soak(work: Path, scale: Scale, keep: Callable[[Json], None]) -> Json:
    from reliable.soak import soak

    return soak(work / "soak", scale.runs, scale.minutes, scale.every, keep)


PARTS: dict[str, Callable[[Path, Scale, Callable[[Json], None]], Json]] = {
    "kills": _kills,
    "damage": _damage,
    "malformed": _malformed,
    "soak": _soak,
}


def measure(parts: list[str], into: Path, scale: Scale, again: bool = False) -> dict[str, Any]:
    """Measure parts that are not stored yet; all stored parts, by name."""
    for name in parts:
        path = into / f"{name}.json"
        if path.is_file() and not again:
            continue
        facts = {"schema": 1, "scale": vars(scale), "environment": environment(torch.device("cpu"))}
        with tempfile.TemporaryDirectory(prefix=f"reliability-{name}-") as work:
            _measure_one(name, Path(work), scale, path, facts)
        print(f"{name}: {path}", flush=True)
    return {name: read_json(into / f"{name}.json") for name in PARTS if (into / f"{name}.json").is_file()}


def _measure_one(name: str, work: Path, scale: Scale, path: Path, facts: Json) -> None:
    def keep(found: Json) -> None:
        write_json(path, facts | found)

    keep(PARTS[name](work, scale, keep))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}, page; by default all")
    parser.add_argument("--into", type=Path, default=ROOT / "results/reliability", help="folder of the JSON files")
    parser.add_argument("--page", type=Path, default=ROOT / "docs/reliability.md", help="the page to write")
    parser.add_argument("--again", action="store_true", help="measure what is stored already")
    parser.add_argument("--quick", action="store_true", help="a handful of each")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    wanted = asked.parts or [*PARTS, "page"]
    if unknown := set(wanted) - {*PARTS, "page"}:
        parser.error(f"unknown part {min(unknown)}")
    found = measure([one for one in wanted if one != "page"], asked.into, QUICK if asked.quick else FULL, asked.again)
    if "page" in wanted:
        asked.page.write_text(page_text(found))
    lost = losses(found)
    print("\n".join(lost) or "nothing was lost")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
