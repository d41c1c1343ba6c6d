"""Standard AutoAttack, here and elsewhere, on the first images of test sets.

Three networks: resnet8 and the digits' network of the tests, adversarially trained, and a small network of two
convolutions that the package knows nothing of, trained here on MNIST. CIFAR-10 and MNIST lie under $ADVDPNP_DATA.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp import data
from advdpnp.attacks import PGD, suite
from advdpnp.attacks.autoattack import AutoAttack
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.metrics import unpack
from advdpnp.models.classifier import Classifier
from advdpnp.noise import IndexNoise
from advdpnp.runs import Json
from attacks import robust
from peers.attacks import named
from peers.side import Group, Side, Work

ATTACKS = tuple(search.name for search in AutoAttack(eps=0.1).attacks_to_run)
# The official code's default.
_BATCH = 250
_CNN_STEPS, _CNN_BATCH = 300, 128


class Clock(Silent):
    """Processor time of each attack: of ours from one search to the next, of others from call to return."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(ATTACKS, 0.0)
        self._running, self._since = "", 0.0

    def switch(self, name: str) -> None:
        """What ran has ended; `name` runs now, or nothing."""
        now = time.process_time()
        if self._running:
            self.seconds[self._running] += now - self._since
        self._running, self._since = name, now

    def on_search(self, name: str, images: int, steps: int) -> None:
        self.switch(name.split()[-1])

    def around(self, name: str, attack: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*images: Any, **options: Any) -> Any:
            self.switch(name)
            found = attack(*images, **options)
            self.switch("")
            return found

        return timed


def search_groups(networks: tuple[str, ...], images: int, repeats: int, precisions: tuple[str, ...]) -> list[Group]:
    """A group for each network whose data are there."""
    return [_group(name, images, repeats, precisions) for name in networks]


def _group(name: str, count: int, repeats: int, precisions: tuple[str, ...]) -> Group:
    model, images, eps = SUBJECTS[name]()
    images, parts = images.select(torch.arange(count)), dict[str, dict[str, float]]()
    # Of a network that it has not built, the package searches in fp32 alone.
    ours = precisions if isinstance(model, Classifier) else ("fp32",)
    sides = (
        Side("pyautoattack", "fp32", lambda: _official(model, images, eps, parts)),
        Side("torchattacks, 100 steps", "fp32", lambda: _torchattacks(model, images, eps)),
        *(Side(named("ours", p), p, lambda p=p: _ours(model, images, eps, p, parts)) for p in ours),
    )
    title = f"AutoAttack (standard), {name}, {count} images"
    return Group(f"{name}/autoattack", title, count, repeats, sides, model, parts=parts)


def _ours(model: nn.Module, images: Images, eps: float, precision: Any, parts: Json) -> Callable[[int], Work]:
    def ready(number: int) -> Work:
        wanted = Evaluation(
            suite=suite("autoattack", eps), n=len(images), facts={}, search_precision=precision, seed=number
        )

        def work() -> Tensor:
            clock = Clock()
            found = evaluate(model, images, wanted, clock)["attacks"][0]["verdicts"]
            clock.switch("")
            parts[named("ours", precision)] = clock.seconds
            return unpack(found, len(images))

        return work

    return _unwarmed(ready)


def _official(model: nn.Module, images: Images, eps: float, parts: Json) -> Callable[[int], Work]:
    from pyautoattack import AutoAttack as Official

    x, y = images.batch(torch.arange(len(images)))

    def ready(number: int) -> Work:
        whole, clock = Official(model, eps=eps, norm="Linf", seed=number, version="standard"), Clock()
        for name, part in zip(ATTACKS, (whole.apgd, whole.apgd_targeted, whole.fab, whole.square), strict=True):
            part.perturb = clock.around(name, part.perturb)

        def work() -> Tensor:
            x_adv, _ = whole.run_standard_evaluation(x, y, batch_size=_BATCH)
            parts["pyautoattack"] = clock.seconds
            return _withstood(model, x_adv, y)

        return work

    return _unwarmed(ready)


def _torchattacks(model: nn.Module, images: Images, eps: float) -> Callable[[int], Work]:
    """With the budgets of standard AutoAttack: by itself it has ten steps instead of 100, and other squares."""
    import torchattacks

    x, y = images.batch(torch.arange(len(images)))
    classes = int(images.labels.max()) + 1

    def ready(number: int) -> Work:
        attack = torchattacks.AutoAttack(model, norm="Linf", eps=eps, n_classes=classes, seed=number)
        for part, ours in zip(attack._autoattack.attacks, AutoAttack(eps=eps).attacks_to_run, strict=True):
            if hasattr(part, "steps"):
                part.steps = ours.steps
            # Squares shrink with the number of queries; the published schedule is that of 10,000, whatever it is.
            part.rescale_schedule = False
        return lambda: _withstood(model, attack(x, y), y)

    return _unwarmed(ready)


def _unwarmed(ready: Callable[[int], Work]) -> Callable[[int], Work]:
    """A search runs for minutes, of which a first call's extra is nothing: its warm-up is one forward."""
    return lambda number: ready(number) if number else lambda: torch.zeros(0, dtype=torch.bool)


@torch.no_grad()
def _withstood(model: nn.Module, x_adv: Tensor, y: Tensor) -> Tensor:
    return model(x_adv).argmax(dim=1) == y


def _resnet8() -> tuple[nn.Module, Images, float]:
    return robust.network("cifar10/resnet8/at", "resnet8-at-cifar10"), data.load("cifar10", "test"), 8 / 255


def _digits() -> tuple[nn.Module, Images, float]:
    return robust.network("digits/tiny/at", "tiny-at-digits"), data.load("digits", "test"), 0.1


def _cnn() -> tuple[nn.Module, Images, float]:
    """Two strided convolutions of 4x4 and two linear layers, adversarially trained for a few seconds."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(32 * 7 * 7, 100), nn.ReLU(), nn.Linear(100, 10)),
    )
    train, eps = data.load("mnist", "train"), 0.3
    attack = PGD(eps=eps, step_size=0.1, steps=5)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for step in range(_CNN_STEPS):
        index = torch.arange(step * _CNN_BATCH, (step + 1) * _CNN_BATCH)
        x, y = train.batch(index)
        x_adv = attack(model.eval(), x, y, noise=IndexNoise(0, index))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x_adv), y).backward()
        optimizer.step()
    return model.eval(), data.load("mnist", "test"), eps


SUBJECTS: dict[str, Callable[[], tuple[nn.Module, Images, float]]] = {
    "digits": _digits,
    "cnn": _cnn,
    "resnet8": _resnet8,
}
_DATA = {"digits": "digits", "cnn": "mnist", "resnet8": "cifar10"}


def check_data(networks: Iterable[str]) -> None:
    """FileNotFoundError or ValueError where a network's images are not there."""
    for name in networks:
        data.load(_DATA[name], "test")
