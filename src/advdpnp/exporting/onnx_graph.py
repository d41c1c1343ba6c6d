"""The classifier as an ONNX graph, which onnxruntime and other engines run."""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator

import torch
from torch.export import ExportedProgram

from advdpnp.exporting.agreement import Answers

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
OPSET = 18


def check_packages() -> None:
    """Raise ValueError if a package is missing that writing or checking ONNX needs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(
            f"--format onnx needs the packages {', '.join(PACKAGES)}; missing: {', '.join(missing)}. "
            'Install them with pip install "advdpnp[onnx]"'
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter logs that torchvision is absent, and warns of what is outdated in torch itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)


def onnx_bytes(program: ExportedProgram) -> bytes:
    """Content of a .onnx file: input `images`, output `logits`, any batch size; the same program gives the same bytes.

    Args:
        program: as from `make_program`.
    Raises:
        ValueError: a package is missing.
    """
    check_packages()
    import onnx

    with _quietly():
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: "batch"},),
            opset_version=OPSET,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def onnx_answers(content: bytes) -> Answers:
    """The classifier in a .onnx file's content, run by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(["logits"], {"images": x.numpy()})[0])
