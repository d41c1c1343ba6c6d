"""The formats by name: each turns a classifier into files, and checks them before they are written."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import load, save
from torch.nn import functional

from advdpnp.exporting.agreement import Agreement, ReferenceLogits, agreement
from advdpnp.exporting.exported_model import ExportedModel
from advdpnp.exporting.onnx_graph import OPSET, check_packages, onnx_answers, onnx_bytes
from advdpnp.exporting.paper_reference import model_info_json
from advdpnp.exporting.program import make_program, program_answers, program_bytes
from advdpnp.exporting.robustbench import architecture, as_linear, robustbench_weights
from advdpnp.ranges import nearest
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


def _safetensors(exported: ExportedModel, reference_logits: ReferenceLogits) -> list[Artifact]:
    # The checkpoint's own file: epoch and configuration are in its metadata.
    about = "weights, with epoch and configuration in the metadata; `advdpnp.load` reads this folder"
    return [Artifact(EXPORTED_WEIGHTS, exported.weights, about, "the bytes of the run's checkpoint")]


def _torch_export(exported: ExportedModel, reference_logits: ReferenceLogits) -> list[Artifact]:
    content = program_bytes(make_program(exported.model, exported.experiment.data.image_shape))
    checked = agreement(program_answers(content), reference_logits, "model.pt2").text()
    return [Artifact("model.pt2", content, f"torch.export program, torch {torch.__version__}", checked)]


def _onnx(exported: ExportedModel, reference_logits: ReferenceLogits) -> list[Artifact]:
    content = onnx_bytes(make_program(exported.model, exported.experiment.data.image_shape))
    checked = "onnx.checker; in onnxruntime " + agreement(onnx_answers(content), reference_logits, "model.onnx").text()
    return [Artifact("model.onnx", content, f"ONNX graph, opset {OPSET}; input `images`, output `logits`", checked)]


def _head_agreement(exported: ExportedModel, reference_logits: ReferenceLogits) -> Agreement:
    """The exported linear layer on the classifier's own embeddings."""
    weight, bias = as_linear(exported.model.head)
    few = ReferenceLogits(reference_logits.x[:128], reference_logits.logits[:128], reference_logits.what)
    return agreement(lambda x: functional.linear(exported.model.embed(x), weight, bias), few, "robustbench.pt")


def _robustbench(exported: ExportedModel, reference_logits: ReferenceLogits) -> list[Artifact]:
    data = exported.experiment.data
    network = architecture(exported.experiment.backbone, data.image_shape, data.num_classes)
    weights = {name: tensor.contiguous() for name, tensor in robustbench_weights(exported.model).items()}
    buffer = io.BytesIO()
    torch.save({"state_dict": weights}, buffer)
    tensors = save(weights, {"format": "pt"})
    assert load(tensors).keys() == weights.keys()
    head = _head_agreement(exported, reference_logits)
    checked = (
        f"last layer on the embeddings of {head.images} {head.what}: logits within {head.largest:.2g}; "
        "RobustBench's own code was not run"
    )
    reference = json.dumps(model_info_json(exported, network), indent=2, ensure_ascii=False) + "\n"
    about = f"weights in the layer names of RobustBench's {network.label}"
    return [
        Artifact("robustbench.pt", buffer.getvalue(), f'{about}: {{"state_dict": ...}}', checked),
        Artifact("robustbench.safetensors", tensors, about, "the tensors of robustbench.pt"),
        Artifact("robustbench.json", reference.encode(), "RobustBench's record of a model, for a linf leaderboard"),
    ]


FORMATS: dict[str, Callable[[ExportedModel, ReferenceLogits], list[Artifact]]] = {
    "safetensors": _safetensors,
    "torch-export": _torch_export,
    "onnx": _onnx,
    "robustbench": _robustbench,
}


def check_available(name: str, exported: ExportedModel) -> None:
    """Raises:
    Unavailable: the format `name` cannot hold this classifier, or needs a package that is missing.
    """
    data = exported.experiment.data
    try:
        if name == "onnx":
            check_packages()
        if name == "robustbench":
            architecture(exported.experiment.backbone, data.image_shape, data.num_classes)
            robustbench_weights(exported.model)
    except ValueError as error:
        raise Unavailable(str(error)) from None


def chosen(names: Sequence[str], exported: ExportedModel) -> tuple[list[str], dict[str, str]]:
    """The formats to write, and, where "all" was asked for, those left out with the reason.

    Args:
        names: keys of `FORMATS`, or "all".
        exported: what is exported.
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
        check_available(name, exported)
    left_out: dict[str, str] = {}
    for name in FORMATS if "all" in names else ():
        try:
            check_available(name, exported)
        except Unavailable as error:
            left_out[name] = str(error).removeprefix(f"--format {name}").lstrip(": ").strip()
    return [name for name in FORMATS if name in wanted or ("all" in names and name not in left_out)], left_out
