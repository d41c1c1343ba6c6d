"""What every evaluation of a stored network has in common: its protocol, and the file that its numbers go to."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn

from advdpnp import runs
from advdpnp.api.environment import environment
from advdpnp.attacks import Suite, suite_names
from advdpnp.attacks.stepwise import stepwise_attacks
from advdpnp.bounded_files import check_no_folder
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.data.corruption_sources import GENERATED, CorruptionSource
from advdpnp.evaluation import Evaluation, EvaluationCallback, merge_shards, over_seeds
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.evaluation.evaluate import described
from advdpnp.evaluation.model_checks import check_not_empty
from advdpnp.evaluation.randomness import rows_with_draws
from advdpnp.evaluation.single_pass import SearchPrecision, check_precision, usual_chunk
from advdpnp.evaluation.transfer import TransferSource
from advdpnp.indices import parse_indices, short_indices
from advdpnp.lock import only_process
from advdpnp.ranges import Count, Natural, check_fields
from advdpnp.result_files import ResultFiles, read_stored, shard_differences
from advdpnp.results import attack_of, result_name
from advdpnp.runs import Json, Run


class MeasuringKeywords(TypedDict, total=False):
    """Fields of `EvaluationOptions`, as keyword arguments, but for where an evaluation goes on from."""

    limit: int | None
    indices: Any
    seed: int
    seeds: int
    shard: str
    batch_size: int
    search_precision: SearchPrecision
    eot: int
    transfer_from: Any


class EvaluationKeywords(MeasuringKeywords, total=False):
    """Fields of `EvaluationOptions`, as keyword arguments."""

    resume: bool


@dataclass(frozen=True)
class EvaluationOptions:
    """How an evaluation is run, beside what it measures.

    Args:
        limit: the first so many images, of those that `indices` choose; None for all.
        indices: which test images, as `advdpnp.indices.parse_indices` takes them: "0-99,2303", a file, or positions,
            each once and in any order; None for all.
        seed: of the attacks' noise.
        seeds: how many seeds of the attacks' noise, from `seed` on; the result is that of the first, with mean and
            spread over all.
        shard: "K/M", the K-th of M interleaved parts of these images, for M processes or machines; "" for all.
        batch_size: rows that searches, such as AutoAttack's, have in flight; 0 for the device's usual number.
        search_precision: "fp32"; "tf32" on a GPU, or "bf16", for searches that are faster, and named so in the result.
        resume: continue what was interrupted; what is finished is not measured again.
        eot: draws of a randomized network that every answer is the mean of, to attacks and for verdicts; the result is
            named after them. 1 for a network that answers alike every time.
        transfer_from: a run's folder or a network in eval mode: adversarial images are crafted on it, and judged by the
            network that is evaluated; the result is named after it. None for images crafted on the latter.
    Raises:
        ValueError: a number that makes no sense, indices that are none, or several seeds of a part.
    """

    limit: Count | None = None
    indices: Any = None
    seed: Natural = 0
    seeds: Count = 1
    shard: str = ""
    batch_size: Natural = 0
    search_precision: SearchPrecision = "fp32"
    resume: bool = False
    eot: Count = 1
    transfer_from: Any = None

    def __post_init__(self) -> None:
        check_precision(self.search_precision)
        check_fields(self)
        if self.indices is not None:
            object.__setattr__(self, "indices", parse_indices(self.indices))
        if self.seeds > 1 and self.shard:
            raise ValueError("several seeds are measured on all images: leave --shard out, or --seeds")
        self.part()

    @property
    def each_seed(self) -> range:
        """The seeds of the attacks' noise."""
        return range(self.seed, self.seed + self.seeds)

    def which(self, total: int) -> tuple[int, tuple[int, ...] | None]:
        """How many of the test images, and which, ascending; None for the first so many.

        Raises:
            ValueError: there are not as many.
        """
        if self.indices is None:
            _check_limit(self.limit, total, "the test images there are")
            return self.limit or total, None
        if self.indices[-1] >= total:
            last = total - 1
            raise ValueError(f"--indices must be from 0 to {last}, the test images there are; got {self.indices[-1]}")
        _check_limit(self.limit, len(self.indices), "the images of --indices")
        chosen = self.indices[: self.limit]
        return len(chosen), chosen if chosen[-1] >= len(chosen) else None

    def evaluation(
        self, suite: Suite, total: int, facts: Json, seed: int, source: TransferSource | None = None
    ) -> Evaluation:
        """What is measured with one seed, of a test set of so many images; `source` is the network crafted on."""
        n, chosen = self.which(total)
        return Evaluation(
            suite=suite,
            n=n,
            facts=facts,
            chosen=chosen,
            chunk=rows_with_draws(usual_chunk(n), self.eot),
            batch_size=self.batch_size,
            search_precision=self.search_precision,
            seed=seed,
            shard=self.part(),
            eot=self.eot,
            source=source,
        )

    def part(self) -> tuple[int, int]:
        """The shard as numbers (K, M)."""
        if not self.shard:
            return 1, 1
        numbers = re.fullmatch(r"(\d+)/(\d+)", self.shard)
        if numbers is None:
            raise ValueError(f"a shard is K/M, such as 2/4; got {self.shard!r}")
        return int(numbers[1]), int(numbers[2])


