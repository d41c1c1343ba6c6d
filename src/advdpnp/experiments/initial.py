"""What a network of another library, or of one's own code, is and begins with when it is trained further."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from advdpnp.models.libraries import is_library_name, network_by_name
from advdpnp.ranges import Positive, Range, check_fields

# Words in the place of a file.
PRETRAINED, UNTRAINED = "pretrained", "untrained"


@dataclass(frozen=True)
class Initial:
    """The first weights of a network that is not ours, and its normalization.

    Args:
        weights: "pretrained", those that its library has; "untrained", by chance; or the path of a file.
        weights_key: dotted name of the state dict in the file, where there are several.
        sha256: checksum of the file.
        mean, std: the normalization, for pixels in [0, 1]; empty for none.
        arguments: of the callable of one's own code, such as "depth=28".
    """

    weights: str = PRETRAINED
    weights_key: str = ""
    sha256: str = ""
    mean: tuple[Annotated[float, Range("(-inf, inf)")], ...] = ()
    std: tuple[Positive, ...] = ()
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, "initial")
        if len(self.mean) != len(self.std):
            raise ValueError(f"mean and std go together, as many numbers; got {len(self.mean)} and {len(self.std)}")
        if max(self.mean, default=0) > 1:
            raise ValueError(f"mean is for pixels in [0, 1]; got {max(self.mean):g}: divide mean and std by 255")

    @property
    def file(self) -> Path | None:
        """The weights file; None where there is none."""
        return None if self.weights in (PRETRAINED, UNTRAINED) else Path(self.weights)

    @property
    def in_words(self) -> str:
        """The first weights, for people."""
        words = {PRETRAINED: "its library's pretrained weights", UNTRAINED: "weights by chance"}
        return words.get(self.weights) or f"the weights of {Path(self.weights).name}"


def completed(initial: Initial, backbone: str, channels: int) -> Initial:
    """What a user asks for, with the checksum of the file and, unless another is given, the usual normalization.

    Args:
        initial: with a mean of 0 and a std of 1 for no normalization.
        backbone: a name of another library, such as "timm:resnet18", or a callable, such as "net.py:Net".
        channels: of the images.
    Raises:
        ValueError: an unknown name, or a package that is missing. FileNotFoundError: no such file.
    """
    library = network_by_name(backbone) if is_library_name(backbone) else None
    mean, std, weights = initial.mean, initial.std, initial.weights
    if library is not None and initial.arguments:
        raise ValueError(f"--model-arg is for a network of your own code; got {backbone}: leave it out")
    if library is not None and not mean:
        usual = library.preprocessing()
        mean, std = (usual.mean, usual.std) if len(usual.mean) == channels else ((), ())
    if library is None and weights == PRETRAINED:
        # Code has no weights but those that it builds its network with.
        weights = UNTRAINED
    return replace(initial, weights=weights, sha256=_checksum(initial.file), mean=mean, std=std)


def _checksum(file: Path | None) -> str:
    if file is None:
        return ""
    if not file.is_file():
        raise FileNotFoundError(f"no weights file at {file}: give a .safetensors or torch file")
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
