"""`advdpnp illustrate`."""

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

_ATTACK = (
    "One attack by hand, as pgd:steps=40,step_size=0.01. By default PGD-20, and for features of width 2 that of the "
    "paper's Figure 2: PGD-40 with steps of eps / 30."
)


@command(app, plugins=True)
def illustrate(
    switches: Switches,
    run: network.TestedRun = None,
    attack: Annotated[str | None, typer.Option(help=_ATTACK)] = None,
    eps: network.Eps = None,
    norm: Annotated[str | None, typer.Option(help="Its norm: linf (default), l2 or l1.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many test images; all by default.")] = None,
    indices: network.Indices = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the attack's noise.")] = 0,
    data: Annotated[str | None, typer.Option(help="Of a --model: its test set, or folder:PATH.")] = None,
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
    """Store what the report draws of a network: attacked images, confusion, features (Figure 2, PCA, t-SNE)."""
    described = [weights, weights_key, own_weights, untrained, model_arg, mean, std, name]
    model = network.settle(run, model, data, checkpoint, described)
    if run is not None and data is not None:
        raise ValueError(f"a run is illustrated on its own test images; got --data {data}: leave it out")
    from advdpnp import api
    from advdpnp.api.named_data import facts_of, usual_size
    from advdpnp.illustrations import illustration_text, read_illustration

    how: dict[str, Any] = {
        "attack": attack,
        "eps": eps,
        "norm": norm,
        "limit": limit,
        "indices": indices,
        "seed": seed,
        "device": switches.device,
        "data_root": data_root,
    }
    with showing_progress() as callback:
        if run is not None:
            folder, told = run, api.illustrate(run, checkpoint=checkpoint, callback=callback, **how)
        else:
            assert model is not None and data is not None
            image_size = usual_size(data, image_size, model, callback.on_note)
            tested = facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
            source = network.external_network(
                model, weights, weights_key, own_weights, untrained, model_arg, mean, std, name
            )
            folder = source.folder(out, tested)
            told = api.illustrate_external(source, tested, out=out, callback=callback, **how)
    return Answer(told, illustration_text(read_illustration(told)), next=(shown("report", folder),))
