"""Exports a run to files that other programs load."""

from collections.abc import Sequence
from pathlib import Path

import torch

from advdpnp.api.environment import environment
from advdpnp.api.loading import load_checkpoint, stored_experiment
from advdpnp.api.run_images import images_of
from advdpnp.deprecation import renamed
from advdpnp.dtype import float32_default
from advdpnp.exporting import (
    ExportedModel,
    PaperReference,
    ReferenceLogits,
    check_folder,
    chosen,
    reference_logits,
    write_export,
)
from advdpnp.lock import only_process
from advdpnp.report.read import read_whole_run
from advdpnp.runs import LOCK, Json, Run

# Random images for the check, where the test images are missing.
_RANDOM = 256


@renamed(claim="reference")
@float32_default()
def export(
    folder: Path | str,
    out: Path | str,
    formats: Sequence[str] = ("safetensors",),
    *,
    checkpoint: str = "last",
    license: str = "MIT",
    reference: PaperReference | None = None,
    force: bool = False,
    images: int = 1000,
    data_root: Path | None = None,
) -> Json:
    """Write a run's classifier with a model card into a folder that `load` reads; returns the content of export.json.

    Args:
        folder: the run's folder.
        out: the folder to write; formats that an earlier export of the same model left in it stay.
        formats: of "safetensors", "torch-export", "onnx" and "robustbench"; "all" stands for those that can be had,
            and the answer's `left_out` says why others cannot.
        checkpoint: "last" or "best".
        license: of the weights.
        reference: the paper, as RobustBench asks for it.
        force: replace an export of another model.
        images: test images on which every file must answer as the classifier does, at least 1.
        data_root: folder of the data files; without them the check is on random images, and the card says so.
    Raises:
        FileNotFoundError: no run there. ValueError: a format that cannot be had, a folder with other content, or a
            file that would not answer as the classifier does.
    """
    if images < 1:
        raise ValueError(f"--images must be at least 1; got {images}")
    run, on = Run(Path(folder)), torch.device("cpu")
    model, epoch = load_checkpoint(run, checkpoint, on)
    checkpoint = run.stored_checkpoint(checkpoint)
    exported = ExportedModel(
        model=model,
        experiment=stored_experiment(run),
        stored=read_whole_run(run.folder),
        weights=run.stored_weights_path(checkpoint).read_bytes(),
        checkpoint=checkpoint,
        epoch=epoch,
        license=license,
        reference=reference or PaperReference(),
    )
    names, left_out = chosen(formats, exported)
    check_folder(Path(out), exported, force)
    logits = _reference(run, exported, images, data_root)
    with only_process(Path(out) / LOCK, str(out)):
        written = write_export(exported, logits, Path(out), names, environment(on), force)
    return {"out": str(out), **written, "left_out": left_out}


def _reference(run: Run, exported: ExportedModel, images: int, data_root: Path | None) -> ReferenceLogits:
    spec = exported.experiment.data
    try:
        test = images_of(run, spec, "test", data_root).present()
    except (FileNotFoundError, ValueError):
        x = torch.rand(_RANDOM, *spec.image_shape, generator=torch.Generator().manual_seed(0))
        return reference_logits(exported.model, x, "random images (the test images were not at hand)")
    x, _ = test.first(images)
    return reference_logits(exported.model, x, f"test images of {spec.name}")
