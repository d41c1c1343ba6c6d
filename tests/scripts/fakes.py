"""Stages that are over at once, on a clock that moves only when they say so."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from advdpnp.runs import Json, write_json
from gpu import slot as slot_module
from gpu.processes import Stage
from gpu.scale import REAL, Scale
from gpu.slot import Places, Slot

# Seconds that a stage took, how it ended, and what it left.
Script = Callable[[Stage], tuple[float, str, Json]]


class FakeTime:
    """Stands in for the module `time` of `gpu.slot`."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now


class FakeSlot(Slot):
    """A call whose stages are played by a script.

    Args:
        folder: of the work and of what comes back.
        script: says how each stage goes.
        clock: shared by the calls of one machine.
        number, scale, options: as a `Slot`'s.
    """

    def __init__(
        self, folder: Path, script: Script, clock: FakeTime, number: int, scale: Scale = REAL, **options: Any
    ) -> None:
        self.script, self.clock = script, clock
        self.begun: list[Stage] = []
        super().__init__(Places(folder / "work", folder / "out"), scale, number, **options)

    def run(self, stages: Sequence[Stage], at_once: int = 1, last: bool = False) -> list[Json]:
        began, ends, outcomes = self.clock.now, [self.clock.now], []
        for stage in stages:
            if stage.seconds <= 0 or began >= stage.deadline:
                seconds, ended, found = 0.0, "not begun: no time", {}
            else:
                self.begun.append(stage)
                seconds, ended, found = self.script(stage)
                limit = min(stage.seconds, stage.deadline - began)
                if seconds > limit:
                    seconds, ended = limit, "killed: over its time"
                if found:
                    write_json(self.places.stage(stage.name), found)
            ends.append(began + seconds)
            outcomes.append({"stage": stage.name, "ended": ended, "seconds": seconds, **stage.facts})
        # Beside each other where several run at once.
        self.clock.now = max(ends) if at_once > 1 else began + sum(end - began for end in ends)
        slot_module.append(self.places.work / "outcomes.json", "outcomes", *outcomes)
        return outcomes
