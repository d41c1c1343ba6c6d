"""Does everything run on this machine: every engine against the reference, resume, every suite; on a small network."""

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from advdpnp import api
from advdpnp.bench.engines import compare_engines
from advdpnp.bench.timing import one_line
from advdpnp.callbacks import Silent
from advdpnp.evaluation.single_pass import SearchPrecision
from advdpnp.experiments import Experiment, experiment
from advdpnp.runs import Json, Run
from advdpnp.training import StopTraining
from gpu.context import Context, OutOfTimeError, Watch
from gpu.processes import AGAIN, DONE, FAILED


def engine_stage(context: Context) -> int:
    """Steps of one engine against the same steps of the reference, in fp32."""
    torch.backends.cudnn.benchmark = True
    found = compare_engines(context.options["engine"], api.resolve_device())
    context.keep(**asdict(found))
    if not found.agrees and not found.error:
        context.keep(error=f"differs from folded by {found.largest_difference:.3g}, more than {found.bound:.3g}")
    return DONE if found.agrees else FAILED


def suites_stage(context: Context) -> int:
    """Train, stop and resume; then each suite, and AutoAttack of few steps: what each gave is on disk at once."""
    context.keep(checks={})
    folder = context.places.work / "smoke"
    shutil.rmtree(folder, ignore_errors=True)
    failed = False
    try:
        for name, check in _checks(context, folder).items():
            context.check_time()
            try:
                context.found["checks"][name] = check()
            except OutOfTimeError:
                raise
            except Exception as error:
                failed = True
                context.found["checks"][name] = {"error": one_line(error)}
            context.keep()
    except OutOfTimeError:
        return AGAIN
    if failed:
        context.keep(error=", ".join(name for name, found in context.found["checks"].items() if "error" in found))
    return FAILED if failed else DONE


def _checks(context: Context, folder: Path) -> dict[str, Callable[[], Json]]:
    scale = context.scale
    whole = smoke_experiment(scale.smoke_network, scale.smoke_settings)

    def suite(name: str, precision: SearchPrecision = "fp32") -> Callable[[], Json]:
        return lambda: _evaluated(context, Run(whole.folder(folder / "whole")), name, precision)

    checks = {
        "train": lambda: _trained(whole, folder / "whole"),
        "resume": lambda: _resumed(whole, folder),
        **{name: suite(name) for name in scale.smoke_suites},
        "autoattack-quick": suite("autoattack-quick"),
    }
    if torch.cuda.is_available():
        checks["autoattack-quick, tf32"] = suite("autoattack-quick", "tf32")
    return checks


def smoke_experiment(network: str, settings: tuple[str, ...]) -> Experiment:
    """A small Adv-DPNP."""
    return experiment(f"{network}/adv-dpnp", "paper", settings=settings)


def _trained(wanted: Experiment, out: Path) -> Json:
    run = api.train(wanted, out)
    return {"epochs": len(run.epochs()), "loss": run.epochs()[-1]["loss"]["total"]}


class _StopAt(Silent):
    def __init__(self, step: int) -> None:
        self._step = step

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        if epoch * steps + step == self._step:
            raise StopTraining


def _resumed(wanted: Experiment, folder: Path) -> Json:
    """The same training stopped after a few steps and resumed: 0 on a CPU, rounding on a GPU."""
    with contextlib.suppress(StopTraining):
        api.train(wanted, folder / "stopped", callback=_StopAt(3))
    run = api.train(wanted, folder / "stopped", resume=True)
    weights = (one.read_weights("last")[0] for one in (run, Run(wanted.folder(folder / "whole"))))
    return {"largest_difference": _largest_difference(*weights)}


def _largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    return max(float((first[name].double() - second[name].double()).abs().max()) for name in first)


def _evaluated(context: Context, run: Run, suite: str, precision: SearchPrecision) -> Json:
    result = api.evaluate(
        run.folder,
        suite,
        limit=context.scale.smoke_images,
        search_precision=precision,
        callback=Watch(context),
    )
    return {"n": result["n"], "clean": result["clean_accuracy"], "worst": result["worst_case_accuracy"]}
