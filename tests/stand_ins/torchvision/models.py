"""The functions of torchvision.models that advdpnp calls, with the names and arguments of torchvision 0.28."""

import sys
from enum import Enum
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

# Address -> state dict.
HUB: dict[str, dict[str, Tensor]] = {}


class Facts:
    """The value of an entry of weights."""

    def __init__(self, url: str, mean: list[float], classes: int) -> None:
        self.url, self.meta = url, {"categories": [str(k) for k in range(classes)]}
        self.transforms = lambda: SimpleNamespace(mean=mean, std=[0.5, 0.5, 0.5], crop_size=[24], resize_size=[32])


class ResNet_Weights(Enum):
    IMAGENET1K_V1 = Facts("v1", [0.1, 0.1, 0.1], 10)
    IMAGENET1K_V2 = Facts("v2", [0.2, 0.2, 0.2], 10)
    DEFAULT = IMAGENET1K_V2

    @property
    def url(self) -> str:
        return self.value.url

    @property
    def meta(self) -> dict[str, Any]:
        return self.value.meta

    @property
    def transforms(self) -> Any:
        return self.value.transforms


class NoWeights(Enum):
    pass


class ResNet(nn.Module):
    """Averages of the channels, and a linear layer called `fc`."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.fc = nn.Linear(3, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


_MODELS = {"resnet": ResNet_Weights, "untaught": NoWeights}


def list_models(module: object = None) -> list[str]:
    return list(_MODELS) if module is sys.modules[__name__] else [*_MODELS, "fcn_resnet"]


def get_model_weights(name: str) -> type[Enum]:
    return _MODELS[name]


def get_model(name: str, weights: Any = None, **arguments: Any) -> nn.Module:
    model = ResNet(**arguments)
    if weights is not None:
        if weights.url not in HUB:
            raise OSError("<urlopen error [Errno -2] Name or service not known>")
        model.load_state_dict(HUB[weights.url])
    assert not torch.is_inference_mode_enabled()
    return model
