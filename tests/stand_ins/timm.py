"""A stand-in for timm: the functions that advdpnp calls, with the names, arguments and errors of timm 1.0."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

# What the hub would give: name with tag -> state dict. Without an entry the network cannot be reached.
HUB: dict[str, dict[str, Tensor]] = {}


@dataclass(frozen=True)
class PretrainedCfg:
    mean: tuple[float, ...] = (0.5, 0.25, 0.125)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    input_size: tuple[int, int, int] = (3, 24, 24)
    num_classes: int = 7
    fixed_input_size: bool = False
    hf_hub_id: str | None = "timm/small"

    @property
    def has_weights(self) -> str | None:
        return self.hf_hub_id


GRAY = {"mean": (0.3,), "std": (0.4,), "input_size": (1, 8, 8), "num_classes": 10}
_CFGS = {
    "small.first": PretrainedCfg(),
    "small.second": PretrainedCfg(mean=(0.0, 0.0, 0.0)),
    "gray.only": PretrainedCfg(**GRAY),
    "sized.only": PretrainedCfg(fixed_input_size=True),
    "unlucky.none": PretrainedCfg(hf_hub_id=None),
    "convolved.only": PretrainedCfg(),
}


class Small(nn.Module):
    """A convolution, dropout, and a linear layer called `fc`, for images of any size."""

    def __init__(self, num_classes: int = 7, in_chans: int = 3, width: int = 6, drop_rate: float = 0.5) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, width, 3, padding=1)
        self.drop = nn.Dropout(drop_rate)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.drop(torch.relu(self.conv(x)).mean((2, 3))))


class Sized(Small):
    """For images of one size alone."""

    def __init__(self, num_classes: int = 7, in_chans: int = 3, img_size: int = 24) -> None:
        super().__init__(num_classes, in_chans)
        self.img_size = img_size

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[2] == self.img_size, f"Input height ({x.shape[2]}) doesn't match model ({self.img_size})."
        return super().forward(x)


class Convolved(nn.Module):
    """Its last layer is a convolution."""

    def __init__(self, num_classes: int = 7, in_chans: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, num_classes, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


_MODELS = {"small": Small, "gray": Small, "sized": Sized, "unlucky": Small, "convolved": Convolved}


def list_models() -> list[str]:
    return list(_MODELS)


def list_pretrained(filter: str) -> list[str]:
    return [name for name in _CFGS if name.startswith(filter.rstrip("*"))]


def is_model(name: str) -> bool:
    return name.partition(".")[0] in _MODELS


def get_pretrained_cfg(name: str) -> PretrainedCfg:
    found = [tagged for tagged in _CFGS if tagged == name or tagged.partition(".")[0] == name]
    if not found:
        raise RuntimeError(f"Invalid pretrained tag for {name}.")
    return _CFGS[found[0]]


def create_model(name: str, pretrained: bool = False, **arguments: object) -> nn.Module:
    model: nn.Module = _MODELS[name.partition(".")[0]](**arguments)  # type: ignore[arg-type]
    if pretrained:
        if name not in HUB:
            raise OSError("cannot reach the hub\nof anyone")
        model.load_state_dict(HUB[name])
    return model
