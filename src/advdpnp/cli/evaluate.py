"""`advdpnp evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from advdpnp.cli import network
from advdpnp.cli.command import (
    Answer,
    DataRoot,
    Deterministic,
    ImageSize,
    Resume,
    SkipBroken,
    SplitSeed,
    Switches,
    Untrained,
    app,
    command,
    showing_progress,
    shown,
)
from advdpnp.indices import is_part
from advdpnp.runs import Json

_SUITE_HELP = "Suite of attacks, see `advdpnp list suites` (quick by default); with --attack, the name of the result."


@command(app, plugins=True)
def evaluate(
    switches: Switches,
    run: network.TestedRun = None,
    suite: Annotated[str | None, typer.Option(help=_SUITE_HELP)] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="Attack by hand, repeatable: pgd:eps=0.3,steps=40,step_size=0.01.")
    ] = None,
    eps: network.Eps = None,
    norm: Annotated[str | None, typer.Option(help="linf (default), l2 or l1: the same attacks there.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many test images.")] = None,
    indices: network.Indices = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the attacks' noise.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from --seed on: mean and spread.")] = 1,
    shard: Annotated[str, typer.Option(help="K/M: part K of M, for M processes; the last one merges them.")] = "",
    batch_size: Annotated[
        int, typer.Option(min=0, help="Images that AutoAttack has at a time; changes no verdict.")
    ] = 0,
    search_precision: Annotated[
        str, typer.Option(help="AutoAttack searches in fp32, or faster in tf32 (GPU) or bf16; fp32 gives the verdicts.")
    ] = "fp32",
    eot: Annotated[
        int,
        typer.Option(min=1, help="For a randomized network: attacks and verdicts follow the mean of so many draws."),
    ] = 1,
    transfer_from: Annotated[
        Path | None, typer.Option(help="Folder of a run: adversarial images are crafted on it, and judged here.")
    ] = None,
    data: network.TestSet = None,
    image_size: ImageSize = None,
    split_seed: SplitSeed = 0,
    skip_broken: SkipBroken = False,
    checkpoint: network.Checkpoint = None,
    model: network.Model = None,
    weights: network.Weights = None,
    weights_key: network.WeightsKey = "",
    own_weights: network.OwnWeights = False,
    untrained: Untrained = False,
    model_arg: network.ModelArg = None,
    mean: network.Mean = None,
    std: network.Std = None,
    name: network.Name = "",
    out: network.Out = Path("runs"),
    resume: Resume = False,
    deterministic: Deterministic = False,
    data_root: DataRoot = None,
) -> Answer:
    """Attack a trained classifier, or your own network (--model); writes eval/SUITE.json in its run folder."""
    described = [weights, weights_key, own_weights, untrained, model_arg, mean, std, name]
    model = network.settle(run, model, data, checkpoint, described)
    from advdpnp import api
    from advdpnp.api.named_data import facts_of, usual_size
    from advdpnp.attacks import COLLECTIONS
    from advdpnp.progress import result_text

    table = suite if attack is None and suite in COLLECTIONS else None
    how: dict[str, Any] = {
        "suite": attack or suite or "quick",
        "suite_name": suite,
        "eps": eps,
        "norm": norm,
        "limit": limit,
        "indices": indices,
        "seed": seed,
        "seeds": seeds,
        "shard": shard,
        "batch_size": batch_size,
        "search_precision": search_precision,
        "eot": eot,
        "transfer_from": transfer_from,
        "device": switches.device,
        "data_root": data_root,
        "resume": resume,
    }
    if table:
        how = {key: value for key, value in how.items() if key not in ("suite", "suite_name", "resume")}
    with showing_progress() as callback, api.deterministic(deterministic):
        if data and model:
            image_size = usual_size(data, image_size, model, callback.on_note)
        tested = data and facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
        if run is not None:
            of_run: dict[str, Any] = {"on_data": tested, "checkpoint": checkpoint, "callback": callback}
            if table:
                return _table_answer(api.evaluate_collection(run, table, **of_run, **how), run)
            result = api.evaluate_run(run, **of_run, **how)
            return Answer(result, result_text(result), next=_then(result, run))
        assert model is not None and tested
        source = network.external_network(
            model, weights, weights_key, own_weights, untrained, model_arg, mean, std, name
        )
        folder = source.folder(out, tested)
        if table:
            whole = api.evaluate_collection(source, table, tested, out=out, callback=callback, **how)
            return _table_answer(whole, folder)
        result = api.evaluate_external(source, tested, out=out, callback=callback, **how)
        return Answer(result, f"{result_text(result)}\n{folder}", next=_then(result, folder))


def _table_answer(whole: Json, folder: Path) -> Answer:
    """The results of all suites of a table."""
    from advdpnp.progress import result_text

    texts = [result_text(result) for result in whole["evaluations"]]
    return Answer(whole, "\n\n".join([*texts, str(folder)]), next=(shown("report", folder),))


def _then(result: Json, folder: Path) -> tuple[str, ...]:
    """What one may do with a result; a shard's is none that a report knows."""
    return () if is_part(result["indices"]) else (shown("report", folder),)
