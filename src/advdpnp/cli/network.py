"""The options that name a network from elsewhere, which commands that attack one have in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from advdpnp.cli.command import allow_code_of, numbers

if TYPE_CHECKING:
    from advdpnp.external import ExternalModel

TestedRun = Annotated[Path | None, typer.Argument(help="Folder of a run; or give --model.")]
TestSet = Annotated[str | None, typer.Option(help="Test set, or folder:PATH; by default the run's own.")]
Checkpoint = Annotated[str | None, typer.Option(help="Of a run: last (default) or best.")]
Indices = Annotated[
    str | None,
    typer.Option(
        help="Which test images, from 0: 0-99,2303, or a file with one in a line, a JSON list or a .npy array."
    ),
]
Eps = Annotated[str | None, typer.Option(help="Radius instead of the data set's, as 4/255 or 0.3.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="Your network: pkg.module:callable, path/to/file.py:callable, timm:NAME, torchvision:NAME, "
        "robustbench:NAME/THREAT or FILE.pt2."
    ),
]
Weights = Annotated[Path | None, typer.Option(help="Its weights: .safetensors or a torch checkpoint.")]
WeightsKey = Annotated[
    str, typer.Option(help="Which weights of the file, by key, index or prefix: ema, state_dict.0, model.net.")
]
OwnWeights = Annotated[
    bool, typer.Option("--own-weights", help="Instead of --weights: your callable loads its weights itself.")
]
ModelArg = Annotated[list[str] | None, typer.Option(help="Argument of the callable, repeatable: depth=28.")]
Mean = Annotated[str | None, typer.Option(help="Normalization of its training: a,b,c; 0.49 or 125.3/255.")]
Std = Annotated[str | None, typer.Option(help="As --mean; one number stands for all channels.")]
Name = Annotated[str, typer.Option(help="Tells variants of your network apart.")]
Out = Annotated[Path, typer.Option(help="Folder of all runs, for your network's results.")]


def settle(
    run: Path | None, model: str | None, data: str | None, checkpoint: str | None, described: Sequence[object]
) -> str | None:
    """The network from elsewhere that is meant, None for a run's; `described`: what is said of such a network.

    With the folder of a run, `model` names the code that the run may execute.

    Raises:
        ValueError: neither a run nor a network, or options of the one with the other.
    """
    if run is not None and (run / "config.json").is_file():
        allow_code_of(run, model)
        model = None
    _check_asked(run, model, data, checkpoint, any(described))
    return model


def _check_asked(
    run: Path | None, model: str | None, data: str | None, checkpoint: str | None, described: bool
) -> None:
    """Raise ValueError unless either a run or a network with its test set is given, and nothing of the other."""
    if (run is None) == (model is None):
        raise ValueError("give either the folder of a run, or --model with --weights and --data; not both, not neither")
    if run is not None and described:
        raise ValueError(
            "--weights, --weights-key, --own-weights, --untrained, --model-arg, --mean, --std and --name are for "
            "--model, not a run"
        )
    if model is not None and checkpoint:
        raise ValueError("--checkpoint chooses among a run's weights: give those of a --model with --weights")
    if model is not None and data is None:
        raise ValueError("--model needs --data, its test set, such as mnist: see `advdpnp list data`")


def external_network(
    model: str,
    weights: Path | None,
    weights_key: str,
    own_weights: bool,
    untrained: bool,
    model_arg: list[str] | None,
    mean: str | None,
    std: str | None,
    name: str,
) -> "ExternalModel":
    """The network that these options name; ValueError where they contradict each other."""
    from advdpnp.external import ExternalModel, parse_arguments

    arguments, normalization = parse_arguments(model_arg or ()), (numbers("--mean", mean), numbers("--std", std))
    if own_weights and untrained:
        raise ValueError("--own-weights and --untrained contradict each other: give one of them")
    as_built: Any = "untrained" if untrained else "own" if own_weights else "refused"
    return ExternalModel(model, weights, weights_key, arguments, *normalization, name, as_built)
