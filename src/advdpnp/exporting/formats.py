"""The formats by name: each turns a classifier into files, and checks them before they are written."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch.nn import functional

from advdpnp.experiments.config import nearest
from advdpnp.exporting.agreement import Agreement, Probe, agreement
from advdpnp.exporting.claim import claim_json
from advdpnp.exporting.onnx_graph import OPSET, check_packages, onnx_answers, onnx_bytes
from advdpnp.exporting.program import make_program, program_answers, program_bytes
from advdpnp.exporting.robustbench import architecture, as_linear, robustbench_weights
from advdpnp.exporting.subject import Subject
from advdpnp.runs import EXPORTED_WEIGHTS


@dataclass(frozen=True)
class Artifact:
    """One exported file.

    Args:
        name: path inside the exported folder.
        content: the file.
        about: what it is, in a few words.
        checked: what was verified, in one line; "" for nothing.
    """

    name: str
    content: bytes
    about: str
    checked: str = ""


class Unavailable(ValueError):
    """This classifier, or this environment, has no such format."""


def _safetensors(subject: Subject, probe: Probe) -> list[Artifact]:
    # The checkpoint's own file: epoch and configuration are in its metadata.
    about = "weights, with epoch and configuration in the metadata; `advdpnp.load` reads this folder"
    return [Artifact(EXPORTED_WEIGHTS, subject.weights, about, "the bytes of the run's checkpoint")]


def _torch_export(subject: Subject, probe: Probe) -> list[Artifact]:
    content = program_bytes(make_program(subject.model, subject.experiment.data.image_shape))
    checked = agreement(program_answers(content), probe, "model.pt2").text()
    return [Artifact("model.pt2", content, f"torch.export program, torch {torch.__version__}", checked)]


def _onnx(subject: Subject, probe: Probe) -> list[Artifact]:
    content = onnx_bytes(make_program(subject.model, subject.experiment.data.image_shape))
    checked = "onnx.checker; in onnxruntime " + agreement(onnx_answers(content), probe, "model.onnx").text()
    return [Artifact("model.onnx", content, f"ONNX graph, opset {OPSET}; input `images`, output `logits`", checked)]


def _head_agreement(subject: Subject, probe: Probe) -> Agreement:
    """The exported linear layer on the classifier's own embeddings."""
    weight, bias = as_linear(subject.model.head)
    few = Probe(probe.x[:128], probe.logits[:128], probe.what)
    return agreement(lambda x: functional.linear(subject.model.embed(x), weight, bias), few, "robustbench.pt")


def _robustbench(subject: Subject, probe: Probe) -> list[Artifact]:
    data = subject.experiment.data
    network = architecture(subject.experiment.backbone, data.image_shape, data.num_classes)
    weights = {name: tensor.contiguous() for name, tensor in robustbench_weights(subject.model).items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": weights}, buffer)
    tensors = save(weights, {"format": "pt"})
    assert load(tensors).keys() == weights.keys()
    head = _head_agreement(subject, probe)
    checked = (
        f"last layer on the embeddings of {head.images} {head.what}: logits within {head.largest:.2g}; "
        "RobustBench's own code was not run"
    )
    claim = json.dumps(claim_json(subject, network), indent=2, ensure_ascii=False) + "\n"
    about = f"weights in the layer names of RobustBench's {network.label}"
    return [
        Artifact("robustbench.pt", buffer.getvalue(), f'{about}: {{"state_dict": ...}}', checked),
        Artifact("robustbench.safetensors", tensors, about, "the tensors of robustbench.pt"),
        Artifact("robustbench.json", claim.encode(), "RobustBench's record of a model, for a linf leaderboard"),
    ]


FORMATS: dict[str, Callable[[Subject, Probe], list[Artifact]]] = {
    "safetensors": _safetensors,
    "torch-export": _torch_export,
    "onnx": _onnx,
    "robustbench": _robustbench,
}


def check_available(name: str, subject: Subject) -> None:
    """Raises:
    Unavailable: the format `name` cannot hold this classifier, or needs a package that is missing.
    """
    data = subject.experiment.data
    try:
        if name == "onnx":
            check_packages()
        if name == "robustbench":
            architecture(subject.experiment.backbone, data.image_shape, data.num_classes)
            robustbench_weights(subject.model)
    except ValueError as error:
        raise Unavailable(str(error)) from None


def chosen(names: Sequence[str], subject: Subject) -> tuple[list[str], dict[str, str]]:
    """The formats to write, and, where "all" was asked for, those left out with the reason.

    Args:
        names: keys of `FORMATS`, or "all".
        subject: what is exported.
    Raises:
        ValueError: no name, or an unknown one. Unavailable: a format was asked for by name that cannot be had.
    """
    for name in names:
        if name not in (*FORMATS, "all"):
            raise ValueError(f"unknown format {name!r}; expected all or one of {', '.join(FORMATS)}. "
                             f"Did you mean {nearest(name, FORMATS, 1)}?")  # fmt: skip
    if not names:
        raise ValueError(f"an export needs at least one format: all, or some of {', '.join(FORMATS)}")
    wanted = [name for name in FORMATS if name in names]
    for name in wanted:
        check_available(name, subject)
    left_out: dict[str, str] = {}
    for name in FORMATS if "all" in names else ():
        try:
            check_available(name, subject)
        except Unavailable as error:
            left_out[name] = str(error).removeprefix(f"--format {name}").lstrip(": ").strip()
    return [name for name in FORMATS if name in wanted or ("all" in names and name not in left_out)], left_out
