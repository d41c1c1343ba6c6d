"""torchvision:NAME, classifiers of torchvision; torchvision:NAME/WEIGHTS names one entry of its weights."""

from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from advdpnp.models.libraries.base import (
    Arguments,
    ImageShape,
    LibraryNetwork,
    Preprocessing,
    called,
    imported,
)
from advdpnp.ranges import nearest


class TorchvisionNetwork(LibraryNetwork):
    """A classifier of torchvision, for images of three channels."""

    package: ClassVar[str] = "torchvision"
    form: ClassVar[str] = "torchvision:NAME[/WEIGHTS]"

    def _models(self) -> tuple[Any, str, str]:
        """torchvision.models, the network's name, and that of its weights."""
        name, _, weights = self.name.partition("/")
        models = imported("torchvision.models", self.reference)
        known = models.list_models(module=models)
        if name not in known:
            raise ValueError(f"torchvision has no classifier {name!r}; nearest: {nearest(name, known)}")
        return models, name, weights or "DEFAULT"

    def _weights(self) -> Any:
        """The entry of the enumeration of weights."""
        models, name, wanted = self._models()
        entries = models.get_model_weights(name).__members__
        if not entries:
            raise ValueError(
                f"torchvision has no pretrained weights of {name}: give some as --weights FILE, or --untrained"
            )
        if wanted not in entries:
            raise ValueError(f"torchvision has no weights {wanted!r} of {name}; nearest: {nearest(wanted, entries)}")
        return entries[wanted]

    def preprocessing(self) -> Preprocessing:
        models, name, wanted = self._models()
        if wanted == "DEFAULT" and not models.get_model_weights(name).__members__:
            return Preprocessing()
        transforms = self._weights().transforms()
        return Preprocessing(tuple(transforms.mean), tuple(transforms.std), transforms.crop_size[0])

    def untrained(self, image_shape: ImageShape, num_classes: int, arguments: Arguments) -> nn.Module:
        self._models()
        self._check(image_shape)
        fields = {"weights": None, "num_classes": num_classes, **arguments}
        return called(self._created, self.reference, fields)

    def pretrained_classes(self) -> int:
        return len(self._weights().meta["categories"])

    def _pretrained(self, image_shape: ImageShape, arguments: Arguments, store: Path) -> nn.Module:
        self._check(image_shape)
        return self._created(weights=self._weights(), **arguments)

    def _created(self, **arguments: Any) -> nn.Module:
        models, name, _ = self._models()
        network: nn.Module = models.get_model(name, **arguments)
        return network

    def _check(self, image_shape: ImageShape) -> None:
        if image_shape[0] != 3:
            raise ValueError(
                f"{self.reference} takes images of 3 channels; got {image_shape[0]}: timm's networks take any number"
            )
