"""Trains, attacks and times on a pretended GPU: `python pretended_runs.py CASE ...` prints what each case ran into.

A case is train/<defense>/<engine>/<extra>, evaluate/<suite>, bench/<kind>/<variant>, or fault/<kind>, which must fail;
a pattern such as "train/*/step/plain" stands for many.
"""

import fnmatch
import functools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from advdpnp import api
from advdpnp.attacks import PGD, Attack, Suite, suite, suite_names
from advdpnp.attacks.apgd import APGDCE, APGDT
from advdpnp.attacks.autoattack import AutoAttack
from advdpnp.attacks.fab import FABT
from advdpnp.attacks.square import Square
from advdpnp.bench import variants
from advdpnp.defenses import AT, DEFENSES
from advdpnp.defenses.base import Batch
from advdpnp.evaluation.state import PassProgress
from advdpnp.experiments import experiment
from pretend_cuda import CUDA, RECORDER, OnCuda, capture, install

ENGINES = ("folded", "graph", "step")
EXTRAS = {
    "plain": (),
    "bf16": ("recipe.precision=bf16",),
    "extras": (
        "recipe.attack.ramp=1",
        "recipe.weight_perturbation.gamma=0.01",
        "recipe.averaging.kind=ema",
        "recipe.label_smoothing=0.1",
        "recipe.schedule=onecycle",
    ),
}
# Two whole batches and a smaller one.
SMALL = (
    "recipe.epochs=2",
    "recipe.train_images=40",
    "recipe.batch_size=16",
    "recipe.holdout=16",
    "recipe.attack.steps=2",
)


@dataclass(frozen=True, kw_only=True)
class SmallAutoAttack(AutoAttack):
    """All four searches, of a few steps."""

    name: ClassVar[str] = "autoattack-small"

    @property
    def attacks_to_run(self) -> tuple[Any, ...]:
        how: dict[str, Any] = {"eps": self.eps, "norm": self.norm}
        few = {**how, "steps": 3}
        return APGDCE(**few), APGDT(**few, targets=2), FABT(**few, targets=2), Square(**how, steps=5)


def train(defense: str, engine: str, extra: str = "plain", folder: str = "") -> Path:
    settings = (*SMALL, f"recipe.engine={engine}", *EXTRAS[extra])
    wanted = experiment(f"digits/tiny/{defense}", settings=settings)
    before = RECORDER.captures
    with tempfile.TemporaryDirectory() as temporary:
        run = api.train(wanted, folder or temporary, device=str(CUDA), checkpoint_seconds=0)
        # A helper that is trained first makes no graphs: its attack is none.
        captured = engine in ("graph", "step") and (engine == "step" or DEFENSES[defense].crafts)
        assert (RECORDER.captures > before) == captured, f"{RECORDER.captures - before} captures"
    return run.folder


@functools.cache
def trained() -> Path:
    return train("adv-dpnp", "folded", folder=tempfile.mkdtemp())


# Suites of hundreds of steps or of many starts: what a GPU refuses in one of them it refuses in the first.
LONG = ("min-eps", "steps", "restarts")
FEW = {"steps": 20, "boundary_steps": 4, "bisections": 2, "restarts": 2}


def shortened(attack: Attack) -> Attack:
    """The same attack of few steps, and of two starts where it has more."""
    return replace(
        attack, **{name: min(getattr(attack, name), few) for name, few in FEW.items() if hasattr(attack, name)}
    )


def protocol(name: str) -> Suite | str:
    if name == "small-autoattack":
        aimed = PGD(target=3), APGDT(target=3, steps=3), FABT(target=3, steps=3), Square(target=3, steps=5)
        return Suite("small", "AutoAttack with few steps, and attacks at a class", (SmallAutoAttack(), *aimed), None)
    if name not in LONG:
        return name
    whole = suite(name, 0.1, pixels=64)
    return replace(whole, name=f"short-{name}", attacks=tuple(map(shortened, whole.attacks)))


def evaluate(name: str) -> None:
    api.evaluate(trained(), protocol(name), device=str(CUDA), limit=8)


def verdicts_of_the_host(add: Callable[..., None]) -> Callable[..., None]:
    """An entry whose verdicts are still on the device was timed before the device was done."""

    def checked(self: PassProgress, right: Any, *others: Any) -> None:
        assert not isinstance(right, OnCuda), "the time of verdicts that are still on the device"
        add(self, right, *others)

    return checked


def bench(kind: str, name: str) -> None:
    variant = variants_of(kind)[name]
    work = variant.make()
    work()
    work()


@functools.cache
def variants_of(kind: str) -> dict[str, Any]:
    subject = variants.make_bench_model("tiny", CUDA, batch=8, steps=2)
    made = {"attack": variants.attack_variants, "step": variants.step_variants}[kind](subject, ("fp32", "bf16"))
    return {variant.name: variant for variant in made}


def read_by_the_host(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    return {name: value * (1.0 if value.item() > 0 else -1.0) for name, value in terms.items()}


def shape_from_data(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    return {name: value + 0 * batch.x[batch.y > 4].sum() for name, value in terms.items()}


def constant_of_the_host(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    return {name: value + 0 * torch.ones(3).to(value.device).sum() for name, value in terms.items()}


def tensor_of_the_cpu(terms: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    return {name: value + 0 * (batch.x[0, 0, 0, :3] * torch.ones(3)).sum() for name, value in terms.items()}


FAULTS = {
    fault.__name__: fault for fault in (read_by_the_host, shape_from_data, constant_of_the_host, tensor_of_the_cpu)
}


def fault(name: str) -> None:
    """Train with a defense whose loss has a fault."""
    loss = AT.loss
    AT.loss = lambda self, model, batch, x_adv: FAULTS[name](loss(self, model, batch, x_adv), batch)  # type: ignore
    try:
        train("at", "step")
    finally:
        AT.loss = loss  # type: ignore[method-assign]


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """All of them, by name."""
    for defense in DEFENSES:
        for engine in ENGINES:
            for extra in EXTRAS:
                yield f"train/{defense}/{engine}/{extra}", functools.partial(train, defense, engine, extra)
    for protocol_name in ("small-autoattack", *(name for name in suite_names() if not name.startswith("autoattack"))):
        yield f"evaluate/{protocol_name}", functools.partial(evaluate, protocol_name)
    for kind in ("attack", "step"):
        for name in VARIANTS[kind]:
            yield f"bench/{kind}/{name}", functools.partial(bench, kind, name)
    for name in FAULTS:
        yield f"fault/{name}", functools.partial(fault, name)


_FAST = ("folded", "compiled", "attack_graph")
_STEPS = ("eager", "folded", "compiled", "graph", "step_cudnn_benchmark", "step")
VARIANTS = {
    "attack": (
        *("naive", "input_gradient", "channels_last", "folded_nchw"),
        *(prefix + how for prefix in ("", "bf16_") for how in _FAST),
    ),
    "step": ("naive", *(prefix + how for prefix in ("", "bf16_") for how in _STEPS)),
}


def outcome(case: Callable[[], object]) -> str:
    """What went wrong, or ""."""
    try:
        case()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main(patterns: list[str]) -> None:
    """Run the cases that match, and print {case: error}."""
    variants.cuda_graph = capture
    PassProgress.add = verdicts_of_the_host(PassProgress.add)  # type: ignore[method-assign]
    chosen = {name: case for name, case in cases() if any(fnmatch.fnmatch(name, one) for one in patterns)}
    with install():
        found = {name: outcome(case) for name, case in chosen.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1:])
