"""What runs, and how large it is: for real, and tiny for a rehearsal on a CPU."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

ENGINES = ("step", "graph", "compiled", "folded", "eager")

MIB = 2**20


@dataclass(frozen=True)
class Arm:
    """One training that others are compared with.

    Args:
        label: what it is called among the results.
        defense: name of the method.
        forwards: what a step costs, in forward passes: 10 iterations of 2, and the update.
        settings: what differs from the method's own.
        optional: dropped first where time is short.
    """

    label: str
    defense: str
    forwards: int
    settings: tuple[str, ...] = ()
    optional: bool = False


ARMS = (
    Arm("at", "at", 23),
    Arm("mean", "adv-dpnp", 26, ("defense.alignment=mean",)),
    Arm("sum", "adv-dpnp", 26, ("defense.alignment=sum",), optional=True),
)


@dataclass(frozen=True)
class Variant:
    """One timing of the ladder: a whole training step of Adv-DPNP.

    Args:
        engine, batch: how it is run, and on how many images.
        benchmark: whether cuDNN tries its algorithms out.
    """

    engine: str
    batch: int
    benchmark: bool = True

    @property
    def name(self) -> str:
        """ "step/128", or "step/128/plain" where cuDNN takes its first choice."""
        return f"{self.engine}/{self.batch}" + ("" if self.benchmark else "/plain")


@dataclass(frozen=True)
class Extra:
    """One more evaluation of an arm, in the last call, as time allows.

    Args:
        arm: its label.
        suite: name of the protocol.
        limit: test images.
    """

    arm: str
    suite: str
    limit: int


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Args:
        name: what the commands call it.
        slot: letter of the row in results/README.md.
        network: data/backbone of every arm.
        train_images: images of an epoch.
        settings: of every arm's recipe.
        precision: of training.
        engines: in the order in which they are tried.
        batches: sizes that the ladder times; the first is the usual one.
        limit: test images under PGD; None for all.
        suite: what every arm is measured with, geometry included.
        search_suite, search_images, search_precision: of AutoAttack.
        smoke_network, smoke_settings, smoke_suites: of the first check that everything runs.
        smoke_images: test images of that check.
        least_epochs: below them an optional arm is dropped.
        most_epochs: of a short schedule.
        epoch_seconds: of an arm of 26 forwards at the usual batch, by engine, where nothing was measured.
        start_seconds: of a process that trains, until its first step is over.
        measure_seconds, search_seconds: of the suite and of AutoAttack, where nothing was measured.
        parallel: processes of the first check that run beside each other.
        threads: of each process; 0 leaves it to torch.
        patience: by which the limits of stages are multiplied, for machines that do much else.
        seconds: how long each call may take.
        whole_minutes: of the machine, until which each call must be over.
        arms: what is trained, most important first.
        ladder: whether engines and batches are timed first; else the first engine and batch are used.
        extras: evaluations beside the suite and AutoAttack, most important first.
    """

    name: str
    slot: str
    network: str
    train_images: int
    settings: tuple[str, ...]
    precision: str
    engines: tuple[str, ...]
    batches: tuple[int, ...]
    limit: int | None
    suite: str
    search_suite: str
    search_images: int
    search_precision: str
    smoke_network: str
    smoke_settings: tuple[str, ...]
    smoke_suites: tuple[str, ...]
    smoke_images: int
    least_epochs: int
    most_epochs: int
    epoch_seconds: Mapping[str, float]
    start_seconds: float
    measure_seconds: float
    search_seconds: float
    parallel: int
    threads: int
    patience: float
    seconds: tuple[float, float, float]
    whole_minutes: tuple[float, float, float]
    arms: tuple[Arm, ...] = ARMS
    ladder: bool = True
    extras: tuple[Extra, ...] = ()


# A schedule of a few epochs: one cycle up to 0.2, and the average of the weights.
_SHORT = ("recipe.schedule=onecycle", "recipe.lr=0.2", "recipe.averaging.kind=ema")

REAL = Scale(
    name="real",
    slot="A",
    network="cifar10/resnet18",
    train_images=50_000,
    # A window of about one epoch: one of five lagged behind a rate that falls to 0 (results/README.md, slot A).
    settings=(*_SHORT, "recipe.averaging.decay=0.995"),
    precision="bf16",
    engines=ENGINES,
    batches=(128, 256, 512),
    limit=None,
    suite="text",
    search_suite="autoattack",
    search_images=1000,
    search_precision="tf32",
    smoke_network="digits/resnet8",
    smoke_settings=(
        "recipe.epochs=2",
        "recipe.train_images=256",
        "recipe.batch_size=64",
        "recipe.attack.steps=2",
        "recipe.averaging.kind=ema",
        "recipe.averaging.decay=0.9",
    ),
    smoke_suites=("clean", "quick", "text", "fsr", "curve"),
    smoke_images=64,
    least_epochs=10,
    most_epochs=30,
    # As the first GPU took it, an NVIDIA H200: 391 steps and 5 %; starts of 17, 35 and 46 s.
    epoch_seconds={"step": 6.7, "graph": 8.4, "compiled": 15.7, "folded": 24.3, "eager": 32.2},
    start_seconds=33.0,
    measure_seconds=27.0,
    search_seconds=57.0,
    parallel=12,
    threads=0,
    patience=1.0,
    seconds=(165.0, 565.0, 45.0),
    whole_minutes=(4.5, 13.5, 14.5),
)

