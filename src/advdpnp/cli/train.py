"""`advdpnp train`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    allow_named,
    app,
    command,
    numbers,
    showing_progress,
    shown,
)

if TYPE_CHECKING:
    from advdpnp.experiments import Initial


@command(app, plugins=True)
def train(
    switches: Switches,
    name: Annotated[
        str | None, typer.Argument(help="data/backbone/defense, as in cifar10/resnet18/adv-dpnp; or --data.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="In place of the name: folder:PATH, or a data set.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="With --data: backbone, by default resnet18; or timm:NAME, FILE.py:callable and the like."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="First weights of timm:NAME and the like: a file, not the library's own.")
    ] = None,
    weights_key: Annotated[str, typer.Option(help="Which state dict of the file, as ema or model.net.")] = "",
    untrained: Untrained = False,
    model_arg: Annotated[list[str] | None, typer.Option(help="Argument of a callable, repeatable: depth=28.")] = None,
    mean: Annotated[str | None, typer.Option(help="Its normalization, pixels in [0, 1]: a,b,c.")] = None,
    std: Annotated[str | None, typer.Option(help="As --mean.")] = None,
    defense: Annotated[str | None, typer.Option(help="With --data: method; by default adv-dpnp.")] = None,
    image_size: ImageSize = None,
    split_seed: SplitSeed = 0,
    skip_broken: SkipBroken = False,
    recipe: Annotated[str, typer.Option(help="paper, official, or default (with held-out images).")] = "default",
    config: Annotated[Path | None, typer.Option(help="YAML file with fields to override.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Field to override: recipe.epochs=2.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    tag: Annotated[str, typer.Option("--name", help="Tells variants of one defense apart.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    resume: Resume = False,
    log: Annotated[
        str, typer.Option(help="Log every epoch to tensorboard, wandb, mlflow; several with commas between them.")
    ] = "",
    tensorboard: Annotated[
        Path | None, typer.Option(help="As --log tensorboard, with the event files in this folder, not in the run's.")
    ] = None,
    checkpoint_seconds: Annotated[float, typer.Option(min=0, help="Seconds between checkpoints.")] = 60.0,
    cudnn_benchmark: Annotated[
        bool, typer.Option("--cudnn-benchmark", help="On a GPU: try cuDNN's algorithms and keep the fastest.")
    ] = False,
    deterministic: Deterministic = False,
    data_root: DataRoot = None,
) -> Answer:
    """Train a classifier into runs/<data>/<backbone>/<defense>/seed-<n>."""
    check_names(name, data, model, defense)
    if deterministic and cudnn_benchmark:
        raise ValueError("--cudnn-benchmark chooses by the clock, so that bits differ: leave it or --deterministic out")
    with showing_progress() as callback:
        # Torch takes seconds to load, of which the callback has told.
        from advdpnp import api
        from advdpnp.api.named_data import facts_of, usual_size
        from advdpnp.experiments import experiment, experiment_on, read_changes
        from advdpnp.loggers import Logger
        from advdpnp.loggers.tensorboard import TensorBoardLogger

        loggers: list[str | Logger] = [name.strip() for name in log.split(",") if name.strip()]
        options = recipe, seed, tag, read_changes(config) if config else None, set_ or ()
        normalization = numbers("--mean", mean), numbers("--std", std)
        first = _initial(weights, weights_key, untrained, *normalization, tuple(model_arg or ()), callback.on_note)
        if data is None:
            wanted = experiment(name or "", *options, first)
        else:
            backbone = model or "resnet18"
            allow_named(backbone)
            image_size = usual_size(data, image_size, backbone, callback.on_note)
            facts = facts_of(data, image_size, split_seed, skip_broken, data_root, callback.on_note)
            wanted = experiment_on(facts, backbone, defense or "adv-dpnp", *options, first)
        if tensorboard is not None:
            loggers.append(TensorBoardLogger(tensorboard))
        with api.deterministic(deterministic):
            run = api.train(
                wanted,
                out,
                device=switches.device,
                data_root=data_root,
                resume=resume,
                callback=callback,
                checkpoint_seconds=checkpoint_seconds,
                benchmark_cudnn=cudnn_benchmark,
                log=loggers,
            )
    then = shown("evaluate", run.folder), shown("report", run.folder)
    return Answer(
        {"run": str(run.folder), "last_epoch": next(reversed(run.epochs()), None)}, str(run.folder), next=then
    )


def check_names(name: str | None, data: str | None, model: str | None, defense: str | None) -> None:
    """ValueError unless an experiment is named in one way: by its whole name, or by data, model and defense."""
    if (name is None) == (data is None) or (name and (model or defense)):
        raise ValueError(
            "expected a name such as cifar10/resnet18/adv-dpnp, or --data with --model and --defense; "
            f"got {'both' if name else 'neither'}: give one of them"
        )
    if name and name.startswith("folder:"):
        raise ValueError(f"a folder is given as --data folder:PATH, with --model and --defense; got the name {name!r}")


def _initial(
    weights: Path | None,
    weights_key: str,
    untrained: bool,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    arguments: tuple[str, ...],
    tell: Callable[[str], None],
) -> "Initial | None":
    from advdpnp.experiments import Initial
    from advdpnp.experiments.initial import PRETRAINED, UNTRAINED
    from advdpnp.external.normalization import check_pair, unit_scale

    if untrained and weights is not None:
        raise ValueError(f"--untrained leaves the weights to chance, and --weights gives {weights}: leave one out")
    if weights_key and weights is None:
        raise ValueError("--weights-key chooses from a weights file: give --weights too")
    check_pair(mean, std, ("--mean", "--std"))
    mean, std, understood = unit_scale(mean, std)
    if understood:
        tell(understood)
    begin = str(weights) if weights else UNTRAINED if untrained else PRETRAINED
    initial = Initial(begin, weights_key, "", mean, std, arguments)
    return None if initial == Initial() else initial
