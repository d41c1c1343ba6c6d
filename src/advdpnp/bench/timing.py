"""Times of several ways to do the same work: each when it is warmed up, then all in turn, A B C A B C."""

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from advdpnp.api.environment import cudnn_benchmark
from advdpnp.runs import Json

Work = Callable[[], Tensor | None]

OUT_OF_TIME = "out of time"

# On a GPU a single run is over in milliseconds: several in a row let the host run ahead, as it does in training.
_RUNS_PER_TIMING = {"cuda": 5}
_WARM_UPS = {"cuda": 3}


def silent(text: str) -> None:
    """Prints nothing."""


@dataclass(frozen=True)
class Variant:
    """One way to do the work.

    Args:
        name: of its row in the table.
        precision: "fp32" or "bf16": of the convolutions, and of the ceiling that the rate is compared with.
        gflop: counted operations for each image, in 10^9.
        make: sets up and returns what is timed.
        needs_gpu: whether it needs CUDA, for its graphs or for cuDNN.
        benchmark_cudnn: whether cuDNN tries its algorithms.
    """

    name: str
    precision: str
    gflop: float
    make: Callable[[], Work]
    needs_gpu: bool = False
    benchmark_cudnn: bool = False


@dataclass(frozen=True)
class Deadline:
    """The time after which no further work is begun.

    Args:
        minutes: from now.
    """

    minutes: float
    _began: float = field(default_factory=time.monotonic)

    def passed(self) -> bool:
        return self.elapsed() > 60 * self.minutes

    def left(self) -> float:
        """Minutes, at least 0."""
        return max(0.0, self.minutes - self.elapsed() / 60)

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began


@dataclass(frozen=True)
class VariantTiming:
    """Times variants into a table, one entry for each, and saves it after every piece of work.

    Args:
        device: where they run.
        repeats: timings of each variant.
        deadline: for all of them.
        at_least: a lower bound of the seconds of one run of a variant; one that cannot end in time is not begun.
        table: filled in place, variant name -> entry.
        save: called after every change of the table.
        tell: called with a line for people after every variant.
    """

    device: torch.device
    repeats: int
    deadline: Deadline
    at_least: Callable[[Variant], float]
    table: Json
    save: Callable[[], None]
    tell: Callable[[str], None] = silent

    def measure(self, variants: Sequence[Variant]) -> dict[str, Tensor]:
        """Time the variants, on a GPU from the last, which is the fastest and matters most, to the first.

        Returns:
            The output of each variant's first run, where that is a tensor.
        """
        # All rows are in the table from the beginning, so that one that is cut off is complete.
        for variant in variants:
            entry = {"precision": variant.precision, "gflop_per_image": round(variant.gflop, 4), "skipped": OUT_OF_TIME}
            self.table[variant.name] = entry
        ready: list[tuple[Variant, Work]] = []
        outputs: dict[str, Tensor] = {}
        for variant in reversed(variants) if self.device.type == "cuda" else variants:
            reason = self._reason_against(variant)
            if reason:
                self.table[variant.name]["skipped"] = reason
            else:
                with self._alone(variant):
                    ready.append((variant, self._begin(variant, outputs)))
            self.tell(f"{variant.name}: {_outcome(self.table[variant.name])}")
            self.save()
        for _ in range(self.repeats - 1):
            for variant, work in ready:
                if not self.deadline.passed() and "error" not in self.table[variant.name]:
                    with self._alone(variant):
                        self._time(variant, work)
                    self.save()
        return outputs

    def _reason_against(self, variant: Variant) -> str:
        if variant.needs_gpu and self.device.type != "cuda":
            return "needs a CUDA device: " + ("cuDNN" if variant.benchmark_cudnn else "CUDA graphs")
        if self.deadline.passed():
            return OUT_OF_TIME
        needed = (1 + self.repeats) * self.at_least(variant)
        if needed > 60 * self.deadline.left():
            return f"{OUT_OF_TIME}: needs at least {needed:.0f} s at the measured {variant.precision} ceiling"
        return ""

    @contextmanager
    def _alone(self, variant: Variant) -> Iterator[None]:
        """An error of one variant is stored, and the others go on."""
        try:
            yield
        except Exception as error:
            self.table[variant.name]["error"] = one_line(error)

    def _begin(self, variant: Variant, outputs: dict[str, Tensor]) -> Work:
        entry = self.table[variant.name]
        del entry["skipped"]
        work, output = _warm_up(variant, self.device, entry)
        self._time(variant, work)
        if output is not None:
            outputs[variant.name] = output
        return work

    def _time(self, variant: Variant, work: Work) -> None:
        with cudnn_benchmark(variant.benchmark_cudnn):
            _add_time(self.table[variant.name], *timed(self.device, work, _RUNS_PER_TIMING.get(self.device.type, 1)))


def timed(device: torch.device, work: Callable[[], object], runs: int = 1) -> tuple[float, float]:
    """Seconds for one of `runs` runs in a row: (GPU time between events, or the process's CPU time; wall time)."""
    synchronize(device)
    wall = time.perf_counter()
    if device.type == "cuda":
        begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        begin.record()
        for _ in range(runs):
            work()
        end.record()
        end.synchronize()
        seconds = begin.elapsed_time(end) / 1000
    else:
        process = time.process_time()
        for _ in range(runs):
            work()
        seconds = time.process_time() - process
    return seconds / runs, (time.perf_counter() - wall) / runs


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def add_rates(table: Json, batch: int, ceilings: Json) -> None:
    """Speed-up over `naive`, images/s, TFLOP/s and its fraction of the ceiling of the same precision, in place."""
    measured = {name: entry for name, entry in table.items() if "seconds" in entry}
    naive = measured.get("naive", {}).get("seconds")
    for entry in measured.values():
        seconds = entry["seconds"]
        rate = entry["gflop_per_image"] * batch / seconds / 1000
        entry["images_per_second"] = round(batch / seconds, 2)
        entry["tflop_per_second"] = round(rate, 5)
        entry["fraction_of_ceiling"] = round(rate / ceilings[f"{entry['precision']}_tflop_per_second"], 4)
        if naive is not None:
            entry["times_naive"] = round(naive / seconds, 3)


def one_line(error: Exception) -> str:
    """Type and message of an error, on one line, shortened."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _outcome(entry: Json) -> str:
    if "seconds" in entry:
        return f"{entry['seconds']:.4g} s, the first run {entry['warm_up_seconds']:.3g} s"
    return str(entry.get("error") or entry["skipped"])


def _warm_up(variant: Variant, device: torch.device, entry: Json) -> tuple[Work, Tensor | None]:
    began, held = time.perf_counter(), _start_memory(device)
    with cudnn_benchmark(variant.benchmark_cudnn):
        work = variant.make()
        for _ in range(_WARM_UPS.get(device.type, 1)):
            output = work()
        synchronize(device)
    entry["warm_up_seconds"] = round(time.perf_counter() - began, 3)
    entry["peak_memory_mib"] = round(_peak_memory(device) - held, 1)
    return work, output


def _start_memory(device: torch.device) -> float:
    if device.type != "cuda":
        return 0.0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device) / 2**20


def _peak_memory(device: torch.device) -> float:
    """MiB: on a GPU the most that was allocated; on a CPU the largest size that the whole process ever had."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _add_time(entry: Json, seconds: float, wall: float) -> None:
    entry.setdefault("times", []).append(round(seconds, 6))
    entry.setdefault("wall_times", []).append(round(wall, 6))
    entry["seconds"] = statistics.median(entry["times"])
    entry["wall_seconds"] = statistics.median(entry["wall_times"])