def _check_limit(limit: int | None, most: int, what: str) -> None:
    if limit is not None and not 1 <= limit <= most:
        raise ValueError(f"--limit must be from 1 to {most}, {what}; got {limit}")


def _read(path: Path, tell: Callable[[str], None]) -> Json | None:
    """A stored result; None where it is damaged or of a later version, which is told."""
    try:
        return read_stored(path, "it counts as not measured")
    except ValueError as error:
        tell(str(error))
        return None


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
        corrupted: where corrupted images come from, if the suite measures corruptions.
        source: the network that adversarial images are crafted on; None for the one that is evaluated.
    """

    run: Run
    suite: Suite
    images: Images
    facts: Json
    options: EvaluationOptions = EvaluationOptions()
    other_data: str = ""
    corrupted: CorruptionSource = GENERATED
    source: TransferSource | None = None

    def __post_init__(self) -> None:
        precision, eot = self.options.search_precision, self.options.eot
        # Named so, and not in the place of the ordinary result.
        suffix = f"-{precision}" if precision != "fp32" else ""
        suffix += f"-eot-{eot}" if eot != 1 else ""
        suffix += self.source.suffix if self.source is not None else ""
        if suffix:
            object.__setattr__(self, "suite", replace(self.suite, name=f"{self.suite.name}{suffix}"))

    @property
    def files(self) -> ResultFiles:
        """Where it lies."""
        return ResultFiles(self.run, result_name(self.suite.name, self.other_data))

    def check(self) -> None:
        """Raise ValueError where there are not so many images, or the suite has no shards."""
        self._evaluation(self.options.seed)

    def is_finished(self) -> bool:
        """Whether the result of this very evaluation is stored, wherever corrupted images came from."""
        part, parts = self.options.part()
        path = self.files.shard(part, parts) if parts > 1 else self.files.result
        begun = (self.files.partial(seed, part, parts) for seed in self.options.each_seed)
        if not path.is_file() or any(one.is_file() for one in begun):
            return False
        return not self._differences(runs.read_json(path), leave_out="corruption_source")

    def check_free(self) -> None:
        """Raise ValueError if the file holds a suite of the same name with other attacks."""
        if self.suite.name in suite_names() or not self.files.result.is_file():
            return
        wanted = [described(attack, self.options.eot, self.source) for attack in self.suite.attacks]
        stored = read_stored(self.files.result, "call yours something else with --suite, or remove it")
        if [attack_of(row) for row in stored["attacks"] if not row.get("added")] != wanted:
            raise ValueError(
                f"{self.files.result} holds other attacks: call yours something else with --suite, or remove it"
            )

    def begin(self, device: torch.device, callback: EvaluationCallback) -> Json | None:
        """Before the work: what stands in its place already; the stored result, where it is this one and is resumed.

        Raises:
            ValueError: images, attacks or precision that cannot be measured, or a file that holds other attacks.
        """
        check_not_empty(self.images)
        self.options.which(len(self.images))
        self.check_free()
        self._check_precision(device)
        part, parts = self.options.part()
        path = self.files.shard(part, parts) if parts > 1 else self.files.result
        check_no_folder(path, self.files.result)
        begun = [self.files.partial(seed, part, parts) for seed in self.options.each_seed]
        unfinished = next((one for one in begun if one.is_file()), None)
        if not path.is_file():
            if unfinished is not None and not self.options.resume:
                callback.on_note(f"{unfinished} holds an unfinished evaluation, which begins again: --resume goes on")
            return None
        stored = _read(path, callback.on_note)
        if stored is None:
            return None
        differing = self._differences(stored)
        if self.options.resume:
            if unfinished is not None:
                return None
            if not differing:
                callback.on_note(f"{path} is finished: nothing is measured again (without --resume it would be)")
                return (self._whole(stored, callback) or stored) if parts > 1 else stored
        what = f"another evaluation ({differing})" if differing else "this evaluation, finished (--resume shows it)"
        callback.on_note(f"{path} holds {what}: it is kept until the new result replaces it")
        return None

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
            ValueError: another process measures the same.
        """
        callback = callback or Silent()
        own = self.files.partial(self.options.seed, *self.options.part())
        with only_process(own.with_suffix(".lock"), str(own)):
            return self._measure(model, device, callback, warnings)

    def _measure(
        self, model: nn.Module, device: torch.device, callback: EvaluationCallback, warnings: Sequence[str] | None
    ) -> Json:
        result = summed_up([self._seed(seed, model, callback) for seed in self.options.each_seed])
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
        for seed in self.options.each_seed:
            self.files.partial(seed, part, parts).unlink()
        return result

    def _differences(self, stored: Json, leave_out: str = "") -> str:
        """In what, but for one field, a stored result is not of this very evaluation, in words; "" if it is."""
        wanted = self._evaluation(self.options.seed)
        found = {name: stored.get(name) for name in wanted.protocol}
        seeds = dict(stored.get("seeds") or {}).get("count", 1)
        attacks = [attack_of(row) for row in stored.get("attacks", ()) if not row.get("added")]
        differing = [
            f"{name} {_brief(name, found[name])}, not {_brief(name, value)}"
            for name, value in wanted.protocol.items()
            if found[name] != value and name != leave_out
        ]
        differing += ["other attacks"] if attacks != wanted.budgets else []
        differing += [f"seeds {seeds}, not {self.options.seeds}"] if seeds != self.options.seeds else []
        return "; ".join(differing)

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
        if self.options.seeds > 1:
            callback.on_note(f"seed {seed} ({seed - self.options.seed + 1} of {self.options.seeds})")
        partial = self.files.partial(seed, *self.options.part())
        wanted = replace(self._evaluation(seed), partial=partial, resume=self.options.resume)
        return run_evaluation(model, self.images, wanted, callback)

    def _evaluation(self, seed: int) -> Evaluation:
        evaluation = self.options.evaluation(self.suite, len(self.images), self.facts, seed, self.source)
        return replace(evaluation, corrupted=self.corrupted)

    def _whole(self, own: Json, callback: EvaluationCallback) -> Json | None:
        """The result of all shards, written, if all are there; else the callback is told what is missing."""
        parts, missing = self.options.part()[1], []
        paths = [self.files.shard(part, parts) for part in range(1, parts + 1)]
        found = [_read(path, callback.on_note) if path.is_file() else None for path in paths]
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


def summed_up(results: list[Json]) -> Json:
    """The result of the first seed, with mean and spread over all, where there are several."""
    return results[0] | ({"seeds": over_seeds(results)} if len(results) > 1 else {})


def _brief(name: str, value: object) -> str:
    """A field of a result, cut where it is long, as the sum of weights is."""
    return short_indices(value) if name == "indices" and isinstance(value, str) else f"{value}"[:12]
