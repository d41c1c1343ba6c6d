"""`advdpnp audit`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from advdpnp.cli import network
from advdpnp.cli.command import (
    Answer,
    DataRoot,
    ImageSize,
    SkipBroken,
    SplitSeed,
    Switches,
    Untrained,
    app,
    command,
    showing_progress,
    shown,
)


@command(app, plugins=True)
def audit(
    switches: Switches,
    run: network.TestedRun = None,
    eps: network.Eps = None,
    norm: Annotated[str, typer.Option(help="linf or l2; the other one gets a shorter look.")] = "linf",
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many test images; 200 by default.")] = None,
    indices: network.Indices = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all random numbers.")] = 0,
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
    data_root: DataRoot = None,
) -> Answer:
    """Can the robust accuracy be believed? Looks for masked gradients; writes eval/audit.json and a figure."""
    described = [weights, weights_key, own_weights, untrained, model_arg, mean, std, name]
    model = network.settle(run, model, data, checkpoint, described)
    from advdpnp.api.audit import audit_external, audit_run
    from advdpnp.api.named_data import facts_of, usual_size

    how: dict[str, Any] = {
        "eps": eps,
        "norm": norm,
        "limit": limit,
        "indices": indices,
        "seed": seed,
        "device": switches.device,
        "data_root": data_root,
    }
    with showing_progress() as callback:
        if data and model:
            image_size = usual_size(data, image_size, model, callback.on_note)
        tested = data and facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
        if run is not None:
            found = audit_run(run, on_data=tested or None, checkpoint=checkpoint, callback=callback, **how)
            return Answer(found.as_json(), str(found), next=(shown("evaluate", run, "--suite", "autoattack"),))
        assert model is not None and tested
        source = network.external_network(
            model, weights, weights_key, own_weights, untrained, model_arg, mean, std, name
        )
        found = audit_external(source, tested, out=out, callback=callback, **how)
        return Answer(found.as_json(), f"{found}\n{source.folder(out, tested)}")
