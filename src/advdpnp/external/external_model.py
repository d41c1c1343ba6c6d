"""A network that advdpnp did not train: its code, weights and normalization, made ready for an evaluation."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
from torch import Tensor, nn

from advdpnp.data import DataSpec, data_root
from advdpnp.external.builder import Scalar, build, is_program_file, model_name
from advdpnp.external.checkpoint_file import read_checkpoint
from advdpnp.external.heads import stored_classes
from advdpnp.external.normalization import check_pair, unit_scale
from advdpnp.external.weights import load_weights
from advdpnp.folder_names import check_name, folder_name, folders
from advdpnp.mode import holds_program, settle
from advdpnp.models.adapted import answer_layer
from advdpnp.models.copying import converted
from advdpnp.models.libraries import LibraryNetwork, is_library_name, network_by_name
from advdpnp.ranges import Positive, Range, check_fields

SCHEMA = 1


@dataclass(frozen=True)
class ExternalModel:
    """A network that advdpnp did not train.

    Args:
        model: its callable, another library's name for it, or a .pt2 file of torch.export, see
            `advdpnp.external.build`.
        weights: a weights file; None takes the weights of the .pt2 file, the pretrained ones of the library, or what
            `as_built` says.
        weights_key: where the weights are in the file, if several fit: see `advdpnp.external.load_weights`.
        arguments: of the callable.
        mean, std: the normalization that it was trained with, for pixels in [0, 1], or for bytes where numbers are
            above 1, which are divided by 255 then; one number stands for all channels; empty for none.
        tag: part of the folder's name, for variants of one network; "" for none.
        as_built: what the weights of a callable are that gets no file: "own", it loads them itself, or "untrained", it
            has random ones, which are drawn with seed 0; "refused" asks for a file. To a library's network "untrained"
            is said where its pretrained weights are not meant.
    Raises:
        ValueError: mean without std, weights for a .pt2 file, or a tag that is no folder name.
    """

    model: str
    weights: Path | None = None
    weights_key: str = ""
    arguments: Mapping[str, Scalar] = field(default_factory=dict)
    mean: tuple[Annotated[float, Range("(-inf, inf)")], ...] = ()
    std: tuple[Positive, ...] = ()
    tag: str = ""
    as_built: Literal["refused", "own", "untrained"] = "refused"
    understood: str = field(default="", init=False, compare=False)

    def __post_init__(self) -> None:
        model_name(self.model)
        check_fields(self)
        check_pair(self.mean, self.std, ("--mean", "--std"))
        mean, std, understood = unit_scale(self.mean, self.std)
        for name, value in (("mean", mean), ("std", std), ("understood", understood)):
            object.__setattr__(self, name, value)
        if self.tag:
            check_name("--name", self.tag)
        if self.weights_key and self.weights is None:
            raise ValueError("--weights-key chooses from a weights file: give --weights too")
        said = self.as_built != "refused"
        if self._program is not None and (self.weights is not None or said):
            raise ValueError(f"{self._program} holds its weights: leave --weights, --own-weights and --untrained out")
        if self.weights is not None and said:
            raise ValueError("--own-weights and --untrained are for a network without --weights: leave them out")

    @property
    def _program(self) -> Path | None:
        return Path(self.model) if is_program_file(self.model) else None

    def _library(self, data: DataSpec) -> LibraryNetwork | None:
        return network_by_name(self.model, data.name) if is_library_name(self.model) else None

    def with_usual_normalization(self, data: DataSpec) -> tuple["ExternalModel", list[str]]:
        """This network with the normalization that its library says it was trained with, unless one is given.

        Returns:
            The network, and lines for the user: on the normalization, where one was found, and on the network.
        Raises:
            ValueError: the library is missing, or has no such network.
        """
        library = self._library(data)
        if library is None:
            return self, []
        usual, remarks = library.preprocessing(), [library.remark] if library.remark else []
        if self.mean or self.std or len(usual.mean) != data.image_shape[0]:
            return self, remarks
        numbers = [",".join(f"{value:.4g}" for value in values) for values in (usual.mean, usual.std)]
        said = (
            f"{self.model} was trained on images normalized with --mean {numbers[0]} --std {numbers[1]}, which it gets "
            "(--mean 0 --std 1 for none)"
        )
        return replace(self, mean=usual.mean, std=usual.std), [said, *remarks]

    @property
    def name(self) -> str:
        """Name of the network: that of its callable or file."""
        return folder_name(model_name(self.model), limit=200) or "network"

    @property
    def checkpoint(self) -> str:
        """Name of its weights in results: that of the file."""
        file = self.weights or self._program
        own = "pretrained" if is_library_name(self.model) else "as built"
        return file.name if file else ("untrained" if self.as_built == "untrained" else own)

    def folder(self, out: Path, data: DataSpec) -> Path:
        """runs/<data>/<name>/foreign[+tag]/seed-0."""
        return out / folders(data.name) / self.name / ("foreign" + (f"+{self.tag}" if self.tag else "")) / "seed-0"

    def open(self, data: DataSpec, tell: Callable[[str], None] = lambda _: None) -> tuple[nn.Module, list[str]]:
        """The network in eval mode and float32 on the CPU, and what the user should know of its weights.

        Args:
            data: facts about the data set, which say what timm builds.
            tell: called with a line on what was taken of the weights file.
        Raises:
            ValueError, FileNotFoundError: as `build`, `read_checkpoint` and `load_weights`; or no weights are given,
                and nothing says what the network has instead.
        """
        content = read_checkpoint(self.weights) if self.weights else None
        library = self._library(data)
        ready = self._loaded_by(library, content, data) if library else None
        model, notes = self._built(library, data) if ready is None else ready, list[str]()
        if self.weights and ready is None:
            if library:
                self._check_stored_classes(content, model, data)
            loaded = load_weights(model, content, self.weights_key, str(self.weights))
            tell(loaded.text(self.weights.name))
            notes += loaded.cautions
        elif self.as_built == "untrained":
            notes.append("the network is untrained (--untrained): what is measured is what random weights do")
        model, said = single_precision(settle(model).eval(), torch.full((1, *data.image_shape), 0.5))
        if self.mean:
            channels = data.image_shape[0]
            if len(self.mean) not in (1, channels):
                raise ValueError(
                    f"--mean and --std must be one number or {channels}, one for each channel of {data.name}; "
                    f"got {len(self.mean)}"
                )
            model = Normalized(model, self.mean, self.std)
        return model, [*notes, *said]

    def _loaded_by(self, library: LibraryNetwork, content: Any, data: DataSpec) -> nn.Module | None:
        """The network with the weights that the library loads; None where it is built first, as code's is."""
        if self.weights:
            return library.with_file(content, data.image_shape)
        if self.as_built == "untrained":
            return None
        self._check_classes(library.pretrained_classes(), data, "the pretrained weights")
        return library.pretrained(data.image_shape, self.arguments, data_root())

    def _check_stored_classes(self, content: Any, model: nn.Module, data: DataSpec) -> None:
        try:
            layer = answer_layer(model, data.image_shape)
        except ValueError:
            # Not every network ends in a linear layer; then loading says what does not fit.
            return
        self._check_classes(stored_classes(content, layer, model), data, str(self.weights))

    def _check_classes(self, stored: int | None, data: DataSpec, source: str) -> None:
        wanted = self.arguments.get("num_classes", data.num_classes)
        if stored not in (None, wanted):
            raise ValueError(
                f"{source} for {self.model} know {stored} classes, but {data.name} has {wanted}: give the data set "
                f"that they were trained for, or train them further with advdpnp train --data ... --model {self.model}"
            )

    def _built(self, library: LibraryNetwork | None, data: DataSpec) -> nn.Module:
        with torch.random.fork_rng(devices=[], enabled=self.as_built == "untrained"):
            if self.as_built == "untrained":
                # The same network when the evaluation is resumed or repeated.
                torch.manual_seed(0)
            if library is not None:
                return library.untrained(data.image_shape, data.num_classes, self.arguments)
            model = build(self.model, self.arguments, data.num_classes, data.image_shape)
        given = self.weights is not None or self._program is not None
        if not given and self.as_built == "refused" and next(model.parameters(), None) is not None:
            raise ValueError(
                f"{self.model} is given no weights, so it may be random: give --weights FILE, or --own-weights if it "
                "loads them itself, or --untrained to attack it with random weights"
            )
        return model

    def config(self, data: DataSpec, model: nn.Module) -> dict[str, Any]:
        """JSON values that identify this network.

        Args:
            data: facts about the data set.
            model: the opened network, whose tensors stand for its weights where there is no file.
        """
        file = self.weights or self._program
        return {
            "schema": SCHEMA,
            "data": data.name,
            **({"images": data.fingerprint} if data.fingerprint else {}),
            "backbone": self.name,
            "foreign": {
                "model": self.model,
                "arguments": dict(self.arguments),
                "weights": self.weights.name if self.weights else None,
                "weights_key": self.weights_key,
                "sha256": _file_sum(file) if file else tensors_sum(model.state_dict()),
                "mean": list(self.mean),
                "std": list(self.std),
            },
            "seed": 0,
            "tag": self.tag,
        }


