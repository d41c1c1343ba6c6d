"""The file of a sweep: which methods, seeds and settings are trained, and with which suites they are attacked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_type_hints

from advdpnp.evaluation.single_pass import SearchPrecision
from advdpnp.experiments import read_changes
from advdpnp.experiments.config import decode, flat
from advdpnp.folder_names import folder_name
from advdpnp.ranges import Count, Integer, Natural, brief, check_fields, cut, nearest

# More are a mistake in the file.
MOST_RUNS = 10_000
_EXAMPLE = "experiments: [{methods: [at, adv-dpnp], seeds: [0, 1]}]"


@dataclass(frozen=True)
class SuiteEntry:
    """One evaluation of each run.

    Args:
        suite: name of a suite or of a table; with `attack`, what the result is called.
        attack: attacks by hand, as "pgd:eps=0.3,steps=40".
        eps: another radius than the usual one, as "4/255"; "" for that.
        norm: linf, l2 or l1; "" for linf.
        limit: the first so many test images; 0 for all.
        indices: which test images, as "0-99,2303"; "" for all.
        checkpoint: last or best.
        noise_seed: of the attacks' noise.
        search_precision: of searches such as AutoAttack: fp32, tf32 or bf16.
        shards: so many interleaved parts, each a task of its own, merged when all are done.
        seeds: of which training seeds; empty for all.
    """

    suite: str = ""
    attack: tuple[str, ...] = ()
    eps: str = ""
    norm: str = ""
    limit: Natural = 0
    indices: str = ""
    checkpoint: Literal["last", "best"] = "last"
    noise_seed: Natural = 0
    search_precision: SearchPrecision = "fp32"
    shards: Count = 1
    seeds: tuple[Integer, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "suites")
        if not self.suite and not self.attack:
            raise ValueError("suites: each needs the name of a suite, as in `suite: pgd20`; got none")


@dataclass(frozen=True)
class Group:
    """Methods x seeds x settings.

    Args:
        data: name of the data set, or folder:PATH for images of one's own.
        backbone: name of the network.
        methods: names of defenses, or of variants such as adv-dpnp-no-dnp.
        seeds: of the trainings.
        recipe: paper, official or default.
        set: fields to override in every run, as "recipe.epochs" or nested.
        variants: named settings: each method is trained with each of them, the name after its own; "" is none.
        grid: lists of values of fields: each combination is a variant, named after them.
        suites: what each run is evaluated with.
        image_size, split_seed, skip_broken: of a folder, as the options of `train`; 0 is its usual size.
    """

    data: str = ""
    backbone: str = ""
    methods: tuple[str, ...] = ()
    seeds: tuple[Integer, ...] = (0,)
    recipe: str = "default"
    set: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)
    suites: tuple[SuiteEntry, ...] = ()
    image_size: Natural = 0
    split_seed: Natural = 0
    skip_broken: bool = False

    def __post_init__(self) -> None:
        check_fields(self, "experiments")
        for name in ("data", "backbone", "methods", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"experiments: each needs {name}, there or at the top of the file; got none")
        for key, named in (("variants", self.variants), ("grid", self.grid)):
            for name in named:
                if not isinstance(name, str):
                    raise ValueError(f"{key}: a name must be a text; got {brief(name)}: put it in quotes")
        for path, values in self.grid.items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"grid.{path} must be a list of values, as [10, 20]; got {brief(values)}")
        for name, settings in self.variants.items():
            if not isinstance(settings, Mapping):
                raise ValueError(f"variants.{name} must be a group of fields; got {brief(settings)}")

    def settings(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Name and fields of each variant."""
        named = self.variants or {"": {}}
        for (name, fields_), values in product(named.items(), product(*self.grid.values())):
            chosen = dict(zip(self.grid, values, strict=True))
            of_grid = [folder_name(f"{path.rpartition('.')[2]}-{value}") for path, value in chosen.items()]
            yield "-".join([*([name] if name else []), *of_grid]), flat(self.set) | flat(fields_) | chosen

    @property
    def count(self) -> int:
        """How many runs."""
        grid = 1
        for values in self.grid.values():
            grid *= len(values)
        return len(self.methods) * len(self.seeds) * max(len(self.variants), 1) * grid


