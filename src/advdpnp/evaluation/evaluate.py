"""One evaluation: a suite of attacks on a test set, from the first chunk to the result file's content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack, Suite, label, record
from advdpnp.attacks.autoattack import stepwise_attacks
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.callbacks import EvaluationCallback
from advdpnp.data import Images
from advdpnp.evaluation.batching import AttackSequence, AttackTarget, done
from advdpnp.evaluation.features import Embeddings, center_geometry, class_statistics, declarations
from advdpnp.evaluation.forecast import forecast, time_gradient
from advdpnp.evaluation.model_checks import check_protocol
from advdpnp.evaluation.single_pass import (
    CHUNK,
    SearchPrecision,
    as_stated,
    check_precision,
    chunks_in_flight,
    judge,
    model_to_attack,
    search_chunk,
)
from advdpnp.evaluation.state import EvaluationState, PassProgress
from advdpnp.evaluation.verdicts import Verdicts, check_evaluated
from advdpnp.metrics import pack
from advdpnp.models.classifier import Classifier
from advdpnp.ranges import Count, Integer, Natural, Range, check_fields
from advdpnp.result_files import content
from advdpnp.runs import Json
from advdpnp.threat import check_fits

Part = Annotated[int, Range("[1, inf)", "as K and M of a shard K/M")]


@dataclass(frozen=True)
class Evaluation:
    """What is measured.

    Args:
        suite: the attacks.
        n: the first n test images.
        facts: further entries of the result, such as data and checkpoint.
        chunk: rows of every forward, where an attack goes over the images once; halved, and recorded, when memory runs
            out.
        search_chunk: rows of every forward of a search, likewise; 0 for the usual number.
        batch_size: rows that searches have in flight, in whole chunks; 0 for the usual number. It changes no verdict.
        search_precision: what searches compute in; their successes count only where the network in fp32 agrees.
        seed: of the attacks' noise.
        shard: (k, m), the k-th of m interleaved parts of the images, k from 1.
        partial: where an interrupted evaluation is kept; None keeps nothing.
        resume: continue what `partial` holds.
    """

    suite: Suite
    n: Count
    facts: Json
    chunk: Count = CHUNK
    search_chunk: Natural = 0
    batch_size: Natural = 0
    search_precision: SearchPrecision = "fp32"
    seed: Integer = 0
    shard: tuple[Part, Part] = (1, 1)
    partial: Path | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        check_precision(self.search_precision)
        check_fields(self)
        part, parts = self.shard
        if not 1 <= part <= parts <= self.n:
            raise ValueError(f"a shard is K/M with K from 1 to M and M at most {self.n} images; got {part}/{parts}")
        if parts > 1 and self.suite.features is not None:
            raise ValueError(
                f"suite {self.suite.name} measures geometry over all images, so it has no shards: those are for "
                "searches such as autoattack"
            )

    @property
    def indices(self) -> str:
        """Which test images, in words: "0-199", or "1-199 step 4"."""
        part, parts = self.shard
        return f"{part - 1}-{self.n - 1}" + (f" step {parts}" if parts > 1 else "")

    def places(self, device: torch.device) -> Tensor:
        """Positions of these images in the test set: int64."""
        part, parts = self.shard
        return torch.arange(part - 1, self.n, parts, device=device)


@as_stated()
def evaluate(model: nn.Module, images: Images, evaluation: Evaluation, callback: EvaluationCallback) -> Json:
    """Run a suite; content of eval/<suite>.json, in fractions.

    Args:
        model: any classifier in eval mode, images in [0, 1] -> logits; geometry needs `embed` and `class_centers`.
        images: the test set, on the model's device.
        evaluation: what is measured.
        callback: told of every attack and chunk.
    Raises:
        ValueError: a model in training mode, labels or n out of range.
        UnevaluatedError: a ValueError, where more than 1 % of the images are unevaluated; shards are judged together.
    """
    check_protocol(model, images, evaluation.n)
    for attack in evaluation.suite.attacks:
        check_fits(attack.norm, attack.eps, tuple(images.pixels.shape[1:]))
    model = out_of_inference(model)
    chunk = evaluation.chunk
    while True:
        try:
            result = _evaluate(model, images, evaluation, chunk, callback)
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise
            # Outside the handler's frame the failed tensors are freed; the ledger of another chunk shape is not reused.
            chunk = max(1, chunk // 2)
        else:
            if "shard" not in result:
                check_evaluated(result, evaluation.partial)
            return result


def _evaluate(
    model: nn.Module, images: Images, evaluation: Evaluation, chunk: int, callback: EvaluationCallback
) -> Json:
    suite = evaluation.suite
    pass_ = _Pass(model, images, evaluation, chunk, callback)
    pass_.tell_forecast(suite)
    try:
        clean = pass_.entry("clean", None, embed=suite.features is not None).verdicts()
        worst, rows = clean, []
        for position, attack in enumerate(suite.attacks):
            found, row = pass_.attack(position, attack, clean.robust)
            worst &= found
            rows.append(row)
    finally:
        # Ctrl-C too: what is finished is kept.
        pass_.state.save(now=True)
    result = pass_.result(rows, worst)
    if suite.features is not None and isinstance(model, Classifier):
        attacked = label(rows[suite.features])
        result["geometry"] = {
            "clean": pass_.state.note("clean"),
            "adversarial": {**pass_.state.note(f"{suite.features + 1}. {attacked}"), "attack": attacked},
            **center_geometry(model.class_centers()),
            **declarations(),
        }
    return result


def _entry_name(position: int, attack: Attack) -> str:
    return f"{position + 1}. {label(record(attack))}"


class _Pass:
    """One evaluation's fixed part: everything but the attack."""

    def __init__(
        self, model: nn.Module, images: Images, evaluation: Evaluation, chunk: int, callback: EvaluationCallback
    ) -> None:
        self.model, self.images, self.evaluation, self.chunk = model, images, evaluation, chunk
        self.callback = callback
        self.attacked_model = model_to_attack(model)
        precision = evaluation.search_precision
        self.searched_model = self.attacked_model if precision != "bf16" else model_to_attack(model, precision)
        self.places = evaluation.places(images.labels.device)
        # What departs from the ordinary is named.
        special: Json = {"shard": list(evaluation.shard)} if evaluation.shard != (1, 1) else {}
        special |= {"search_precision": precision} if precision != "fp32" else {}
        self.protocol: Json = {
            **evaluation.facts,
            "suite": evaluation.suite.name,
            "n": len(self.places),
            "indices": evaluation.indices,
            **special,
            "chunk": chunk,
            "seed": evaluation.seed,
        }
        budgets = {"attacks": [record(attack) for attack in evaluation.suite.attacks]}
        resume = evaluation.resume and chunk == evaluation.chunk
        self.state = EvaluationState(evaluation.partial, self.protocol | budgets, resume)

    def tell_forecast(self, suite: Suite) -> None:
        """Say how long the suite will take."""
        n = len(self.places)
        left: list[tuple[Attack | None, int]] = [(None, n - self.state.entry("clean").n)]
        for position, attack in enumerate(suite.attacks):
            left.append((attack, self._images_left(_entry_name(position, attack), attack)))
        if any(images for _, images in left):
            probe = time_gradient(self.attacked_model, self.images, self.chunk)
            self.callback.on_forecast(forecast(probe, left))

    def _images_left(self, name: str, attack: Attack) -> int:
        if stepwise_attacks(attack):
            return 0 if self.state.note(done(name)) else len(self.places)
        return len(self.places) - self.state.entry(name).n

    def attack(self, position: int, attack: Attack, clean: Tensor) -> tuple[Verdicts, Json]:
        """Verdicts under one attack, and its row of the result; `clean` (n,) bool is right without an attack."""
        name = _entry_name(position, attack)
        if not stepwise_attacks(attack):
            entry = self.entry(name, attack, embed=position == self.evaluation.suite.features)
            return entry.verdicts(), record(attack) | _row(entry)
        evaluation = self.evaluation
        chunk = evaluation.search_chunk or search_chunk(self.images)
        in_flight = chunks_in_flight(chunk, evaluation.batch_size)
        attacked_model, precision = self.searched_model, evaluation.search_precision
        subject = AttackTarget(self.model, attacked_model, self.images, self.places, evaluation.seed, precision)
        return AttackSequence(attack, subject, chunk, in_flight, self.state, name, self.callback).run(clean)

    def entry(self, name: str, attack: Attack | None, embed: bool) -> PassProgress:
        """Verdicts under one attack (None: clean) and, with `embed`, a note of the features' statistics."""
        entry, see = self.state.entry(name), None
        if embed and isinstance(self.model, Classifier) and self.state.note(name) is None:
            see = Embeddings(self.model)
            # Features are not stored: without statistics the attack begins again.
            entry.forget()
        self.callback.on_attack(name, len(self.places) - entry.n)
        tell, seed = self.callback.on_images, self.evaluation.seed
        judge(self.model, self.attacked_model, attack, self.images, self.places, self.chunk, seed, entry, tell, see)
        if see is not None and isinstance(self.model, Classifier):
            self.state.write_note(name, class_statistics(see, self.model.class_centers()))
        self.state.save(now=True)
        return entry

    def result(self, rows: list[Json], worst: Verdicts) -> Json:
        """Content of the result file, without geometry."""
        entry = self.state.entry("clean")
        clean, unevaluated = entry.verdicts(), int(worst.unevaluated.sum())
        right = clean.accuracy("clean") | entry.mean_cross_entropy("clean_") | {"clean_verdicts": pack(clean.robust)}
        worst_case = worst.accuracy("worst case")
        worst_case |= {"worst_case_unevaluated": unevaluated} if unevaluated else {}
        return content(self.protocol, right, rows, worst_case)


def _row(entry: PassProgress) -> Json:
    found = entry.verdicts()
    return found.accuracy() | entry.mean_cross_entropy() | {"seconds": round(entry.seconds, 3)} | found.bits()