class Normalized(nn.Module):
    """A network that expects normalized images, as one that takes pixels: model((x - mean) / std).

    Args:
        model: the network.
        mean: one number, or one for each channel, for pixels in [0, 1]; numbers above 1 are taken for those of bytes,
            with a warning.
        std: as mean, above 0.
    Raises:
        ValueError: numbers of different count, of bytes beside ones of [0, 1], or a std that is not above 0.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        check_pair(mean, std)
        if not mean:
            raise ValueError("mean and std must be one number or one for each channel; got none")
        if not all(value > 0 for value in std):
            raise ValueError(f"std must be above 0; got {', '.join(f'{value:g}' for value in std)}")
        mean, std, understood = unit_scale(mean, std)
        if understood:
            warnings.warn(understood, stacklevel=2)
        self.model = settle(model)
        # Tensors of the network's own device and no part of its weights.
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(-1, 1, 1), persistent=False)
        self.train(model.training)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) in [0, 1] -> the network's output for the normalized images."""
        if len(self.mean) not in (1, x.shape[1]):
            raise ValueError(
                f"mean and std must have a number for each of the {x.shape[1]} channels, or one for all; "
                f"got {len(self.mean)}"
            )
        return cast(Tensor, self.model((x - self.mean) / self.std))


def single_precision(model: nn.Module, x: Tensor) -> tuple[nn.Module, list[str]]:
    """A network that takes float32 images, and a message on what was converted; float32 networks are left as they are.

    A network of another precision that casts its images itself is left as it is where a float32 copy of it does not
    run: its forward names the precision.

    Args:
        model: (B, channels, H, W) -> logits, in eval mode.
        x: (B, channels, H, W) float32 in [0, 1], images to try it on; one is enough.
    Raises:
        ValueError: a program of torch.export that takes no float32 images.
    """
    kinds = sorted({str(p.dtype) for p in model.parameters() if p.is_floating_point() and p.dtype != torch.float32})
    if not kinds:
        return model, []
    x = x.to(next(model.parameters()).device)
    if holds_program(model):
        if _answers(model, x):
            return model, []
        # Its graph holds the dtypes, so a float32 copy of its weights would not run.
        raise ValueError(f"a program of torch.export computes in {', '.join(kinds)} only: export it in float32")
    # The caller's own network keeps its precision.
    single = converted(model, "float")
    if not _answers(single, x) and _answers(model, x):
        return model, []
    return single, [f"the network is in {', '.join(kinds)}: a float32 copy is evaluated"]


def _answers(model: nn.Module, x: Tensor) -> bool:
    try:
        with torch.no_grad():
            model(x.clone())
    except torch.OutOfMemoryError:
        raise
    except Exception:  # of an unknown network
        return False
    return True


def _file_sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors."""
    total = hashlib.sha256()
    for name, tensor in tensors.items():
        total.update(name.encode())
        total.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
