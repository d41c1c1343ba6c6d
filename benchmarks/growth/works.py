"""The pieces of work whose cost is measured."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from advdpnp.attacks import FGSM, PGD, Suite
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.variants import started
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.experiments import experiment
from advdpnp.models.classifier import Backbone, Classifier
from advdpnp.models.folding import fold_batchnorm
from advdpnp.models.resnet import ResNet
from advdpnp.models.small import Tiny
from advdpnp.noise import IndexNoise
from advdpnp.predicting import Predictor, centers_of
from advdpnp.threat import ThreatModel
from advdpnp.training import Task
from advdpnp.training.step import Training, make_batch
from growth.axes import Setting

EPS = 8 / 255


def prepared(setting: Setting) -> tuple[Callable[[], object], int]:
    """What is measured, and how many images it goes over."""
    images = _images(setting)
    if setting.work in ("training step", "epoch"):
        return _training(setting, images), len(images)
    model = _task(setting, images).model.eval()
    makers = {"attack": _attack, "evaluation": _evaluation, "predictions": _predictions}
    return makers[setting.work](setting, model, images), len(images)


def head_work(setting: Setting) -> Callable[[], object]:
    """Of a training step what depends on the classes: head, losses and rivals of both branches, and the attack's head.

    The backbone is replaced by embeddings that are there already.
    """
    images = _images(setting)
    task = _task(setting, images)
    width = task.model.backbone.features
    model = task.defense.build(_Embeddings(width), setting.classes)
    x = torch.rand(len(images), width, generator=torch.Generator().manual_seed(0))
    batch = replace(make_batch(task, torch.arange(len(images)), 0, 0), x=x)

    def work() -> None:
        for _ in range(setting.steps):
            given = x.clone().requires_grad_()
            torch.autograd.grad(cross_entropy(model(given), (batch.y,), ()).sum(), [given])
        x_adv = x.clone().requires_grad_()
        torch.stack(list(task.defense.loss(model, batch, x_adv).values())).sum().backward()

    return work


class _Embeddings(Backbone):
    """A backbone whose images are embeddings."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = self.map_channels = features

    def forward(self, x: Tensor) -> Tensor:
        return x


def _images(setting: Setting) -> Images:
    """Bytes of noise, and every class in turn."""
    count = setting.images or setting.batch * (2 if setting.work == "evaluation" else 1)
    channels = 3 if setting.width else 1
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(
        0, 256, (count, channels, setting.side, setting.side), dtype=torch.uint8, generator=generator
    )
    return Images(pixels, torch.arange(count) % setting.classes)


def _backbone(setting: Setting) -> Backbone:
    if not setting.width:
        return Tiny((setting.side, setting.side), channels=1)
    return ResNet((1, 1, 1), (setting.width, 2 * setting.width, 4 * setting.width))


def _task(setting: Setting, images: Images) -> Task:
    """Adv-DPNP as in the paper; the learning rate is small, since the images are noise."""
    settings = [f"recipe.batch_size={setting.batch}", f"recipe.attack.steps={setting.steps}", "recipe.lr=0.001"]
    wanted = experiment("cifar10/resnet8/adv-dpnp", "paper", settings=settings)
    torch.manual_seed(0)
    model = wanted.defense.build(_backbone(setting), setting.classes)
    return Task(model, wanted.defense, wanted.recipe, images, None, 0)


def _training(setting: Setting, images: Images) -> Callable[[], object]:
    """An epoch of all images, which is one step where there is one batch."""
    training: Training = started(_task(setting, images))

    def work() -> None:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        for step in range(training.task.steps_per_epoch):
            training.step = step
            training.advance(order)

    return work


def _attack(setting: Setting, model: Classifier, images: Images) -> Callable[[], object]:
    network, budget = fold_batchnorm(model), Budget(ThreatModel("linf", EPS), setting.steps, EPS / 4, "uniform")
    index = torch.arange(len(images))
    x, y = images.batch(index)
    x = x.contiguous(memory_format=torch.channels_last)
    return lambda: ascend(network, cross_entropy, x, (y,), budget=budget, noise=IndexNoise(0, index), stream="attack")


def _evaluation(setting: Setting, model: Classifier, images: Images) -> Callable[[], object]:
    """Clean images and one attack, whose features are measured too: PGD, or FGSM where the data set grows."""
    attack = PGD(eps=EPS, steps=setting.steps, step_size=EPS / 4) if setting.width else FGSM(eps=EPS)
    suite = Suite("growth", "clean images and one attack", (attack,), features=0)
    wanted = Evaluation(suite=suite, n=len(images), facts={}, chunk=setting.batch)
    return lambda: evaluate(model, images, wanted, Silent())


def _predictions(setting: Setting, model: nn.Module, images: Images) -> Callable[[], object]:
    """Predictions one after the other, none of which is kept."""
    names = tuple(map(str, range(setting.classes)))
    predictor = Predictor(model, names, centers_of(model), None, 5, 0)
    files = [str(number) for number in range(len(images))]

    def work() -> int:
        predictions: Iterator[object] = predictor(files, images)
        return sum(1 for _ in predictions)

    return work
