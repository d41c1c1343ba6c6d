"""`advdpnp ood`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from advdpnp.cli import network
from advdpnp.cli.command import (
    Answer,
    DataRoot,
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

_AGAINST = (
    "Outside images, repeatable: a data set, uniform-noise, gaussian-noise or folder:PATH. By default noise, and for "
    "cifar10 also cifar100 and mnist."
)


@command(app, plugins=True)
def ood(
    switches: Switches,
    run: network.TestedRun = None,
    against: Annotated[list[str] | None, typer.Option(help=_AGAINST)] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="Attack on the test images, repeatable; by default pgd, which is PGD-20.")
    ] = None,
    eps: network.Eps = None,
    norm: Annotated[str | None, typer.Option(help="Its norm: linf (default) or l2.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many images, inside and outside.")] = None,
    indices: network.Indices = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
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
    data_root: DataRoot = None,
) -> Answer:
    """Tell images of other data and noise from test images, by distance, angle and softmax; reject low scores."""
    described = [weights, weights_key, own_weights, untrained, model_arg, mean, std, name]
    model = network.settle(run, model, data, checkpoint, described)
    from advdpnp import api
    from advdpnp.api.named_data import facts_of, usual_size
    from advdpnp.ood_results import ood_text, read_ood

    how: dict[str, Any] = {
        "attack": attack or "pgd",
        "eps": eps,
        "norm": norm,
        "limit": limit,
        "indices": indices,
        "seed": seed,
        "device": switches.device,
        "data_root": data_root,
        "resume": resume,
    }
    with showing_progress() as callback:
        if data and model:
            image_size = usual_size(data, image_size, model, callback.on_note)
        tested = data and facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
        if run is not None:
            result = api.ood(run, against, on_data=tested, checkpoint=checkpoint, callback=callback, **how)
            return Answer(result, ood_text(read_ood(result)), next=(shown("report", run),))
        assert model is not None and tested
        source = network.external_network(
            model, weights, weights_key, own_weights, untrained, model_arg, mean, std, name
        )
        result = api.ood_external(source, tested, against, out=out, callback=callback, **how)
        return Answer(result, ood_text(read_ood(result)), next=(shown("report", source.folder(out, tested)),))
