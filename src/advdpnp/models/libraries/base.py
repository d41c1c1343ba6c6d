"""What networks of other libraries have in common: how they are built, and how their images were prepared."""

import contextlib
import importlib
import sys
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

ImageShape = tuple[int, int, int]
Arguments = Mapping[str, int | float | bool | str]

# Packages that pip knows by another name than Python does.
_DISTRIBUTIONS = {"autoattack": "git+https://github.com/fra31/auto-attack", "pkg_resources": "'setuptools<81'"}


@dataclass(frozen=True)
class Preprocessing:
    """What the images of a network's training were.

    Args:
        mean, std: their normalization, for pixels in [0, 1]; empty where the network normalizes by itself.
        image_size: their side in pixels; None for any.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    image_size: int | None = None


class LibraryNetwork(ABC):
    """A network that another library knows by name. Nothing is imported before a method is called.

    Args:
        reference: as the user gave it, such as "timm:resnet18", for messages.
        name: the part after the colon.
        data: name of the data set, where the library has networks of several.
    """

    package: ClassVar[str]
    form: ClassVar[str]

    def __init__(self, reference: str, name: str, data: str = "") -> None:
        self.reference, self.name, self.data = reference, name, data

    @property
    def complete(self) -> str:
        """The reference with all that decides the network, as it is stored."""
        return self.reference

    @property
    def remark(self) -> str:
        """What to know before its robustness is measured; "" for nothing."""
        return ""

    @abstractmethod
    def preprocessing(self) -> Preprocessing:
        """How the images of its pretrained weights were prepared.

        Raises:
            ValueError: the package is missing, or has no such network.
        """

    @abstractmethod
    def untrained(self, image_shape: ImageShape, num_classes: int, arguments: Arguments) -> nn.Module:
        """The network with weights by chance.

        Args:
            image_shape: (channels, H, W).
            num_classes: of the data set; `arguments` may say otherwise.
            arguments: of the library's function that builds it.
        Raises:
            ValueError: the package is missing, or has no such network, or cannot build it.
        """

    @abstractmethod
    def pretrained_classes(self) -> int:
        """Classes of its pretrained weights; Raises as `preprocessing`, and where there are none."""

    @abstractmethod
    def _pretrained(self, image_shape: ImageShape, arguments: Arguments, store: Path) -> nn.Module:
        """The network with the library's weights."""

    def pretrained(self, image_shape: ImageShape, arguments: Arguments, store: Path) -> nn.Module:
        """The network with the library's weights, which come from the library's cache, or from the network.

        Args:
            image_shape, arguments: as in `untrained`.
            store: where weights are kept that the library has no cache for.
        Raises:
            ValueError: as `untrained`, or the weights cannot be had.
        """
        self.pretrained_classes()
        try:
            with _quietly():
                return self._pretrained(image_shape, arguments, store)
        except Exception as error:  # of any library that it downloads with
            raise ValueError(
                f"the pretrained weights of {self.reference} cannot be had ({message_of(error)}): connect to the "
                "network once, give a file of them as --weights FILE, or --untrained for weights by chance"
            ) from error

    def with_file(self, content: Any, image_shape: ImageShape) -> nn.Module | None:
        """The network with the weights in what a file holds, where the library loads them; None where torch does."""
        return None


def imported(package: str, reference: str) -> Any:
    """A package that a reference needs.

    Raises:
        ValueError: it, or what it needs, is not installed, or it cannot be imported.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(package)
    except ModuleNotFoundError as error:
        missing = (error.name or package).partition(".")[0]
        raise ValueError(
            f"{reference} needs the {missing} package: pip install {_DISTRIBUTIONS.get(missing, missing)}"
        ) from error
    except Exception as error:  # such as a torchvision of another torch version
        cure = (
            "install a torchvision and a torch of one kind"
            if "torchvision::" in str(error)
            else "mend its installation"
        )
        raise ValueError(f"{package} cannot be imported ({message_of(error)}): {cure}") from error


def called(build: Callable[..., Any], reference: str, arguments: Mapping[str, Any]) -> nn.Module:
    """What the library's function builds; ValueError with its message where it fails."""
    try:
        model = build(**arguments)
    except Exception as error:
        given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        raise ValueError(
            f"{reference} cannot be built with {given or 'no arguments'} ({message_of(error)}): "
            "give its arguments as --model-arg name=value"
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(f"{reference} must be an nn.Module; got {type(model).__name__}")
    return model


def message_of(error: BaseException) -> str:
    """Kind and beginning of an error, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else repr(error)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """With what libraries print on standard output sent to standard error, where a command's answer is not."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
