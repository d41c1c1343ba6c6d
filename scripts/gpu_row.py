"""One row of the GPU experiments, unattended and in pieces: train, evaluate, and leave small files.

    PYTHONPATH=src python scripts/gpu_row.py 2 --data-root DATA --runs RUNS --out OUT --minutes 9

Rows: 0 speed ladders; 1 three forms of the alignment term; 2 Adv-DPNP; 3 AutoAttack of row 2; 4 AT; 7 bf16 and fp32.
Status 0: the row is done. Status 3: the time is up, and the same command continues. Status 2: it cannot run.
"""

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from advdpnp import api, runs
from advdpnp.bench import bench_text, run_bench
from advdpnp.bench.timing import one_line
from advdpnp.evaluation.precision import SearchPrecision
from advdpnp.experiments import Experiment, experiment, from_config
from advdpnp.progress import Lines
from advdpnp.runs import Json, Run, write_bytes, write_json
from advdpnp.training.guard import NonFiniteLossError

ALL_SUITES = ("quick", "text", "fsr", "curve")
PIECE_BYTES = 15 * 2**20
# Left for writing the results after the last step.
RESERVE_SECONDS = 10.0
CHECKPOINT_SECONDS = 20.0
DONE, REFUSED, AGAIN = 0, 2, 3


@dataclass(frozen=True)
class Arm:
    """One run of a row.

    Args:
        defense: name of the method.
        tag: tells it apart from the method's main run; "" for that one.
        settings: what differs from the recipe `paper` in bf16.
        suites: how it is evaluated.
        weights: whether its weights are kept.
    """

    defense: str
    tag: str = ""
    settings: tuple[str, ...] = ()
    suites: tuple[str, ...] = ALL_SUITES
    weights: bool = True

    @property
    def label(self) -> str:
        """Name of its folder among the results."""
        return "-".join(part for part in (self.defense, self.tag) if part)


def _alignment_arm(tag: str, *settings: str) -> Arm:
    return Arm("adv-dpnp", tag, ("recipe.epochs=30", *settings), ("quick", "text"), weights=False)


