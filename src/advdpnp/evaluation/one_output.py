"""Binary networks with one output: the logit of class 1, which is what attacks and verdicts need two logits for."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from advdpnp.data import Images
from advdpnp.losses import class_logits, is_one_output
from advdpnp.mode import settle

# How many images tell a logit from a probability.
_MANY = 128
_SAID = "the network has one output z: it is evaluated with the logits [0, z], so that it says class 1{} where z > 0"


class TwoLogits(nn.Module):
    """A network with one output z for each image as one with the logits [0, z] of two classes.

    Their softmax is 1 - sigmoid(z) and sigmoid(z).

    Args:
        model: (B, channels, H, W) -> (B,) or (B, 1).
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = settle(model)
        self.train(model.training)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, channels, H, W) -> logits (B, 2)."""
        return class_logits(self.model(x), len(x))


def with_class_logits(model: nn.Module, images: Images, class_names: Sequence[str] = ()) -> tuple[nn.Module, list[str]]:
    """The network, with two logits where it has one output and the images two classes; and what is to be said of it.

    Args:
        model: in eval mode, on the images' device.
        images: the test set; its first images are used.
        class_names: of the data set, in the order of the labels; none if only the labels tell.
    Raises:
        ValueError: one output for more classes than two, or one that is a probability.
    """
    x, y = images.first(_MANY)
    try:
        with torch.no_grad():
            output = model(x.clone())
    except Exception:  # an unknown network may raise anything; `examine` tries it again, and says what is wrong
        return model, []
    if not is_one_output(output, len(x)):
        return model, []
    classes = len(class_names) or int(images.labels.max()) + 1
    if classes > 2:
        raise ValueError(
            f"the model gives one output for each image, which tells two classes apart, but there are {classes}: it "
            f"needs {classes} logits"
        )
    z = output.reshape(-1)
    _check_is_logit(z, y)
    said = [_SAID.format(f" ({class_names[1]})" if len(class_names) == 2 else "")]
    wrong = _wrong(z, y, 0.0)
    if wrong > 0.75 * len(y):
        said.append(
            f"it is wrong on {wrong} of {len(y)} images, more than by chance: if its z is the logit of class 0, return "
            "-z, or give the classes in the order of its training"
        )
    return TwoLogits(model), said


def _wrong(z: Tensor, y: Tensor, limit: float) -> int:
    """For how many images class 1 at outputs above a limit is the wrong answer: (n,), (n,)."""
    return int(((z > limit).long() != y).sum())


def _check_is_logit(z: Tensor, y: Tensor) -> None:
    """Raise ValueError if the output seems to be a probability: within [0, 1], and telling classes apart at 1/2."""
    at_zero, at_half = _wrong(z, y, 0.0), _wrong(z, y, 0.5)
    # Whichever class it is the probability of.
    if bool(((z >= 0) & (z <= 1)).all()) and min(at_half, len(y) - at_half) < min(at_zero, len(y) - at_zero):
        raise ValueError(
            "the model's one output is a probability, not a logit, and a gradient through the sigmoid weakens every "
            "attack: drop the last sigmoid"
        )
