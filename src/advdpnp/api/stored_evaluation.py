"""What every evaluation of a stored network has in common: its protocol, and the file that its numbers go to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import torch
from torch import nn

from advdpnp import attacks, runs
from advdpnp.api.environment import environment
from advdpnp.attacks import ATTACKS, Attack, Suite, record, suite_names
from advdpnp.attacks.stepwise import stepwise_attacks
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, EvaluationCallback, merge_shards, over_seeds
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.evaluation.model_checks import check_not_empty
from advdpnp.evaluation.single_pass import SearchPrecision, check_precision
from advdpnp.experiments.config import decode
from advdpnp.ranges import Count, Natural, check_fields, nearest
from advdpnp.result_files import ResultFiles, shard_differences
from advdpnp.results import attack_of, result_name
from advdpnp.runs import Json, Run
from advdpnp.threat import eps_text

# A suite's name, a suite, or attacks, as objects or as texts such as "pgd:eps=0.3,steps=40,step_size=0.01".
Protocol = str | Suite | Sequence[Attack | str]


def attack_by_hand(text: str, eps: float) -> Attack:
    """The attack in "NAME:field=value,...", such as "pgd:eps=0.3,steps=40,step_size=0.01".

    Args:
        text: name of an attack and its fields; budgets are numbers or fractions.
        eps: radius where the text gives none.
    Raises:
        ValueError: unknown name, field or value; the nearest ones are listed.
    """
    name, _, rest = text.partition(":")
    if name not in ATTACKS:
        raise ValueError(f"unknown attack {name!r}; nearest: {nearest(name, ATTACKS)}")
    values: dict[str, str | float] = {}
    for part in rest.split(",") if rest else ():
        field, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or field in values:
            raise ValueError(f"--attack takes NAME:field=value,... with each field once; got {part!r} in {text!r}")
        values[field] = value
    kind: Any = ATTACKS[name]
    attack: Attack = decode(kind, {"eps": eps} | values, name)
    return attack


def suite_of(
    protocol: Protocol, usual_eps: float, pixels: int, eps: float | None = None, name: str = "custom"
) -> Suite:
    """The suite that a caller asks for.

    Args:
        protocol: a suite's name, a suite, or attacks.
        usual_eps: the data set's radius.
        pixels: values of one image.
        eps: another radius; a suite by name is then named after it, so that results do not meet.
        name: what a list of attacks is called.
    Raises:
        ValueError: unknown names, no attacks, or a name that a suite has already.
    """
    if isinstance(protocol, Suite):
        if eps is not None:
            raise ValueError("eps changes a suite by name; got a suite, whose attacks have radii of their own")
        return protocol
    radius = usual_eps if eps is None else eps
    if isinstance(protocol, str):
        found = attacks.suite(protocol, radius, pixels)
        named = f"{protocol}-eps-{eps_text(radius).replace('/', '-')}"
        return found if radius == usual_eps else replace(found, name=named)
    if name in suite_names() or not re.fullmatch(r"[\w.+-]+", name):
        raise ValueError(f"attacks by hand need a name of their own, of letters, digits and ._+- alone; got {name!r}")
    members = tuple(attack_by_hand(one, radius) if isinstance(one, str) else one for one in protocol)
    if not members:
        raise ValueError("a suite needs at least one attack; for none, the suite is called clean")
    return Suite(name, "attacks by hand", members, features=None)


class EvaluationKeywords(TypedDict, total=False):
    """Fields of `EvaluationOptions`, as keyword arguments."""

    limit: int | None
    seeds: int
    shard: str
    batch_size: int
    search_precision: SearchPrecision
    resume: bool


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is run, beside what it measures.

    Args:
        limit: the first so many images; None for all.
        seeds: how many seeds of the attacks' noise; the result is that of seed 0, with mean and spread over all.
        shard: "K/M", the K-th of M interleaved parts, for M processes or machines; "" for all images.
        batch_size: rows that searches, such as AutoAttack's, have in flight; 0 for the device's usual number.
        search_precision: "fp32"; "tf32" on a GPU, or "bf16", for searches that are faster, and named so in the result.
        resume: continue what was interrupted.
    Raises:
        ValueError: a number that makes no sense, or several seeds of a part.
    """

    limit: Count | None = None
    seeds: Count = 1
    shard: str = ""
    batch_size: Natural = 0
    search_precision: SearchPrecision = "fp32"
    resume: bool = False

    def __post_init__(self) -> None:
        check_precision(self.search_precision)
        check_fields(self)
        if self.seeds > 1 and self.shard:
            raise ValueError("several seeds are measured on all images: leave --shard out, or --seeds")
        self.part()

    def part(self) -> tuple[int, int]:
        """The shard as numbers (K, M)."""
        if not self.shard:
            return 1, 1
        numbers = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if numbers is None:
            raise ValueError(f"a shard is K/M, such as 2/4; got {self.shard!r}")
        return int(numbers[1]), int(numbers[2])


