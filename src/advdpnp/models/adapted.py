"""Any classifier as a backbone: its last linear layer is taken off, and its normalization is put inside."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from advdpnp.models.classifier import Backbone

# Fields of modules, of several libraries, that hold the probability with which they drop something.
_DROPPING = ("p", "drop_prob", "drop_rate", "droprate", "dropRate", "stochastic_depth_prob")


class Adapted(Backbone):
    """A classifier without its last linear layer: images (B, channels, H, W) in [0, 1] -> what that layer reads (B, D).

    Args:
        network: images that are normalized -> (B, D).
        features: D.
        mean, std: the normalization, for pixels in [0, 1]: one number, or one for each channel; empty for none.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, features: int, mean: Sequence[float] = (), std: Sequence[float] = ()
    ) -> None:
        super().__init__()
        self.network = network
        self.features = features
        # Facts of the configuration and no part of the weights.
        for name, values in (("mean", mean or (0.0,)), ("std", std or (1.0,))):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        embedding = self.network((x - self.mean) / self.std)
        if not isinstance(embedding, Tensor):
            raise ValueError(
                f"the network gives a {type(embedding).__name__}, not a tensor, in training mode: "
                "let its forward return the logits alone"
            )
        return embedding


def adapt(
    network: nn.Module,
    image_shape: tuple[int, int, int],
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    name: str = "the network",
) -> tuple[Adapted, nn.Linear]:
    """A classifier as a backbone, and the layer that gave its logits.

    Args:
        network: a classifier; it is changed in place: its last linear layer becomes an identity, dropout and stochastic
            depth are switched off, since what they draw is no function of a run's seed, and so are the auxiliary
            classifiers of GoogLeNet and Inception.
        image_shape: (channels, H, W) of the images.
        mean, std: as in `Adapted`.
        name: what the network is called in messages.
    Raises:
        ValueError: it does not take such images, its logits are not those of a linear layer, or numbers of mean and
            std that do not fit.
    """
    if len(mean) != len(std) or len(mean) not in (0, 1, image_shape[0]):
        raise ValueError(
            f"mean and std must be one number, or {image_shape[0]}, one for each channel; got {len(mean)}, {len(std)}"
        )
    path = answer_layer(network, image_shape, name)
    answer = cast(nn.Linear, network.get_submodule(path))
    network.set_submodule(path, nn.Identity())
    stop_dropping(network)
    _drop_auxiliary_classifiers(network)
    return Adapted(network, answer.in_features, mean, std), answer


def answer_layer(network: nn.Module, image_shape: tuple[int, int, int], name: str = "the network") -> str:
    """The path of the linear layer whose output is the network's logits.

    Args:
        network: in any mode, which it keeps; its forward runs once, in eval mode.
        image_shape: (channels, H, W).
        name: what it is called in messages.
    Raises:
        ValueError: as `Adapted`.
    """
    outputs: dict[str, Tensor] = {}
    layers = {path: module for path, module in network.named_modules() if path and isinstance(module, nn.Linear)}

    def note(path: str) -> object:
        return layers[path].register_forward_hook(lambda _, __, output: outputs.__setitem__(path, output))

    hooks = [note(path) for path in layers]
    training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(1, *image_shape))
    except Exception as error:  # of code that is not ours
        first = str(error).strip().splitlines()[:1]
        raise ValueError(
            f"{name} does not take images of {'x'.join(map(str, image_shape))} "
            f"({type(error).__name__}: {''.join(first)[:200]}): give another --image-size, or another network"
        ) from error
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()  # type: ignore[attr-defined]
    found = [path for path, output in outputs.items() if output is logits and output.dim() == 2]
    if not found:
        raise ValueError(
            f"{name} has no linear layer that gives its logits, and a method needs the features before it: "
            "take a network that ends in one, as most do"
        )
    return found[-1]


def stop_dropping(network: nn.Module) -> bool:
    """Set the probability of everything that drops at random in training mode to 0; whether one was above."""
    dropped = False
    for module in network.modules():
        # Of dropout, "p" is the probability; of other modules it may be anything.
        kind = type(module).__name__.lower()
        names = [name for name in _DROPPING if name != "p" or "drop" in kind or "stochastic" in kind]
        for name in names:
            if isinstance(vars(module).get(name), float) and vars(module)[name] > 0:
                setattr(module, name, 0.0)
                dropped = True
    return dropped


def _drop_auxiliary_classifiers(network: nn.Module) -> None:
    """Of torchvision's GoogLeNet and Inception, which answer with three tensors in training mode."""
    if isinstance(getattr(network, "aux_logits", None), bool):
        vars(network)["aux_logits"] = False
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(network, name):
                setattr(network, name, None)
