"""A network from its reference: a callable, another library's name for it, or a .pt2 file of torch.export."""

import contextlib
import inspect
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advdpnp.importing import described, find_object, kind_of
from advdpnp.mode import settle
from advdpnp.models import allow_code
from advdpnp.models.libraries import LIBRARY_FORMS, is_library_name, network_by_name

Scalar = int | float | bool | str

# Of a program of torch.export, such as `advdpnp export` writes: a whole network in one file.
SUFFIX = ".pt2"
_EXPORT_AGAIN = "export it again with torch.export.save, with the torch version that is installed here"

_FORMS = f"pkg.module:callable, path/to/file.py:callable, {LIBRARY_FORMS} or a {SUFFIX} file of torch.export"

# Files that are no code, and what to do with them.
_NO_CODE = {
    ".onnx": "an ONNX graph gives no gradients to attack with: evaluate the run or exported folder that it is from, or "
    "a .pt2 file of it",
    ".safetensors": "weights need the code of their network: give them as --weights with --model, or evaluate the run "
    "or exported folder that they are from",
}
_NO_CODE |= dict.fromkeys((".pt", ".pth", ".ckpt", ".bin"), _NO_CODE[".safetensors"])


def parse_arguments(texts: Sequence[str]) -> dict[str, Scalar]:
    """Arguments of a callable from texts such as "depth=28", "width=0.5", "bias=false", "act=relu".

    Raises:
        ValueError: no "=", no name, or one name twice.
    """
    arguments: dict[str, Scalar] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise ValueError(f"--model-arg takes name=value, as in depth=28; got {text!r}")
        if name.strip() in arguments:
            raise ValueError(f"--model-arg {name.strip()} is given twice: give it once")
        arguments[name.strip()] = _scalar(value.strip())
    return arguments


def _scalar(text: str) -> Scalar:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def model_name(reference: str) -> str:
    """What the network is called, after its callable or file: "pkg.nets:WideResNet" -> "WideResNet"."""
    return Path(reference).stem if is_program_file(reference) else _split(reference)[1]


def is_program_file(reference: str) -> bool:
    """Whether a reference is that of a program of torch.export, which needs no callable."""
    return Path(reference).suffix == SUFFIX


def build(
    reference: str, arguments: Mapping[str, Scalar], num_classes: int, image_shape: tuple[int, int, int]
) -> nn.Module:
    """The network of a callable; the current folder can be imported from.

    Args:
        reference: "pkg.module:callable" or "path/to/file.py:callable", a class, factory or finished module;
            a name of another library, such as "timm:resnet18", built for the data set and without pretrained weights;
            or "path/to/file.pt2", a program of torch.export.
        arguments: of the callable.
        num_classes: classes of the data set.
        image_shape: (channels, H, W) of the data set.
    Raises:
        ValueError: no such module or name, a callable that fails, or one that returns no nn.Module.
    """
    if is_program_file(reference):
        _check_finished(reference, arguments)
        return read_program(Path(reference))
    if is_library_name(reference):
        return network_by_name(reference).untrained(image_shape, num_classes, arguments)
    _split(reference)
    found = find_object(reference, "--model", _FORMS)
    if isinstance(found, nn.Module):
        _check_finished(reference, arguments)
        return found
    if not callable(found):
        raise ValueError(f"{reference} must be a class or function that returns an nn.Module; got {kind_of(found)}")
    return _called(found, reference, arguments)


def allow(reference: str, stored: str = "") -> None:
    """Let configurations name the network of a callable, which is code, as long as this process lives.

    Args:
        reference: "pkg.module:callable" or "path/to/file.py:callable", of code that you trust.
        stored: what a configuration calls it, where it was written in another folder; by default as `reference`.
    Raises:
        ValueError: no such form.
    """
    _split(reference)
    allow_code(stored or reference, lambda given: build(reference, parse_arguments(given), 0, (0, 0, 0)))


def read_program(path: Path) -> nn.Module:
    """The network in a .pt2 file.

    Args:
        path: written by torch.export.save. Like a callable, it is code: run only what you trust.
    Returns:
        A module in the mode in which it was exported; its `train` and `eval` do nothing.
    Raises:
        FileNotFoundError: no such file. ValueError: damaged, or no program.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}: --model takes a {SUFFIX} file of torch.export")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged, or no program of torch.export: {_EXPORT_AGAIN}")
    try:
        with _quietly():
            module: nn.Module = torch.export.load(path).module()
    except Exception as error:  # a damaged file, or one of another version, can fail in any way
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path} is damaged, or of another torch version ({said}): {_EXPORT_AGAIN}") from None
    return settle(module)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the traceback that torch logs of an error before it raises it."""
    logger = logging.getLogger("torch.export")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _check_finished(reference: str, arguments: Mapping[str, Scalar]) -> None:
    if arguments:
        raise ValueError(f"{reference} is a finished module: it takes no --model-arg; got {', '.join(arguments)}")


def _split(reference: str) -> tuple[str, str]:
    home, colon, name = reference.rpartition(":")
    if not colon or not home or not name:
        if not colon and Path(reference).suffix in _NO_CODE:
            raise ValueError(f"--model {reference}: {_NO_CODE[Path(reference).suffix]}")
        if not colon and Path(reference).is_dir():
            raise ValueError(
                f"--model {reference} is a folder: if it is a run, or an export, evaluate it without --model"
            )
        raise ValueError(f"--model must be {_FORMS}; got {reference!r}")
    return home, name


def _called(factory: Callable[..., Any], reference: str, arguments: Mapping[str, Scalar]) -> nn.Module:
    try:
        model = factory(**arguments)
    except Exception as error:
        raise ValueError(
            f"{reference}{_signature(factory)} cannot be built with "
            f"{', '.join(f'{name}={value!r}' for name, value in arguments.items()) or 'no arguments'} "
            f"({described(error)}): give its arguments as --model-arg name=value"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{reference} must return an nn.Module; got {kind_of(model)}")
    return model


def _signature(factory: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(factory))
    except (TypeError, ValueError):
        return ""
