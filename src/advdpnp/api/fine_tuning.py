"""Gives a network that is trained further its first weights."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from advdpnp import data
from advdpnp.experiments import Experiment
from advdpnp.experiments.initial import PRETRAINED
from advdpnp.external import load_weights, read_checkpoint
from advdpnp.external.heads import stored_classes
from advdpnp.models import build_network
from advdpnp.models.adapted import Adapted, adapt, answer_layer
from advdpnp.models.classifier import Classifier, device_of
from advdpnp.models.copying import copied
from advdpnp.models.heads import LinearHead
from advdpnp.models.libraries import is_library_name, network_by_name


def load_initial(
    model: Classifier, wanted: Experiment, data_root: Path | None, tell: Callable[[str], None] = lambda text: None
) -> None:
    """Load the weights that an experiment begins with, in place; a network that begins by chance stays as it is.

    Args:
        model: what `wanted.build()` gave, on any device.
        wanted: the experiment.
        data_root: folder of the data files, and of weights that a library has no cache for.
        tell: called with lines on what is loaded, and what becomes of its last layer.
    Raises:
        ValueError: weights that cannot be had or do not fit, or a file that has changed. FileNotFoundError: no file.
    """
    initial = wanted.initial
    if initial is None:
        return
    with torch.no_grad():
        # What fails in training mode alone is said before anything is stored.
        copied(model.backbone).train()(torch.zeros(2, *wanted.data.image_shape, device=device_of(model)))
    if initial.mean:
        numbers = (",".join(f"{value:g}" for value in values) for values in (initial.mean, initial.std))
        tell("images are normalized in the network with mean {} and std {}".format(*numbers))
    if initial.weights == PRETRAINED or initial.file:
        network, said = _trained(wanted, data_root)
        for text in said:
            tell(text)
        backbone, answer = adapt(network, wanted.data.image_shape, initial.mean, initial.std, wanted.backbone)
        target = next(module for module in model.backbone.modules() if isinstance(module, Adapted))
        # A defense may have put in what the network has not, such as a PReLU in the place of a ReLU.
        target.load_state_dict({**target.state_dict(), **backbone.state_dict()})
        kept = _keep_answer(model, answer)
        tell(
            f"{wanted.backbone} begins with {initial.in_words}; all layers are trained, and its last one, for "
            f"{answer.out_features} classes, is {'kept' if kept else f'replaced: {_head(model)}'}"
        )
        tell(f"fine-tuning: recipe.lr={wanted.recipe.lr:g}, recipe.epochs={wanted.recipe.epochs}")


def _trained(wanted: Experiment, data_root: Path | None) -> tuple[nn.Module, list[str]]:
    """The whole network with the weights that it begins with, and what the user should know of them."""
    shape, initial = wanted.data.image_shape, wanted.initial
    assert initial is not None
    library = network_by_name(wanted.backbone) if is_library_name(wanted.backbone) else None
    if initial.file is None:
        assert library is not None
        return library.pretrained(shape, {}, data.data_root(data_root)), []
    content = read_checkpoint(initial.file)
    if hashlib.sha256(initial.file.read_bytes()).hexdigest() != initial.sha256:
        raise ValueError(f"{initial.file} has changed since this training was described: put the former file back")
    network = library.with_file(content, shape) if library else None
    if network is not None:
        return network, []
    network = build_network(wanted.backbone, shape, initial.arguments)
    rows = stored_classes(content, answer_layer(network, shape, wanted.backbone), network)
    if rows is not None:
        network = build_network(wanted.backbone, shape, initial.arguments, rows)
    loaded = load_weights(network, content, initial.weights_key, str(initial.file))
    return network, [loaded.text(initial.file.name), *loaded.cautions]


@torch.no_grad()
def _keep_answer(model: Classifier, answer: nn.Linear) -> bool:
    """Copy the last layer into the head, where that is such a layer too, of as many classes; whether it was."""
    head = model.head
    if not isinstance(head, LinearHead) or head.linear.weight.shape != answer.weight.shape:
        return False
    head.linear.weight.copy_(answer.weight)
    head.linear.bias.copy_(torch.zeros_like(head.linear.bias) if answer.bias is None else answer.bias)
    return True


def _head(model: Classifier) -> str:
    centers = model.class_centers()
    return f"a new {type(model.head).__name__} for {len(centers)} classes on {centers.shape[1]} features"
