"""Defenses from outside the package: installed entry points, and classes that a user names. Each is tried first."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import torch
from torch import Tensor

from advdpnp.attacks.projected_ascent import Budget, ascend
from advdpnp.defenses import DEFENSES, Batch, Defense
from advdpnp.experiments.ablations import ABLATIONS
from advdpnp.importing import described, find_object, installed_defenses, kind_of
from advdpnp.models.classifier import Classifier
from advdpnp.models.small import Tiny
from advdpnp.noise import IndexNoise
from advdpnp.ranges import nearest
from advdpnp.threat import ThreatModel

FORMS = "pkg.module:Class or path/to/file.py:Class"
_OTHERWISE = f"a defense from elsewhere needs its package installed, or --plugin {FORMS}"

_READ: list[str] = []

# Of the trial.
_IMAGES, _CLASSES, _SIDE = 4, 10, 8


def find_defense(name: str) -> type[Defense[Any]]:
    """A defense of the package, or one that an installed package declares as an entry point of "advdpnp.defenses".

    A stored configuration has the name alone: it can choose among what its reader has installed, and no more.

    Raises:
        ValueError: unknown name, or an installed one that is not fit.
    """
    if name in DEFENSES:
        return DEFENSES[name]
    points = installed_defenses()
    if name not in points:
        near = nearest(name, [*DEFENSES, *ABLATIONS, *points])
        raise ValueError(f"unknown defense {name!r}; nearest: {near}; {_OTHERWISE}")
    found = register_defense(_loaded(points[name]))
    if found.name != name:
        raise ValueError(
            f"the entry point {name!r} is {points[name].value}, which is called {found.name!r}: use one name"
        )
    return found


def _loaded(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # any code may run, and fail, on import
        raise ValueError(
            f"the installed defense {point.name!r} ({point.value}) cannot be imported ({described(error)}): mend it or "
            "uninstall its package"
        ) from error


def read_plugin(reference: str) -> type[Defense[Any]]:
    """Import the class that --plugin names, and register it.

    Args:
        reference: "pkg.module:Class" or "path/to/file.py:Class". It is code: name only what you trust.
    Raises:
        ValueError: no such class, or one that is not fit; FileNotFoundError: no such file.
    """
    found = register_defense(find_object(reference, "--plugin", FORMS))
    if reference not in _READ:
        _READ.append(reference)
    return found


def read_references() -> list[str]:
    """What `read_plugin` was given in this process, for other processes that it starts."""
    return list(_READ)


def register_defense(found: object) -> type[Defense[Any]]:
    """Make a class known by its name, after a trial on a tiny network; the same class may be registered again.

    Args:
        found: a frozen dataclass that extends `advdpnp.defenses.Defense`.
    Raises:
        ValueError: what it lacks, returns or raises, and what to do.
    """
    where = _checked_class(found)
    assert isinstance(found, type) and issubclass(found, Defense)
    known = DEFENSES.get(found.name)
    if known is None:
        _try(found, where)
        DEFENSES[found.name] = found
    elif (known.__module__, known.__qualname__) != (found.__module__, found.__qualname__):
        raise ValueError(f"{where} is called {found.name!r}, as {known.__module__}:{known.__qualname__} is: rename it")
    return DEFENSES[found.name]


def _checked_class(found: object) -> str:
    """Where the class is from; ValueError if it is none that could be a defense."""
    if not (isinstance(found, type) and issubclass(found, Defense)):
        kind = found.__qualname__ if isinstance(found, type) else kind_of(found)
        raise ValueError(f"a defense must be a class that extends advdpnp.defenses.Defense; got {kind}")
    where, name = f"{found.__module__}:{found.__qualname__}", getattr(found, "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise ValueError(f'{where} needs a name of small letters, digits and ._-: name: ClassVar[str] = "mine"')
    if name in ABLATIONS:
        raise ValueError(f"{where} is called {name!r}, as an experiment is (advdpnp list experiments): rename it")
    if "__dataclass_params__" not in vars(found) or not vars(found)["__dataclass_params__"].frozen:
        raise ValueError(f"{where} must be a frozen dataclass: write @dataclass(frozen=True) above it")
    if found.loss is Defense.loss:
        raise ValueError(f"{where} has no loss: define loss(self, model, batch, x_adv) -> dict[str, Tensor]")
    return where


def _try(defense: type[Defense[Any]], where: str) -> None:
    """One step on four images, whose random numbers and warnings are nobody's."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        with _step(where, "made with no arguments", "give every field a default"):
            made = defense()
        with _step(where, "build"):
            model = made.build(Tiny((_SIDE, _SIDE)), _CLASSES)
        if not isinstance(model, Classifier):
            raise ValueError(f"{where}.build must return an advdpnp.models.classifier.Classifier; got {kind_of(model)}")
        _try_step(made, model, where)


def _try_step(made: Defense[Any], model: Classifier, where: str) -> None:
    index = torch.arange(_IMAGES)
    batch = Batch(torch.rand(_IMAGES, 3, _SIDE, _SIDE), index % _CLASSES, index, seed=0, epoch=0, step=0)
    with _step(where, "install"):
        changes = made.helper_changes()
        if made.needs is not None and changes is not None:
            helper = find_defense(made.needs)(**changes.get("defense", {})).build(Tiny((_SIDE, _SIDE)), _CLASSES)
            made.install(model, helper.state_dict())
    with _step(where, "between_epochs"):
        made.between_epochs(model, 0)
    with _step(where, "the network that build made"):
        _check_tensor(f"logits of the network that {where}.build makes", model(batch.x), (_IMAGES, _CLASSES))
    x_adv = batch.x
    if made.crafts:
        budget = Budget(ThreatModel("linf", 8 / 255), 2, 2 / 255, made.start)
        with _step(where, "perturb"):
            x_adv = made.perturb(model, batch, partial(ascend, budget=budget, noise=IndexNoise(0, index)))
        _check_tensor(f"{where}.perturb", x_adv, tuple(batch.x.shape))
    with _step(where, "loss"):
        terms: object = made.loss(model, batch, x_adv)
    if not isinstance(terms, dict) or not terms:
        raise ValueError(f"{where}.loss must return a dict of named scalar tensors; got {kind_of(terms)}")
    for name, term in terms.items():
        _check_tensor(f"{where}.loss, term {name!r}", term, ())
    with _step(where, "objective"):
        objective = made.objective(model, batch.x, x_adv, batch.y)
    _check_tensor(f"{where}.objective", objective, (_IMAGES,))


@contextmanager
def _step(where: str, part: str, cure: str = "mend it; docs/adding-a-defense.md has the contract") -> Iterator[None]:
    try:
        yield
    except Exception as error:  # anyone's code can fail in any way
        raise ValueError(f"{where}: {part} raised {described(error)}: {cure}") from error


def _check_tensor(what: str, value: object, shape: tuple[int, ...]) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must be a tensor of shape {shape}; got {kind_of(value)}")
    if tuple(value.shape) != shape:
        raise ValueError(f"{what} must have shape {shape} for {_IMAGES} images; got {tuple(value.shape)}")
    if not bool(torch.isfinite(value).all()):
        raise ValueError(f"{what} must be finite on images in [0, 1]; got NaN or infinity")