ROWS: dict[int, tuple[Arm, ...]] = {
    1: (
        _alignment_arm("mean-30", "defense.alignment=mean"),
        _alignment_arm("sum-30", "defense.alignment=sum"),
        _alignment_arm("sum-0.01-30", "defense.alignment=sum", "defense.lambda_dpp=0.01"),
    ),
    2: (Arm("adv-dpnp"),),
    # The network of row 2, which is trained first if it is not there.
    3: (Arm("adv-dpnp", suites=("autoattack",), weights=False),),
    4: (Arm("at", suites=(*ALL_SUITES, "autoattack")),),
    7: (Arm("adv-dpnp"), Arm("adv-dpnp", "fp32", ("recipe.precision=fp32",), ("quick", "text"))),
}


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Args:
        network: data/backbone of every run.
        settings: of the recipe, after the arm's.
        engines: in the order in which they are tried.
        limit: test images; None for all.
        bench: models, batch, steps, repeats of row 0.
        search_precision: of AutoAttack; the network in fp32 gives the verdicts.
    """

    network: str
    settings: tuple[str, ...]
    engines: tuple[str, ...]
    limit: int | None
    bench: tuple[tuple[str, ...], int, int, int]
    search_precision: SearchPrecision


REAL = Scale(
    "cifar10/resnet18",
    (),
    ("step", "graph", "compiled", "folded"),
    None,
    (("resnet18", "wrn-34-10"), 128, 10, 10),
    "tf32",
)
_TINY_RECIPE = ("epochs=1", "train_images=256", "batch_size=64", "attack.steps=2", "precision=fp32")
TINY = Scale(
    "digits/resnet8",
    tuple(f"recipe.{setting}" for setting in _TINY_RECIPE),
    ("folded",),
    64,
    (("tiny",), 8, 2, 1),
    "fp32",
)


class OutOfTimeError(Exception):
    """The piece is over."""


class Piece(Lines):
    """Watches a run, and ends it when its time is up.

    Args:
        deadline: in seconds since the epoch.
    """

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def check(self) -> None:
        """Raise OutOfTimeError if the time is up."""
        if time.time() > self._deadline:
            raise OutOfTimeError

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        super().on_step(epoch, step, steps, epochs)
        self.check()

    def on_images(self, images: int) -> None:
        self.check()

    def on_steps(self, left: int, bound: float) -> None:
        super().on_steps(left, bound)
        self.check()


def make_experiment(arm: Arm, scale: Scale, engine: str) -> Experiment:
    """The arm at this scale: recipe `paper`, bf16 unless the arm or the scale says otherwise."""
    settings = ("recipe.precision=bf16", *arm.settings, *scale.settings, f"recipe.engine={engine}")
    return experiment(f"{scale.network}/{arm.defense}", "paper", tag=arm.tag, settings=settings)


def choose_engine(folder: Path, failures: Iterable[Json], engines: tuple[str, ...]) -> str:
    """The engine that a run began with, or else the first that has not failed on it.

    Raises:
        ValueError: all have failed.
    """
    config = folder / "config.json"
    if config.exists():
        return from_config(runs.read_json(config)).recipe.engine
    failed = {failure["engine"] for failure in failures}
    for engine in engines:
        if engine not in failed:
            return engine
    raise ValueError(f"every engine failed for {folder}, see engines.json among the runs: got {', '.join(engines)}")


def _stored(path: Path) -> Json:
    return runs.read_json(path) if path.exists() else {}


class Worker:
    """Trains and evaluates arms until the deadline.

    Args:
        arguments: of the command line.
        scale: how large everything is.
    """

    def __init__(self, arguments: argparse.Namespace, scale: Scale) -> None:
        self._arguments, self._scale = arguments, scale
        self._piece = Piece(arguments.deadline - RESERVE_SECONDS)
        self._engines = arguments.runs / "engines.json"

    def folder(self, arm: Arm) -> Path:
        return make_experiment(arm, self._scale, "folded").folder(self._arguments.runs)

    def failures(self, arm: Arm) -> list[Json]:
        """Engines that failed before the arm's first checkpoint."""
        return list(_stored(self._engines).get(str(self.folder(arm).relative_to(self._arguments.runs)), []))

    def work(self, arm: Arm) -> None:
        """Train what is not trained, evaluate what is not evaluated; OutOfTimeError when the time is up."""
        run = Run(self.folder(arm))
        began, first = time.time(), len(run.epochs())
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        try:
            if not run.weights_path("last").exists():
                self._train(arm, run)
            self._evaluate(arm, run)
        finally:
            if run.folder.exists():
                self._note_piece(run, began, first)

    def _train(self, arm: Arm, run: Run) -> None:
        engine = choose_engine(run.folder, self.failures(arm), self._scale.engines)
        wanted = make_experiment(arm, self._scale, engine)
        arguments = self._arguments
        try:
            self._piece.check()
            api.train(
                wanted,
                arguments.runs,
                data_root=arguments.data_root,
                resume=True,
                observer=self._piece,
                checkpoint_seconds=CHECKPOINT_SECONDS,
            )
        except (OutOfTimeError, NonFiniteLossError, OSError):
            raise
        except Exception as error:
            if run.state_path.exists():
                raise
            self._give_up_engine(run, engine, error)

    def _give_up_engine(self, run: Run, engine: str, error: Exception) -> None:
        """Note the failure and begin this command again with the next engine."""
        print(f"engine {engine} failed: {one_line(error)}", file=sys.stderr, flush=True)
        failures, key = _stored(self._engines), str(run.folder.relative_to(self._arguments.runs))
        failures.setdefault(key, []).append({"engine": engine, "error": one_line(error), "torch": torch.__version__})
        write_json(self._engines, failures)
        shutil.rmtree(run.folder, ignore_errors=True)
        # A failed capture leaves CUDA in a state that only a new process gets rid of.
        os.execv(sys.executable, [sys.executable, *sys.argv, "--deadline", str(self._arguments.deadline)])

    def result_path(self, run: Run, suite: str) -> Path:
        """Where the result of a suite is."""
        precision = self.search_precision(suite)
        return run.eval_path(f"{suite}.json" if precision == "fp32" else f"{suite}-{precision}.json")

    def search_precision(self, suite: str) -> SearchPrecision:
        """What a suite searches in."""
        return self._scale.search_precision if suite.startswith("autoattack") else "fp32"

    def _evaluate(self, arm: Arm, run: Run) -> None:
        for suite in arm.suites:
            if not self.result_path(run, suite).exists():
                self._piece.check()
                api.evaluate(
                    run.folder,
                    suite,
                    limit=self._scale.limit,
                    data_root=self._arguments.data_root,
                    resume=True,
                    search_precision=self.search_precision(suite),
                    listener=self._piece,
                )

    def _note_piece(self, run: Run, began: float, first: int) -> None:
        on_gpu = torch.cuda.is_available()
        path = run.folder / "pieces.json"
        pieces = _stored(path).get("pieces", [])
        piece = {
            "seconds": round(time.time() - began, 1),
            "epochs": [first, len(run.epochs())],
            "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "peak_memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if on_gpu else None,
        }
        write_json(path, {"pieces": [*pieces, piece]})

    def harvest(self, arm: Arm) -> None:
        """Copy what is known of an arm to the results: one JSON file, and the weights once they are final."""
        run, out = Run(self.folder(arm)), self._arguments.out / arm.label
        if not (run.folder / "config.json").exists():
            return
        lines = run.epochs()
        write_json(
            out / "results.json",
            {
                "schema": 1,
                "row": self._arguments.row,
                "config": run.config(),
                "environment": _stored(run.folder / "environment.json"),
                "trained": run.weights_path("last").exists(),
                "missing_suites": [suite for suite in arm.suites if not self.result_path(run, suite).exists()],
                "median_epoch_seconds": statistics.median(line["seconds"] for line in lines) if lines else None,
                "train": lines,
                "eval": {suite: result for suite in arm.suites if (result := _stored(self.result_path(run, suite)))},
                "engine_failures": self.failures(arm),
                **_stored(run.folder / "pieces.json"),
            },
        )
        if arm.weights and run.weights_path("last").exists():
            write_weights(run.read_weights("last")[0], out)


