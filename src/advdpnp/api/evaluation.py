"""Evaluates runs and networks, and compares runs."""

import math
import warnings
from pathlib import Path
from typing import Any, Unpack, overload

from torch import nn
from torch.export import ExportedProgram

from advdpnp import attacks
from advdpnp.api.environment import resolve_device
from advdpnp.api.external import InMemoryKeywords, evaluate_model
from advdpnp.api.loading import chosen_checkpoint, load_checkpoint, stored_experiment
from advdpnp.api.protocol import Protocol, Radii, Radius, adapted, radius_of, suite_of
from advdpnp.api.stored_evaluation import EvaluationKeywords, EvaluationOptions, StoredEvaluation
from advdpnp.api.test_sets import corruptions_of, test_set
from advdpnp.api.transfer import source_of
from advdpnp.callbacks import Silent
from advdpnp.data.memory.tensors import is_array
from advdpnp.deprecation import renamed
from advdpnp.evaluation import EvaluationCallback, paired_test
from advdpnp.evaluation.randomness import draws_from, with_draws
from advdpnp.evaluation.similarity import store_similarity
from advdpnp.evaluation.single_pass import as_stated
from advdpnp.mode import settle
from advdpnp.result_files import ResultFiles
from advdpnp.runs import Json, Run
from advdpnp.threat import Norm


@overload
def evaluate(
    what: Path | str,
    suite: Protocol = "quick",
    *,
    eps: Radius | None = None,
    norm: Norm | None = None,
    suite_name: str | None = None,
    on_data: Any = None,
    checkpoint: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
    **options: Unpack[EvaluationKeywords],
) -> Json: ...


@overload
def evaluate(
    what: nn.Module | ExportedProgram,
    x: Any,
    y: Any = None,
    *,
    suite: Protocol = "quick",
    eps: Radius | None = None,
    norm: Norm | None = None,
    callback: EvaluationCallback | None = None,
    chunk: int | None = None,
    **options: Unpack[InMemoryKeywords],
) -> Json: ...


def evaluate(what: Any, *arguments: Any, **options: Any) -> Json:
    """Attack a run's classifier on its test set, or any `nn.Module` on images in memory.

    Args:
        what: a run's folder, see `advdpnp.api.evaluate_run`, or a network or torch.export program, see
            `advdpnp.api.evaluate_model`.
        arguments, options: of these.
    Returns:
        Content of eval/<suite>.json, in fractions; a run's is also written there.
    Raises:
        ValueError, FileNotFoundError: in one line, what is missing or would make the numbers meaningless.
    """
    if isinstance(what, ExportedProgram):
        what = settle(what.module())
    named = _collection_name(what, arguments, options)
    if named is not None:
        from advdpnp.api.collections import evaluate_collection

        given = arguments if isinstance(what, nn.Module) else ()
        options.pop("suite", None)
        return evaluate_collection(what, named, *given, **options)
    if isinstance(what, nn.Module):
        return evaluate_model(what, *arguments, **options)
    if {"x", "y"} & options.keys() or any(map(is_array, arguments)):
        raise ValueError(
            "a run is evaluated on its test set, or on on_data=(x, y), and images in memory need a network: give "
            "evaluate(run_folder), evaluate(run_folder, on_data=(x, y)), or evaluate(model, x, y)"
        )
    return evaluate_run(what, *arguments, **options)


def _collection_name(what: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """The table of the paper that is asked for, as "table3"; None where it is one suite."""
    suite = options.get("suite", arguments[0] if arguments and not isinstance(what, nn.Module) else None)
    return suite if isinstance(suite, str) and suite in attacks.COLLECTIONS else None


@renamed(listener="callback")
@as_stated()
def evaluate_run(
    folder: Path | str,
    suite: Protocol = "quick",
    *,
    eps: Radius | None = None,
    norm: Norm | None = None,
    suite_name: str | None = None,
    on_data: Any = None,
    checkpoint: str | None = None,
    device: str | None = None,
    data_root: Path | None = None,
    callback: EvaluationCallback | None = None,
    **options: Unpack[EvaluationKeywords],
) -> Json:
    """Attack a run's classifier on a test set; writes and returns eval/<suite>.json.

    Args:
        folder: the run's folder.
        suite: a suite's name, see `advdpnp list suites`, a suite, an attack such as `PGD(eps=8 / 255)`, or a list of
            attacks, as objects or texts such as "pgd:steps=40,step_size=0.01".
        eps: another radius than the data set's usual one, as 4 / 255 or "4/255"; the result is then named after it.
        norm: "linf"; "l2" or "l1" for the same attacks there, whose result is called <suite>-l2 or -l1; None for linf.
        suite_name: name of the result, if `suite` is an attack or a list of them; None for "custom".
        on_data: another test set of the same image shape and classes; writes eval/<suite>@<data>.json. Images in
            memory, as `advdpnp.given` takes them, are recognized where they are the run's own test images.
        checkpoint: "last" or "best"; None for last, and says so where best is of another epoch.
        device: torch device.
        data_root: folder of the data files.
        callback: called as the evaluation proceeds, see `advdpnp.callbacks`.
        options: limit, indices, seed, seeds, shard, batch_size, search_precision, resume, eot, transfer_from: see
            `advdpnp.api.stored_evaluation.EvaluationOptions`.
    """
    how, callback = EvaluationOptions(**options), callback or Silent()
    run, on = Run(Path(folder)), resolve_device(device)
    done = stored_experiment(run)
    tested = test_set(run, done, on_data, data_root)
    radii = Radii(done.data.radii, done.data.name, math.prod(done.data.image_shape), radius_of(eps))
    wanted = adapted(suite_of(suite, radii, norm, suite_name), done.defense)
    if remark := radii.remark(norm):
        callback.on_note(remark)
    checkpoint = chosen_checkpoint(run, checkpoint, callback.on_note)
    model: nn.Module
    classifier, epoch = load_checkpoint(run, checkpoint, on)
    images = tested.images.to(on)
    weights = run.weights_sha256(checkpoint)
    facts = {
        "data": tested.facts.name,
        "checkpoint": checkpoint,
        "epoch": epoch,
        "weights": weights,
        "recipe": done.recipe.name,
        "holdout": done.recipe.holdout,
        "precision": "fp32",
    }
    source = source_of(how.transfer_from, images.first(1)[0])
    corrupted = corruptions_of(wanted, tested.facts, images, data_root, callback)
    chosen = tested.chosen(how)
    evaluation = StoredEvaluation(run, wanted, images, facts, chosen, tested.other, corrupted=corrupted, source=source)
    with draws_from(how.seed, on, how.eot):
        model, said = with_draws(classifier, how.eot, images)
    said = [*tested.remarks, *said]
    for line in said:
        warnings.warn(line, stacklevel=5)
    remarks = {"warnings": said} if said else {}
    result = evaluation.begin(on, callback) or evaluation.measure(model, on, callback, **remarks)
    if wanted.features is not None:
        store_similarity(run, classifier, done.data.class_names, checkpoint)
    return result


def compare(first: Path | str, second: Path | str, suite: str = "quick") -> list[Json]:
    """Paired test of two runs that were evaluated with `suite`; see `advdpnp.evaluation.paired_test`."""
    files = [ResultFiles(Run(Path(folder)), suite) for folder in (first, second)]
    results = [one.read() for one in files]
    try:
        return paired_test(*results)
    except KeyError as error:
        raise ValueError(
            f"{suite} of {first} or of {second} has no {error}, as results of earlier versions: evaluate them again"
        ) from None
