"""A network from elsewhere, opened for an evaluation, and the run folder that its results go to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advdpnp import data, runs
from advdpnp.api.environment import environment, resolve_device
from advdpnp.api.stored_evaluation import EvaluationOptions
from advdpnp.api.test_sets import named_or_given
from advdpnp.data import DataSpec, Images
from advdpnp.evaluation import examine
from advdpnp.evaluation.one_output import with_class_logits
from advdpnp.external import ExternalModel
from advdpnp.runs import Json, Run

Tell = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class OpenedNetwork:
    """A network that has loaded.

    Args:
        source: its description, with the normalization that it has been given.
        model: x (B, channels, H, W) in [0, 1] -> logits, in eval mode, on the CPU.
        run: where its results go; the folder need not be there yet.
        config: JSON values that identify it.
        notes: what the user should know of its weights.
    """

    source: ExternalModel
    model: nn.Module
    run: Run
    config: Json
    notes: tuple[str, ...]

    def keep(self, device: torch.device) -> None:
        """Make the run's folder where it is not there, once the network has shown what it can do."""
        if not self.run.create_or_verify(self.config):
            runs.write_json(self.run.folder / "environment.json", environment(device))


def opened(source: ExternalModel, spec: DataSpec, out: Path | str, tell: Tell) -> OpenedNetwork:
    """Load a network with its usual normalization; nothing is written.

    Args:
        source: what the user says of it.
        spec: of the data that it is for.
        out: folder of all runs.
        tell: called with a line on its normalization and on its weights.
    Raises:
        ValueError, FileNotFoundError: it does not load, or its folder is another network's.
    """
    source, said = source.with_usual_normalization(spec)
    for line in filter(None, (source.understood, *said)):
        tell(line)
    model, notes = source.open(spec, tell)
    run, config = Run(source.folder(Path(out), spec)), source.config(spec, model)
    if run.exists:
        run.create_or_verify(config)
    return OpenedNetwork(source, model, run, config, tuple(notes))


@dataclass(frozen=True, eq=False)
class ExaminedNetwork:
    """A network from elsewhere that has been tried on the images of its test set.

    Args:
        model: x (B, channels, H, W) in [0, 1] -> logits (B, C), on the images' device.
        images: the test set.
        spec: facts about it.
        run: where results go; its folder is there.
        facts: what a result says of data and weights.
        remarks: what may make the numbers mean less than they seem to.
    """

    model: nn.Module
    images: Images
    spec: DataSpec
    run: Run
    facts: Json
    remarks: list[str]


def examined(
    source: ExternalModel,
    on_data: Any,
    how: EvaluationOptions,
    out: Path | str,
    device: str | None,
    data_root: Path | None,
    tell: Tell,
) -> ExaminedNetwork:
    """Load a network and its test set, try the one on the other, and make the run's folder.

    Args:
        source: what the user says of the network.
        on_data: the data set, its name, or images in memory.
        how: which images are meant.
        out: folder of all runs.
        device: torch device.
        data_root: folder of the data files.
        tell: called with lines of progress.
    Raises:
        ValueError, FileNotFoundError: what does not load or fit, see `advdpnp.evaluation.examine`. Nothing is written
            then.
    """
    remarks: list[str] = []
    spec, on = named_or_given(on_data, None, remarks), resolve_device(device)
    images = data.load(spec, "test", data_root).to(on)
    how.which(len(images))
    network = opened(source, spec, out, tell)
    model, said = with_class_logits(network.model.to(on), images, spec.class_names)
    found = examine(model, images, spec.num_classes, trained=source.as_built != "untrained")
    network.keep(on)
    facts = {"data": spec.name, "checkpoint": network.source.checkpoint}
    return ExaminedNetwork(model, images, spec, network.run, facts, [*remarks, *network.notes, *said, *found])
