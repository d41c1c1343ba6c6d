"""Train the networks of `bases`: `python tests/auditing/train_bases.py [NAME...]`, on one thread, in three minutes."""

import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parents[1]))

from advdpnp import PGD, data
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.experiments import experiment
from advdpnp.losses import is_right
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Run
from advdpnp.training import Task, fit
from advdpnp.training.recipe import Recipe
from auditing.bases import NETWORKS, base, digits, parity, weights_path


@dataclass(frozen=True)
class Plan:
    """How one network is trained: a defense, and what departs from its default recipe."""

    defense: str = "at"
    recipe: tuple[tuple[str, Any], ...] = ()
    attack: tuple[tuple[str, Any], ...] = ()


_LONG = (("epochs", 40), ("lr", 0.05))
_FAST = (("steps", 1), ("start", "none"), ("eps", 0.4), ("step_size", 0.4))
PLANS = {
    "standard": Plan("st", (("epochs", 15),)),
    "trades": Plan("trades", _LONG),
    "adv-dpnp": Plan("adv-dpnp", _LONG),
    "cosine": Plan("at-he", _LONG),
    "overfit": Plan("at", (("epochs", 60), ("weight_decay", 0.0), ("batch_size", 64)), _FAST),
    "standard-cnn": Plan("st", _LONG),
    "winners": Plan("st", _LONG),
    **{name: Plan("at", _LONG) for name in ("cnn", "gelu", "swish", "mlp", "noisy-labels", "only-pooled", "binary")},
    **{name: Plan("at", _LONG) for name in ("tanh", "maxpool")},
    "l2": Plan("at", _LONG, (("norm", "l2"), ("eps", 0.8), ("step_size", 0.2))),
    "deep-narrow": Plan("at", (("epochs", 60), ("lr", 0.02))),
    "linear": Plan("at", _LONG),
    "lipschitz": Plan("st", (("epochs", 40), ("lr", 0.02), ("weight_decay", 0.0))),
}


def labels(name: str, images: Images) -> Images:
    """The images with the labels that a network is trained on."""
    if name == "binary":
        return replace(images, labels=parity(images.labels))
    if name == "noisy-labels":
        wrong = torch.rand(len(images), generator=torch.Generator().manual_seed(0)) < 0.2
        return replace(images, labels=torch.where(wrong, (images.labels + 1) % 10, images.labels))
    return images


def orthogonal(model: Classifier) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.utils.parametrizations.orthogonal(module)


def plain(model: Classifier) -> None:
    for module in model.modules():
        if torch.nn.utils.parametrize.is_parametrized(module):
            torch.nn.utils.parametrize.remove_parametrizations(module, "weight")


def train(name: str) -> None:
    plan = PLANS[name]
    wanted = experiment(f"digits/tiny/{plan.defense}")
    attack = replace(wanted.recipe.attack, **dict(plan.attack))
    recipe: Recipe = replace(wanted.recipe, holdout=0, engine="eager", attack=attack, **dict(plan.recipe))
    torch.manual_seed(0)
    model = NETWORKS[name]()
    if name == "lipschitz":
        orthogonal(model)
    task = Task(model, wanted.defense, recipe, labels(name, data.load("digits", "train")), None, 0)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        run.create_or_verify({})
        fit(task, run, Silent(), False)
        trained, _ = run.read_weights("last")
    model.load_state_dict(trained)
    plain(model)
    half = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(half, weights_path(name))


def say(name: str) -> None:
    """Accuracy on test images: clean, under FGSM and under PGD."""
    model, (x, y) = base(name), digits(360)
    y = parity(y) if name == "binary" else y
    shares = [is_right(model(x), y).float().mean().item()]
    attack = PGD(eps=0.1, steps=40)
    shares.append(is_right(model(attack(model, x, y)), y).float().mean().item())
    for eps in (0.1, 0.2, 0.3):
        one = PGD(eps=eps, steps=1, step_size=eps, random_start=False)
        shares.append(is_right(model(one(model, x, y)), y).float().mean().item())
    size = weights_path(name).stat().st_size
    print(
        f"{name:14} clean {shares[0]:.3f}  pgd 0.1 {shares[1]:.3f}  fgsm 0.1, 0.2, 0.3: {shares[2:]}  {size} bytes",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or PLANS:
        train(chosen)
        say(chosen)
