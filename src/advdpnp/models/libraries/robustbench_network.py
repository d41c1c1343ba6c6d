"""robustbench:NAME/THREAT, entries of RobustBench's model zoo; robustbench:DATA/NAME/THREAT says for which data."""

import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from advdpnp.models.libraries.base import (
    Arguments,
    ImageShape,
    LibraryNetwork,
    Preprocessing,
    called,
    imported,
    message_of,
)
from advdpnp.ranges import nearest

_CLASSES = {"cifar10": 10, "cifar100": 100, "imagenet": 1000}
_THREATS = ("Linf", "L2", "corruptions", "corruptions_3d")


class RobustbenchNetwork(LibraryNetwork):
    """An entry of RobustBench's model zoo: it takes images in [0, 1], and normalizes them itself."""

    package: ClassVar[str] = "robustbench"
    form: ClassVar[str] = "robustbench:NAME/THREAT"

    def __init__(self, reference: str, name: str, data: str = "") -> None:
        super().__init__(reference, name, data)
        parts = name.split("/")
        if len(parts) == 3:
            self.data, *parts = parts
        if len(parts) != 2 or parts[1] not in _THREATS:
            raise ValueError(
                f"a network of RobustBench is {self.form}, THREAT one of {', '.join(_THREATS)}, as in "
                f"robustbench:Engstrom2019Robustness/Linf; got {reference}"
            )
        self.entry, self.threat = parts
        # Other images of the same classes, such as cifar10-c.
        self.data = next((known for known in _CLASSES if self.data == known or self._is_variant(known)), self.data)

    def _is_variant(self, known: str) -> bool:
        return self.data.startswith((f"{known}-", f"{known}."))

    @property
    def complete(self) -> str:
        return f"robustbench:{self.data}/{self.entry}/{self.threat}"

    @property
    def remark(self) -> str:
        other = {"L2": "perturbations in l2: --norm l2", "corruptions": "common corruptions, not attacks"}
        meant = other.get(self.threat.removesuffix("_3d"))
        return f"{self.reference} is meant for {meant}" if meant else ""

    def _zoo(self) -> dict[str, Any]:
        """RobustBench's entries for the data set and the threat model."""
        if self.data not in _CLASSES:
            raise ValueError(
                f"RobustBench has networks for {', '.join(_CLASSES)}; got {self.data}: say which is meant, as in "
                f"robustbench:cifar10/{self.entry}/{self.threat}"
            )
        zoo = imported("robustbench.model_zoo", self.reference)
        kinds = imported("robustbench.model_zoo.enums", self.reference)
        entries = zoo.model_dicts[kinds.BenchmarkDataset(self.data)].get(kinds.ThreatModel(self.threat), {})
        if self.entry not in entries:
            raise ValueError(
                f"RobustBench has no model {self.entry!r} for {self.data} and {self.threat}; "
                f"nearest: {nearest(self.entry, entries)}"
            )
        return dict(entries[self.entry])

    def preprocessing(self) -> Preprocessing:
        self._zoo()
        return Preprocessing()

    def untrained(self, image_shape: ImageShape, num_classes: int, arguments: Arguments) -> nn.Module:
        return called(self._zoo()["model"], self.reference, arguments)

    def pretrained_classes(self) -> int:
        self._zoo()
        return _CLASSES[self.data]

    def _pretrained(self, image_shape: ImageShape, arguments: Arguments, store: Path) -> nn.Module:
        return self._loaded(store / "robustbench")

    def _loaded(self, folder: Path) -> nn.Module:
        load = imported("robustbench.utils", self.reference).load_model
        network: nn.Module = load(self.entry, model_dir=folder, dataset=self.data, threat_model=self.threat)
        return network

    def with_file(self, content: Any, image_shape: ImageShape) -> nn.Module:
        """RobustBench's own reader, which knows the names of each entry's tensors, on what a file holds."""
        identity = self._zoo().get("gdrive_id")
        if not (identity and isinstance(identity, str)):
            raise ValueError(f"{self.reference} has no single file of weights: leave --weights out")
        with tempfile.TemporaryDirectory() as folder:
            # Where RobustBench keeps what it has downloaded.
            place = Path(folder, self.data, self.threat.removesuffix("_3d"), f"{self.entry}.pt")
            place.parent.mkdir(parents=True)
            torch.save(content, place)
            try:
                return self._loaded(Path(folder))
            except Exception as error:  # RobustBench checks nothing itself
                raise ValueError(
                    f"the weights do not fit {self.reference} ({message_of(error)}): give the file that RobustBench "
                    "has for it"
                ) from error