@dataclass(frozen=True)
class Sweep:
    """What a file says.

    Args:
        name: that of the file.
        out: folder of the runs.
        groups: what is trained and evaluated.
        path: of the file, for messages.
    """

    name: str
    out: Path
    groups: tuple[Group, ...]
    path: Path


def read_sweep(path: Path) -> Sweep:
    """A sweep from its file. What stands at the top, beside `experiments`, holds for each of them that does not say it.

    Raises:
        FileNotFoundError: no such file. ValueError: not YAML, an unknown key, or a value that makes no sense.
    """
    content = read_changes(path)
    shared = [one.name for one in fields(Group)]
    for key in content:
        if key not in ("out", "experiments", *shared):
            known = nearest(str(key), ("out", "experiments", *shared))
            raise ValueError(f"{path}: unknown key {brief(key)}; nearest: {known}")
    listed, top = content.get("experiments"), {key: content[key] for key in shared if key in content}
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed) or not listed:
        raise ValueError(f"{path}: experiments must be a list, as in `{_EXAMPLE}`; got {brief(listed)}")
    out = content.get("out", "runs")
    if not isinstance(out, str) or not out:
        raise ValueError(f"{path}: out must be the path of a folder; got {brief(out)}")
    try:
        groups = tuple(_group(top, one) for one in listed)
        if sum(group.count for group in groups) > MOST_RUNS:
            raise ValueError(f"at most {MOST_RUNS:,} runs; got {sum(group.count for group in groups):,}")
        _check_seeds(groups)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return Sweep(folder_name(path.stem) or "sweep", Path(out), groups, path)


def _check_seeds(groups: Sequence[Group]) -> None:
    """ValueError where a suite is for a seed that nothing is trained with; what is at the top may be for one group."""
    trained = {seed for group in groups for seed in group.seeds}
    for seed in (seed for group in groups for entry in group.suites for seed in entry.seeds):
        if seed not in trained:
            seeds = ", ".join(map(str, sorted(trained)))
            raise ValueError(f"suites.seeds: nothing is trained with seed {seed}; there are {cut(seeds)}")


def _group(top: Mapping[str, Any], own: Mapping[str, Any]) -> Group:
    whole = {**top, **own}
    for key in ("set", "variants", "grid"):
        if key in whole and not isinstance(whole[key], Mapping):
            raise ValueError(
                f"{key} must be a group of fields, as in `{key}: {{recipe.epochs: 2}}`; got {brief(whole[key])}"
            )
    whole["set"] = flat(top.get("set", {})) | flat(own.get("set", {}))
    for key, kind in get_type_hints(Group).items():
        if str(kind).startswith("tuple") and not isinstance(whole.get(key, []), list):
            raise ValueError(f"{key} must be a list, as in `{key}: [a, b]`; got {brief(whole[key])}")
    whole["suites"] = tuple(map(_suite, whole.get("suites", [])))
    return decode(Group, whole, "experiments")


def _suite(entry: Any) -> Any:
    """The fields of a suite, of which the name alone may stand there."""
    if not isinstance(entry, Mapping):
        return {"suite": entry} if isinstance(entry, str) else entry
    for key in ("attack", "seeds"):
        if not isinstance(entry.get(key, []), list):
            raise ValueError(f"suites: {key} must be a list, as in `{key}: [a, b]`; got {brief(entry[key])}")
    # A radius is a number or a text, such as 8/255.
    eps = entry.get("eps", "")
    return {**entry, "eps": str(eps) if isinstance(eps, int | float) and not isinstance(eps, bool) else eps}
