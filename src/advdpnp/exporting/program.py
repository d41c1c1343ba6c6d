"""The classifier as a torch.export program: plain torch loads and runs it, without this package."""

import io

import torch
from torch.export import Dim, ExportedProgram

from advdpnp.exporting.agreement import Answers
from advdpnp.models.classifier import Classifier

# What torch notes of the source: paths of this machine, which belong in no exported file.
_SOURCE_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack")


def make_program(model: Classifier, image_shape: tuple[int, int, int]) -> ExportedProgram:
    """Images in [0, 1] to logits, for any batch size.

    Args:
        model: in eval mode, on the CPU.
        image_shape: (channels, H, W).
    """
    # Two images: torch takes a size of one for a constant.
    program = torch.export.export(model, (torch.zeros(2, *image_shape),), dynamic_shapes=({0: Dim("batch")},))
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            for note in _SOURCE_NOTES:
                node.meta.pop(note, None)
    return program


def program_bytes(program: ExportedProgram) -> bytes:
    """Content of a .pt2 file."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def program_answers(content: bytes) -> Answers:
    """The classifier in a .pt2 file's content."""
    module: Answers = torch.export.load(io.BytesIO(content)).module()
    return module
