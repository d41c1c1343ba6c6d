"""A machine that one has for a limited time, as three calls see it: where things are, and how a stage is run."""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from advdpnp.runs import Json, write_json
from gpu.gathered import Gathering, append, misfits, stored
from gpu.plan import Plan
from gpu.processes import Stage, Workers, log_line, run_stages
from gpu.scale import Scale

SCRIPT = Path(__file__).parents[1] / "gpu_slot.py"
ROOT = SCRIPT.parents[1]

# A stage that stops by itself does so this long before it would be killed.
GRACE = 6.0
# Left for the last write of a call.
CLOSE = 3.0
# From asking for the machine until the first command runs.
BEFORE = 90.0


@dataclass(frozen=True)
class Places:
    """Folders.

    Args:
        work: outside the checkout; lasts from call to call.
        out: comes back after each call.
        carry: packed data that came with this call, or None.
    """

    work: Path
    out: Path
    carry: Path | None = None

    @property
    def data(self) -> Path:
        return self.work / "data"

    @property
    def runs(self) -> Path:
        return self.work / "runs"

    def stage(self, name: str) -> Path:
        return self.work / "stages" / f"{name}.json"


class Slot:
    """One call.

    Args:
        places: folders.
        scale: how large everything is.
        number: of the call, from 1.
        seconds: how long it may take; None for the scale's.
        left: seconds that the machine was said to be had for, still; None to count from the first call.
        commit: of the checkout, where it is known.
        worker: command of the processes that stages run in.
    """

    def __init__(
        self,
        places: Places,
        scale: Scale,
        number: int,
        seconds: float | None = None,
        left: float | None = None,
        commit: str = "",
        worker: Sequence[str] = (sys.executable, str(SCRIPT), "worker"),
    ) -> None:
        self.places, self.scale, self.number = places, scale, number
        began = time.time()
        places.out.mkdir(parents=True, exist_ok=True)
        places.work.mkdir(parents=True, exist_ok=True)
        self.deadline = began + (seconds or scale.seconds[number - 1]) - CLOSE
        first = min([call["began"] for call in stored(places.work / "calls.json").get("calls", [])] + [began])
        # The calls after this one need what is left after it.
        whole = scale.whole_minutes[number - 1]
        over = began + left - 60 * (15 - whole) if left else first - BEFORE + 60 * whole
        self.deadline = min(self.deadline, over - CLOSE)
        self.commit = commit or stored(places.work / "commit.json").get("commit", "")
        if self.commit:
            write_json(places.work / "commit.json", {"commit": self.commit})
        append(places.work / "calls.json", "calls", {"call": number, "began": began, "deadline": self.deadline})
        facts = {"slot": scale.slot, "scale": scale.name, "commit": self.commit, "settings": json.loads(_text(scale))}
        self._gathering = Gathering(places.work, places.out, facts)
        self._workers = Workers(worker, places.out / "log.txt", self._environment())
        self._gathering.look(now=True)

    @property
    def left(self) -> float:
        """Seconds until the call must be over."""
        return self.deadline - time.time()

    def stage(
        self, name: str, what: str, seconds: float, stall: float = 0.0, options: Mapping[str, object] | None = None
    ) -> Stage:
        """A stage that may take so many seconds, and never longer than the call."""
        options = dict(options or {})
        places, patience = self.places, self.scale.patience
        seconds, stall = seconds * patience, stall * patience
        job = {
            "name": name,
            "what": what,
            "work": str(places.work),
            "out": str(places.out),
            "carry": str(places.carry) if places.carry else None,
            "scale": self.scale.name,
            "seconds": seconds - GRACE,
            "deadline": self.deadline - GRACE,
            "options": options,
        }
        return Stage(name, job, seconds, self.deadline, places.stage(name), stall, options)

    def run(self, stages: Sequence[Stage], at_once: int = 1, last: bool = False) -> list[Json]:
        """Run stages; what each leaves is in out/slot.json as soon as it is on disk. After the last ones of a call no
        process need be ready."""

        def tick(ended: list[Json]) -> None:
            for outcome in ended:
                outcome |= {"call": self.number, **_error(stored(self.places.stage(outcome["stage"])))}
                log_line(
                    f"{outcome['stage']}: {outcome['ended']} after {outcome['seconds']:.1f} s, {self.left:.0f} left"
                )
            if ended:
                append(self.places.work / "outcomes.json", "outcomes", *ended)
            self._gathering.look(now=bool(ended))

        return run_stages(stages, self._workers, at_once, tick, prepare=not last)

    def outcomes(self) -> list[Json]:
        """Of this call and the ones before it, in the order in which they ended."""
        found: list[Json] = stored(self.places.work / "outcomes.json").get("outcomes", [])
        return found

    def result(self, name: str) -> Json:
        """What a stage has written, empty where it has written nothing."""
        return stored(self.places.stage(name))

    def note_plan(self, plan: Plan, why: str) -> None:
        """Keep a plan."""
        append(self.places.work / "plans.json", "plans", {"why": why, "left": round(self.left, 1), **asdict(plan)})
        log_line(f"plan ({why}): {', '.join(plan.arms) or 'nothing'}, {plan.epochs} epochs on {plan.engine}")

    def close(self) -> list[str]:
        """Write what is known one last time; what would not come back of it."""
        self._workers.close()
        self._gathering.look(now=True)
        found = misfits(self.places.out)
        for text in found:
            log_line(f"would not come back: {text}")
        return found

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
        cache = self.places.work / "cache"
        added = {
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
            # Compiled code lasts from stage to stage.
            "TORCHINDUCTOR_CACHE_DIR": str(cache / "inductor"),
            "TRITON_CACHE_DIR": str(cache / "triton"),
            "TORCHINDUCTOR_COMPILE_THREADS": "4",
        }
        if self.scale.threads:
            added["OMP_NUM_THREADS"] = str(self.scale.threads)
        if self.commit:
            added["ADVDPNP_COMMIT"] = self.commit
        return os.environ | added


def _text(scale: Scale) -> str:
    return json.dumps(asdict(scale))


def _error(result: Json) -> Json:
    return {"error": result["error"]} if result.get("error") else {}
