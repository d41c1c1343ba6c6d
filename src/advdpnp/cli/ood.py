"""`advdpnp ood`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from advdpnp.cli.command import (
    Answer,
    DataRoot,
    Resume,
    Switches,
    Untrained,
    allow_code_of,
    app,
    command,
    facts_of,
    numbers,
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
    run: Annotated[Path | None, typer.Argument(help="Folder of a run; or give --model.")] = None,
    against: Annotated[list[str] | None, typer.Option(help=_AGAINST)] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="Attack on the test images, repeatable; by default pgd, which is PGD-20.")
    ] = None,
    eps: Annotated[str | None, typer.Option(help="Its radius instead of the data set's, as 4/255 or 0.3.")] = None,
    norm: Annotated[str | None, typer.Option(help="Its norm: linf (default) or l2.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many images, inside and outside.")] = None,
    indices: Annotated[str | None, typer.Option(help="Which test images, from 0: 0-99,2303, or a file.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise.")] = 0,
    data: Annotated[str | None, typer.Option(help="Test set of --model, or another one of a run.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Of a run: last (default) or best.")] = None,
    model: Annotated[str | None, typer.Option(help="Your network, as in advdpnp evaluate.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Its weights: .safetensors or a torch checkpoint.")] = None,
    weights_key: Annotated[str, typer.Option(help="Which weights of the file, by key, index or prefix.")] = "",
    own_weights: Annotated[
        bool, typer.Option("--own-weights", help="Instead of --weights: your callable loads its weights itself.")
    ] = False,
    untrained: Untrained = False,
    model_arg: Annotated[list[str] | None, typer.Option(help="Argument of the callable, repeatable: depth=28.")] = None,
    mean: Annotated[str | None, typer.Option(help="Normalization of its training: a,b,c; 0.49 or 125.3/255.")] = None,
    std: Annotated[str | None, typer.Option(help="As --mean; one number stands for all channels.")] = None,
    name: Annotated[str, typer.Option(help="Tells variants of your network apart.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of all runs, for your network's results.")] = Path("runs"),
    resume: Resume = False,
    data_root: DataRoot = None,
) -> Answer:
    """Tell images of other data and noise from test images, by distance, angle and softmax; reject low scores."""
    if run is not None and (run / "config.json").is_file():
        allow_code_of(run, model)
        model = None
    _check(run, model, data, any([weights, weights_key, own_weights, untrained, model_arg, mean, std, name]))
    from advdpnp import api
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
        tested = data and facts_of(data, None, 0, False, data_root, callback.on_note)
        if run is not None:
            result = api.ood(run, against, on_data=tested, checkpoint=checkpoint, callback=callback, **how)
            return Answer(result, ood_text(read_ood(result)), next=(shown("report", run),))
        from advdpnp.external import ExternalModel, parse_arguments

        assert model is not None and tested
        if own_weights and untrained:
            raise ValueError("--own-weights and --untrained contradict each other: give one of them")
        as_built: Any = "untrained" if untrained else "own" if own_weights else "refused"
        arguments, scale = parse_arguments(model_arg or ()), (numbers("--mean", mean), numbers("--std", std))
        source = ExternalModel(model, weights, weights_key, arguments, *scale, name, as_built)
        result = api.ood_external(source, tested, against, out=out, callback=callback, **how)
        return Answer(result, ood_text(read_ood(result)), next=(shown("report", source.folder(out, tested)),))


def _check(run: Path | None, model: str | None, data: str | None, described: bool) -> None:
    if (run is None) == (model is None):
        raise ValueError("give either the folder of a run, or --model with --weights and --data; not both, not neither")
    if run is not None and described:
        raise ValueError("--weights, --model-arg, --mean, --std and --name are for --model, not a run")
    if model is not None and data is None:
        raise ValueError("--model needs --data, its test set, such as mnist: see `advdpnp list data`")