def pieces_of(weights: dict[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    """The weights in bf16, in their order, in parts of at most `limit` bytes; a larger tensor is a part of its own."""
    part: dict[str, Tensor] = {}
    size = 0
    for name, weight in weights.items():
        small = weight.to(torch.bfloat16) if weight.is_floating_point() else weight
        if part and size + small.nbytes > limit:
            yield part
            part, size = {}, 0
        part[name] = small.contiguous()
        size += small.nbytes
    yield part


def write_weights(weights: dict[str, Tensor], out: Path) -> None:
    """weights-bf16-1of2.safetensors and so on: their union is the state of the network."""
    parts = list(pieces_of(weights, PIECE_BYTES))
    for number, part in enumerate(parts, start=1):
        write_bytes(out / f"weights-bf16-{number}of{len(parts)}.safetensors", save(part))


def run_ladders(arguments: argparse.Namespace, scale: Scale) -> int:
    """Row 0."""
    models, batch, steps, repeats = scale.bench
    minutes = (arguments.deadline - RESERVE_SECONDS - time.time()) / 60
    device = api.resolve_device()
    result = run_bench(models, device, batch, steps, repeats, arguments.out / "bench.json", minutes)
    text = bench_text(result)
    write_bytes(arguments.out / "bench.txt", (text + "\n").encode())
    print(text)
    return DONE


def run_row(arguments: argparse.Namespace, scale: Scale) -> int:
    """Rows that train: every arm in turn, then what is known of all of them to the results."""
    worker, arms = Worker(arguments, scale), ROWS[arguments.row]
    status = DONE
    try:
        for arm in arms:
            worker.work(arm)
    except OutOfTimeError:
        status = AGAIN
    finally:
        for arm in arms:
            worker.harvest(arm)
    print(f"row {arguments.row}: {'done' if status == DONE else 'out of time, the same command continues'}")
    return status


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; `deadline` is in seconds since the epoch."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("row", type=int, choices=(0, *ROWS), help="which row")
    parser.add_argument("--data-root", type=Path, help="folder of the data files")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs, kept from piece to piece")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--minutes", type=float, default=9.0, help="length of this piece")
    parser.add_argument("--tiny", action="store_true", help="a rehearsal of a minute on a CPU")
    parser.add_argument("--deadline", type=float, help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    parsed.deadline = parsed.deadline or time.time() + 60 * parsed.minutes
    return parsed


def main(command_line: list[str]) -> int:
    """Run one piece; the exit status says whether there is more to do."""
    arguments = parse(command_line)
    scale = TINY if arguments.tiny else REAL
    arguments.runs.mkdir(parents=True, exist_ok=True)
    try:
        return run_ladders(arguments, scale) if arguments.row == 0 else run_row(arguments, scale)
    except (ValueError, OSError) as error:
        print(f"row {arguments.row}: {one_line(error)}", file=sys.stderr)
        return REFUSED


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
