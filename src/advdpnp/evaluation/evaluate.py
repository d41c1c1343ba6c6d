"""One evaluation: a suite of attacks on a test set, from the first chunk to the result file's content."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack, Suite, label, record
from advdpnp.attacks.adaptive import check_objective
from advdpnp.attacks.attack import check_target
from advdpnp.attacks.monitored_model import out_of_inference
from advdpnp.attacks.stepwise import stepwise_attacks
from advdpnp.callbacks import EvaluationCallback
from advdpnp.data import Images
from advdpnp.data.corruption_sources import GENERATED, CorruptionSource
from advdpnp.evaluation.batching import AttackSequence
from advdpnp.evaluation.corruptions import corrupted_images_left, measure_corruptions, time_corruption
from advdpnp.evaluation.features import ClassStatistics, center_geometry, declarations
from advdpnp.evaluation.forecast import forecast, time_gradient
from advdpnp.evaluation.lone_attacks import with_lone_attack_warnings
from advdpnp.evaluation.model_checks import check_protocol
from advdpnp.evaluation.randomness import draws_from
from advdpnp.evaluation.saturation import stated, with_added_attacks
from advdpnp.evaluation.single_pass import (
    CHUNK,
    AttackTarget,
    SearchPrecision,
    as_stated,
    check_precision,
    chunks_in_flight,
    model_to_attack,
    search_shapes,
    single_pass,
)
from advdpnp.evaluation.state import EvaluationState, PassProgress
from advdpnp.evaluation.transfer import TransferSource, check_source
from advdpnp.evaluation.verdicts import check_evaluated
from advdpnp.evaluation.weak_in_l1 import with_l1_warning
from advdpnp.indices import indices_text, shard_text
from advdpnp.metrics import pack
from advdpnp.models.classifier import Classifier
from advdpnp.ranges import Count, Integer, Natural, Range, check_fields
from advdpnp.result_files import Verdicts, content, targeted
from advdpnp.runs import Json
from advdpnp.threat import check_fits

Part = Annotated[int, Range("[1, inf)", "as K and M of a shard K/M")]


@dataclass(frozen=True)
class Evaluation:
    """What is measured.

    Args:
        suite: the attacks.
        n: how many test images.
        facts: further entries of the result, such as data and checkpoint.
        chosen: their n positions in the test set, ascending; None for the first n.
        chunk: rows of every forward, where an attack takes one pass over the images; halved, and recorded, when memory
            runs out.
        search_chunk: rows of every forward of a stepwise attack, such as those of AutoAttack; likewise; 0 for the usual
            number.
        batch_size: rows that a stepwise attack works on at a time, in whole chunks; 0 for the usual number. It changes
            no verdict.
        search_precision: what stepwise attacks compute in; a success counts only where the network in fp32 agrees.
        seed: of the attacks' noise.
        shard: (k, m), the k-th of m interleaved parts of the images, k from 1.
        corrupted: where corrupted images come from, if the suite measures corruptions.
        partial: where an interrupted evaluation is kept; None keeps nothing.
        resume: continue what `partial` holds.
        eot: how many draws of a randomized network are averaged in every answer; the network is an
            `advdpnp.models.expected.ExpectedModel` of so many.
        source: the network that adversarial images are crafted on, while the other one judges them; None for the one
            that judges.
    """

    suite: Suite
    n: Count
    facts: Json
    chosen: tuple[Natural, ...] | None = None
    chunk: Count = CHUNK
    search_chunk: Natural = 0
    batch_size: Natural = 0
    search_precision: SearchPrecision = "fp32"
    seed: Integer = 0
    shard: tuple[Part, Part] = (1, 1)
    corrupted: CorruptionSource = GENERATED
    partial: Path | None = None
    resume: bool = False
    eot: Count = 1
    source: TransferSource | None = None

    def __post_init__(self) -> None:
        check_precision(self.search_precision)
        check_fields(self)
        if self.source is not None and self.search_precision != "fp32":
            raise ValueError(
                f"images are crafted on another network in fp32; got {self.search_precision}: leave it out"
            )
        if self.chosen is not None and (len(self.chosen) != self.n or list(self.chosen) != sorted({*self.chosen})):
            raise ValueError(f"chosen must be n = {self.n} ascending positions; got {len(self.chosen)}")
        part, parts = self.shard
        if not 1 <= part <= parts <= self.n:
            raise ValueError(f"a shard is K/M with K from 1 to M and M at most {self.n} images; got {part}/{parts}")
        if parts > 1 and self.suite.features is not None:
            raise ValueError(
                f"suite {self.suite.name} measures geometry over all images, so it has no shards: those are for "
                "attacks such as autoattack"
            )

    @property
    def indices(self) -> str:
        """Which test images, in words: "0-199", "1-199 step 4", "0-99,2303"."""
        part, parts = self.shard
        if self.chosen is not None:
            whole = indices_text(self.chosen)
            return shard_text(whole, part, parts) if parts > 1 else whole
        return f"{part - 1}-{self.n - 1}" + (f" step {parts}" if parts > 1 else "")

    def places(self, device: torch.device) -> Tensor:
        """Positions of these images in the test set: int64."""
        part, parts = self.shard
        if self.chosen is not None:
            return torch.tensor(self.chosen[part - 1 :: parts], dtype=torch.int64, device=device)
        return torch.arange(part - 1, self.n, parts, device=device)

    @property
    def protocol(self) -> Json:
        """What the result says of how it was measured, without the attacks and the rows of a forward."""
        # What departs from the defaults is named.
        special: Json = {"shard": list(self.shard)} if self.shard != (1, 1) else {}
        special |= {"search_precision": self.search_precision} if self.search_precision != "fp32" else {}
        special |= {"eot": self.eot} if self.eot != 1 else {}
        special |= {"transfer": self.source.facts} if self.source is not None else {}
        special |= {"corruption_source": self.corrupted.name} if self.suite.corruptions else {}
        return {
            **self.facts,
            "suite": self.suite.name,
            "n": len(range(self.shard[0] - 1, self.n, self.shard[1])),
            "indices": self.indices,
            **special,
            "seed": self.seed,
        }

    @property
    def budgets(self) -> list[Json]:
        """The attacks as the result has them."""
        return [described(attack, self.eot, self.source) for attack in self.suite.attacks]


def described(attack: Attack, eot: int = 1, source: TransferSource | None = None) -> Json:
    """`advdpnp.attacks.record`, with what makes it another one: the mean over draws, another network to craft on."""
    averaged: Json = {"eot": eot} if eot != 1 else {}
    return record(attack) | averaged | ({} if source is None else {"crafted_on": source.name})


@as_stated()
def evaluate(model: nn.Module, images: Images, evaluation: Evaluation, callback: EvaluationCallback) -> Json:
    """Run a suite; content of eval/<suite>.json, in fractions.

    A classifier whose logits saturate is attacked on a scale-free loss too (`advdpnp.evaluation.saturation`).

    Args:
        model: any classifier in eval mode, images in [0, 1] -> logits; geometry needs `embed` and `class_centers`.
        images: the test set, on the model's device.
        evaluation: what is measured.
        callback: told of every attack and chunk.
    Raises:
        ValueError: a model in training mode, labels or n out of range.
        UnevaluatedError: a ValueError, where more than 1 % of the images are unevaluated; shards are judged together.
    """
    with draws_from(evaluation.seed, images.labels.device, evaluation.eot):
        return _evaluated(model, images, evaluation, callback)


def _evaluated(model: nn.Module, images: Images, evaluation: Evaluation, callback: EvaluationCallback) -> Json:
    classes = check_protocol(model, images, evaluation.places(images.labels.device))
    for attack in evaluation.suite.attacks:
        check_target(attack, classes)
        check_objective(attack)
        check_fits(attack.norm, attack.eps, tuple(images.pixels.shape[1:]))
    model, asked = out_of_inference(model), evaluation.suite
    if evaluation.source is not None:
        check_source(evaluation.source, images, classes)
    # Where adversarial images come from is what attacks have gradients of.
    crafting = model if evaluation.source is None else evaluation.source.model
    evaluation = replace(evaluation, suite=with_added_attacks(asked, crafting))
    chunk = evaluation.chunk
    while True:
        try:
            result = _run_suite(model, images, evaluation, chunk, callback)
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise
            # Outside the handler's frame the failed tensors are freed; progress with another chunk size is not reused.
            chunk = max(1, chunk // 2)
        else:
            if "shard" not in result:
                check_evaluated(result, evaluation.partial)
            whole = stated(result, asked, evaluation.suite, crafting)
            return with_lone_attack_warnings(with_l1_warning(whole, evaluation.suite.attacks))


def _run_suite(
    model: nn.Module, images: Images, evaluation: Evaluation, chunk: int, callback: EvaluationCallback
) -> Json:
    run = _SuiteRun(model, images, evaluation, chunk, callback)
    try:
        return run.result()
    finally:
        # Ctrl-C too: what is finished is kept.
        run.state.save(now=True)


class _SuiteRun:
    """One suite, with one chunk size."""

    def __init__(
        self, model: nn.Module, images: Images, evaluation: Evaluation, chunk: int, callback: EvaluationCallback
    ) -> None:
        self._model, self._evaluation, self._chunk, self._callback = model, evaluation, chunk, callback
        places = evaluation.places(images.labels.device)
        source = evaluation.source
        crafting = model_to_attack(model if source is None else out_of_inference(source.model))
        self._target = AttackTarget(model, crafting, images, places, evaluation.seed)
        self._stepwise_target = self._in_precision(evaluation.search_precision)
        stated = evaluation.protocol
        seed = stated.pop("seed")
        self._protocol = stated | {"chunk": chunk, "seed": seed}
        budgets = {"attacks": evaluation.budgets}
        resume = evaluation.resume and chunk == evaluation.chunk
        self.state = EvaluationState(evaluation.partial, self._protocol | budgets, resume)
        self._features = self._attack_of_features()

    def result(self) -> Json:
        """Run the suite; content of the result file."""
        suite = self._evaluation.suite
        self._tell_forecast()
        clean = self._single_pass("clean", None, embed=self._features is not None)
        worst, rows = clean.verdicts(), []
        for position, attack in enumerate(suite.attacks):
            found, row = self._attack(position, attack, clean.verdicts().robust)
            worst &= found
            rows.append(row)
        right = clean.verdicts().accuracy("clean") | clean.mean_cross_entropy("clean_")
        right |= clean.other_answers("clean_")
        right |= {"clean_verdicts": pack(clean.verdicts().robust)}
        worst_case, unevaluated = worst.accuracy("worst case"), worst.unevaluated_count
        worst_case |= {"worst_case_unevaluated": unevaluated} if unevaluated else {}
        return content(self._protocol, right, rows, worst_case) | self._geometry() | self._corruptions()

    def _attack_of_features(self) -> int | None:
        """The attack whose features are measured; None where there is none, or nothing to tell classes apart by."""
        labels, features = self._target.images.labels[self._target.places], self._evaluation.suite.features
        if features is None or not isinstance(self._model, Classifier) or bool((labels != labels[0]).any()):
            return features
        self._callback.on_note(f"all images are of class {int(labels[0])}: geometry needs two, and is left out")
        return None

    def _in_precision(self, precision: SearchPrecision) -> AttackTarget:
        attacked_model = self._target.attacked_model
        if precision == "bf16":
            attacked_model = model_to_attack(self._model, precision)
        return replace(self._target, attacked_model=attacked_model, precision=precision)

    def _tell_forecast(self) -> None:
        """Say how long the suite will take."""
        left: list[tuple[Attack | None, int]] = [(None, self._images_left("clean", None))]
        suite = self._evaluation.suite
        for position, attack in enumerate(suite.attacks):
            left.append((attack, self._images_left(_name(position, attack), attack)))
        corrupted = corrupted_images_left(self.state, len(self._target.places)) if suite.corruptions else 0
        left.append((None, corrupted))
        if any(images for _, images in left):
            measured = self._target.images.select(self._target.places[: self._chunk])
            probe = time_gradient(self._target.attacked_model, measured, self._chunk)
            generation = corrupted * time_corruption(self._target, self._evaluation.corrupted) if corrupted else 0.0
            self._callback.on_forecast(forecast(probe, left) + generation)

    def _images_left(self, name: str, attack: Attack | None) -> int:
        n = len(self._target.places)
        if attack is not None and self._in_steps(attack):
            return 0 if self.state.is_finished(name) else n
        return n - self.state.pass_progress(name).n

    def _attack(self, position: int, attack: Attack, clean: Tensor) -> tuple[Verdicts, Json]:
        """Verdicts under one attack, and its row of the result; `clean` (n,) bool is right without an attack."""
        name = _name(position, attack)
        if self._in_steps(attack):
            found, row = self._stepwise(name, attack, clean)
            return found, self._described(attack) | row
        progress = self._single_pass(name, attack, embed=position == self._features)
        found = progress.verdicts()
        measured = found.accuracy() | progress.mean_cross_entropy() | progress.other_answers()
        measured |= {"seconds": round(progress.seconds, 3)}
        aimed_at = getattr(attack, "target", None)
        if aimed_at is not None:
            others = clean & (self._target.labels.cpu() != aimed_at)
            reached = int((progress.reached() & others).sum())
            measured |= {"targeted": targeted(aimed_at, reached, int(others.sum()))}
        return found, self._described(attack) | measured | found.bits()

    def _described(self, attack: Attack) -> Json:
        return described(attack, self._evaluation.eot, self._evaluation.source)

    def _in_steps(self, attack: Attack) -> bool:
        """Whether an attack's iterations are run in full batches, each success judged; not if another network judges.

        Then there is one adversarial image for each image, and it is judged once.
        """
        return bool(stepwise_attacks(attack)) and self._evaluation.source is None

    def _stepwise(self, name: str, attack: Attack, clean: Tensor) -> tuple[Verdicts, Json]:
        target, state, callback = self._stepwise_target, self.state, self._callback
        chunk, shapes = self._evaluation.search_chunk, None
        if chunk == 0:
            chunk, shapes = search_shapes(target)
        in_flight = chunks_in_flight(chunk, self._evaluation.batch_size, shapes)
        return AttackSequence(attack, target, chunk, in_flight, state, name, callback, shapes).run(clean)

    def _single_pass(self, name: str, attack: Attack | None, embed: bool) -> PassProgress:
        """Verdicts under one attack (None: clean); with `embed`, statistics of the features are stored too."""
        progress, statistics = self.state.pass_progress(name), None
        if embed and isinstance(self._model, Classifier) and self.state.value(name) is None:
            statistics = ClassStatistics(self._model)
            # Features are not stored: without statistics the attack begins again.
            progress.forget()
        self._callback.on_attack(name, len(self._target.places) - progress.n)
        single_pass(self._target, attack, self._chunk, progress, self._callback.on_images, statistics)
        if statistics is not None:
            self.state.store(name, statistics.numbers())
        self.state.save(now=True)
        return progress

    def _corruptions(self) -> Json:
        """Accuracy under common corruptions, where the suite measures it."""
        if not self._evaluation.suite.corruptions:
            return {}
        source = self._evaluation.corrupted
        found = measure_corruptions(self._target, source, self._chunk, self.state, self._callback)
        return {"corruptions": found}

    def _geometry(self) -> Json:
        """Geometry of clean and attacked features, where the suite and the model have any."""
        if self._features is None or not isinstance(self._model, Classifier):
            return {}
        attack = self._evaluation.suite.attacks[self._features]
        adversarial = {**self.state.value(_name(self._features, attack)), "attack": label(record(attack))}
        centers = center_geometry(self._model.class_centers())
        return {
            "geometry": {"clean": self.state.value("clean"), "adversarial": adversarial, **centers, **declarations()}
        }


def _name(position: int, attack: Attack) -> str:
    """The attack's name in the state; attacks with one label are told apart by their position."""
    return f"{position + 1}. {label(record(attack))}"