@dataclass(frozen=True)
class StoredEvaluation:
    """One evaluation whose result is stored in a run's folder.

    Args:
        run: the folder.
        suite: the attacks.
        images: the test set, on the network's device.
        facts: further entries of the result.
        options: how it is run.
        other_data: name of the test set, if it is not the run's own.
    """

    run: Run
    suite: Suite
    images: Images
    facts: Json
    options: EvaluationOptions = EvaluationOptions()
    other_data: str = ""

    def __post_init__(self) -> None:
        precision = self.options.search_precision
        if precision != "fp32":
            # Named so, and not in the place of the ordinary result.
            object.__setattr__(self, "suite", replace(self.suite, name=f"{self.suite.name}-{precision}"))

    @property
    def files(self) -> ResultFiles:
        """Where it lies."""
        return ResultFiles(self.run, result_name(self.suite.name, self.other_data))

    def check_free(self) -> None:
        """Raise ValueError if the file holds a suite of the same name with other attacks."""
        if self.suite.name in suite_names() or not self.files.result.is_file():
            return
        wanted = [record(attack) for attack in self.suite.attacks]
        if [attack_of(row) for row in self.files.read()["attacks"] if not row.get("added")] != wanted:
            raise ValueError(
                f"{self.files.result} holds other attacks: call yours something else with --suite, or remove it"
            )

    def measure(
        self,
        model: nn.Module,
        device: torch.device,
        callback: EvaluationCallback | None,
        warnings: Sequence[str] | None = None,
    ) -> Json:
        """Attack the network, write and return the result, with further warnings where there is a list of them.

        A shard is written to eval/shards/; whoever finishes the last of them writes, and returns, the whole.

        Raises:
            UnevaluatedError: a ValueError, where too many images are unevaluated. Nothing is written to the result's
                place, and what was found stays where an interrupted evaluation is kept, or in the shards.
        """
        check_not_empty(self.images)
        self.check_free()
        self._check_precision(device)
        callback = callback or Silent()
        results = [self._seed(seed, model, callback) for seed in range(self.options.seeds)]
        result = results[0] | ({"seeds": over_seeds(results)} if len(results) > 1 else {})
        if warnings is not None:
            result["warnings"] = [*warnings, *result.get("warnings", [])]
        result |= {"environment": environment(device)}
        part, parts = self.options.part()
        if parts > 1:
            runs.write_json(self.files.shard(part, parts), result)
            result = self._whole(result, callback) or result
        else:
            runs.write_json(self.files.result, result)
        # Kept until all seeds are done, so that a finished one is not begun again.
        for seed in range(self.options.seeds):
            self.files.partial(seed, part, parts).unlink()
        return result

    def _check_precision(self, device: torch.device) -> None:
        """Raise ValueError if the result would name a precision in which nothing was searched."""
        precision = self.options.search_precision
        if precision != "fp32" and not any(map(stepwise_attacks, self.suite.attacks)):
            raise ValueError(
                f"suite {self.suite.name} has no search such as autoattack: leave --search-precision {precision} out"
            )
        if precision == "tf32" and device.type != "cuda":
            raise ValueError(f"tf32 is a precision of GPUs, and this is a {device.type}: search in fp32 or bf16")

    def _seed(self, seed: int, model: nn.Module, callback: EvaluationCallback) -> Json:
        options = self.options
        if options.seeds > 1:
            callback.on_note(f"seed {seed} ({seed + 1} of {options.seeds})")
        n = len(self.images) if options.limit is None else options.limit
        wanted = Evaluation(
            suite=self.suite,
            n=n,
            facts=self.facts,
            batch_size=options.batch_size,
            search_precision=options.search_precision,
            seed=seed,
            shard=options.part(),
            partial=self.files.partial(seed, *options.part()),
            resume=options.resume,
        )
        return run_evaluation(model, self.images, wanted, callback)

    def _whole(self, own: Json, callback: EvaluationCallback) -> Json | None:
        """The result of all shards, written, if all are there; else the callback is told what is missing."""
        parts, missing = self.options.part()[1], []
        paths = [self.files.shard(part, parts) for part in range(1, parts + 1)]
        found = [runs.read_json(path) if path.is_file() else None for path in paths]
        for part, (path, shard) in enumerate(zip(paths, found, strict=True), start=1):
            differing = "" if shard is None else shard_differences(shard, own)
            if differing:
                callback.on_note(f"{path} is of another evaluation ({differing}): measure --shard {part}/{parts} again")
            if shard is None or differing:
                missing.append(f"{part}/{parts}")
        if missing:
            callback.on_note(f"the whole is written once these shards are measured too: {', '.join(missing)}")
            return None
        result = merge_shards([shard for shard in found if shard is not None])
        runs.write_json(self.files.result, result)
        return result