TINY = Scale(
    name="tiny",
    slot="A",
    network="digits/resnet8",
    train_images=256,
    settings=(
        *_SHORT,
        "recipe.averaging.decay=0.9",
        "recipe.train_images=256",
        "recipe.attack.steps=2",
    ),
    precision="fp32",
    # What needs CUDA graphs is refused on a CPU: a fall to the next one is part of the rehearsal.
    engines=("step", "folded", "eager"),
    batches=(64, 128),
    limit=64,
    suite="text",
    search_suite="autoattack-quick",
    search_images=16,
    search_precision="fp32",
    smoke_network="digits/tiny",
    smoke_settings=("recipe.epochs=2", "recipe.train_images=128", "recipe.batch_size=32", "recipe.attack.steps=2"),
    smoke_suites=("clean", "text"),
    smoke_images=32,
    least_epochs=1,
    most_epochs=1,
    epoch_seconds=dict.fromkeys(ENGINES, 5.0),
    start_seconds=5.0,
    measure_seconds=5.0,
    search_seconds=5.0,
    parallel=2,
    threads=1,
    patience=12.0,
    seconds=(3600.0, 3600.0, 1200.0),
    whole_minutes=(600.0, 600.0, 600.0),
    extras=(Extra("mean", "clean", 16),),
)


def _extras(*labels: str) -> tuple[Extra, ...]:
    """The other suites of two arms, each suite on both before the next."""
    return tuple(Extra(label, suite, limit) for suite, limit in (("fsr", 2000), ("curve", 1000)) for label in labels)


# AT and Adv-DPNP for 30 epochs each, with what slot A measured in the place of a ladder.
PAIR = replace(
    REAL,
    name="pair",
    slot="B",
    arms=ARMS[:2],
    ladder=False,
    batches=(256,),
    epoch_seconds={"step": 5.1, "graph": 6.6, "compiled": 12.4, "folded": 19.1, "eager": 25.4},
    seconds=(150.0, 565.0, 180.0),
    whole_minutes=(4.5, 12.0, 14.5),
    extras=_extras("mean", "at"),
)

_AWP = ("recipe.weight_perturbation.gamma=0.005", "recipe.weight_perturbation.start=0")

# What may be trained on that schedule, and what a step costs where AT costs 23: as measured on a GPU where it was,
# else as benchmarks/results/defenses-resnet8*.json has it. Before HAT its helper is trained.
CHOICES = {
    arm.label: arm
    for arm in (
        *ARMS,
        Arm("trades", "trades", 28),
        Arm("mart", "mart", 27),
        Arm("ikl", "ikl", 28),
        Arm("alp", "alp", 26),
        Arm("at-he", "at-he", 23),
        Arm("hat", "hat", 35),
        Arm("oc", "oc", 36),
        Arm("pcl", "pcl", 30),
        Arm("fsr", "fsr", 43),
        Arm("dio", "dio", 27),
        # From the first step on, so that one step is captured, and not one with and one without.
        Arm("awp", "adv-dpnp", 35, ("defense.alignment=mean", *_AWP)),
    )
}


def chosen(name: str) -> Scale:
    """A scale by its name, or the schedule of `pair` with other arms.

    Args:
        name: such as "pair"; or "D:oc,pcl", arms of `CHOICES` for row D of results/README.md, most important first.
    Raises:
        ValueError: no such scale or arm, or an arm twice.
    """
    if name in SCALES:
        return SCALES[name]
    slot, _, labels = name.partition(":")
    arms = [CHOICES.get(label) for label in labels.split(",")]
    known = f"{', '.join(SCALES)}, or a row and arms, as D:oc,pcl, of {', '.join(CHOICES)}"
    if not re.fullmatch("[A-Z]", slot) or None in arms or len(set(arms)) < len(arms):
        raise ValueError(f"a scale is one of {known}; got {name!r}")
    wanted = tuple(replace(arm, optional=False) for arm in arms if arm is not None)
    perturbed = [arm for arm in wanted if set(_AWP) <= set(arm.settings)]
    return replace(
        PAIR,
        name=name,
        slot=slot,
        arms=wanted,
        smoke_settings=(*REAL.smoke_settings, *(_AWP if perturbed else ())),
        seconds=(150.0, 582.0, 200.0),
        extras=_extras(*(arm.label for arm in wanted)),
    )


# The whole recipe, in pieces that go on from each other.
FULL = replace(REAL, name="full", settings=())
TINY_FULL = replace(
    TINY, name="tiny-full", settings=("recipe.train_images=256", "recipe.attack.steps=2"), engines=("folded", "eager")
)

SCALES = {scale.name: scale for scale in (REAL, TINY, PAIR, FULL, TINY_FULL)}
