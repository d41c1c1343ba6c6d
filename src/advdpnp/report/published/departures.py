"""What sets a result apart from the protocol of the paper, in words."""

from __future__ import annotations

from collections.abc import Iterator
from math import isclose
from typing import TYPE_CHECKING, Any

from advdpnp.indices import chosen_text, of_the_first
from advdpnp.ranges import parse_eps
from advdpnp.report.published.protocols import FIGURE_2

if TYPE_CHECKING:
    from advdpnp.illustrations import Illustration
    from advdpnp.report.read import Result, RunResults

# Test images of the data sets that the paper reports; of any other there is nothing to depart from.
PAPER_TEST_IMAGES = {"cifar10": 10_000, "cifar100": 10_000, "mnist": 10_000, "svhn": 26_032}
# Of CIFAR-10-C, one corruption at one severity; its own order is severity by severity.
CORRUPTED, SEVERITIES = "cifar10-c/", 5
# Section 4.1, for every model: field of the recipe -> its name in words, its value.
PAPER_RECIPE = {
    "epochs": ("epochs", 110),
    "lr": ("learning rate", 0.1),
    "momentum": ("momentum", 0.9),
    "weight_decay": ("weight decay", 5e-4),
    "batch_size": ("images per batch", 128),
}
# Radius, step size and iterations of the PGD of training: section 4.1; of MNIST the caption of Figure 2.
PAPER_TRAINING_ATTACK = {
    "cifar10": ("8/255", "2/255", 10),
    "cifar100": ("8/255", "2/255", 10),
    "svhn": ("8/255", "1/255", 10),
    "mnist": ("0.3", "0.01", 40),
}
# Data and backbone of Figure 2.
FIGURE_2_PLACE = "mnist/lenets++"
# Methods that train without an attack.
WITHOUT_ATTACK = ("st", "dpnp")


def paper_test_images(data: str) -> int | None:
    """How many test images the paper uses of a data set; None for a data set that it does not report."""
    if data.startswith(CORRUPTED):
        one = PAPER_TEST_IMAGES["cifar10"]
        return one if data.count("/") == 2 else one * SEVERITIES
    return PAPER_TEST_IMAGES.get(data)


def on_the_papers_images(result: Result) -> bool:
    """Whether a result is of all test images that the paper reports, on the data that the run was trained for."""
    suite = result.suite
    whole = suite.n == paper_test_images(suite.data) and of_the_first(suite.indices, suite.n)
    return whole and suite.data == result.run.data


def departures(result: Result) -> list[str]:
    """What sets a result apart from the protocol of the paper, in words; empty if nothing does.

    On data that the paper does not report: what is to be known of the result besides.
    """
    run, suite = result.run, result.suite
    found = [*_other_images(suite.data, suite.n, suite.indices), *suite.manner, *suite.notes]
    if run.foreign:
        return [*found, "a network from elsewhere, whose training is not known here", *suite.warnings]
    return [*found, *suite.warnings, *training_departures(run), *_other_checkpoint(suite.checkpoint, suite.epoch)]


def figure_2_departures(run: RunResults, drawn: Illustration | None) -> list[str]:
    """What sets features in the plane apart from Figure 2 of the paper, in words; empty if nothing does.

    Args:
        run: a classifier of ours.
        drawn: what is stored of its illustration; None for arrays of an earlier version, which do not say all.
    """
    if run.place != FIGURE_2_PLACE:
        return [f"{run.place}, not {FIGURE_2_PLACE}"]
    if drawn is None:
        return ["step of the attack not recorded", *training_departures(run)]
    found = [*_other_images(drawn.data, drawn.n, drawn.indices)]
    if not FIGURE_2.fits(drawn.key):
        found.append("attack other than PGD-40 with steps of 0.01 at 0.3")
    return [*found, *training_departures(run), *_other_checkpoint(drawn.checkpoint, drawn.epoch)]


def _other_images(data: str, n: int, indices: str) -> Iterator[str]:
    """Where test images are not all of a data set of the paper, in words."""
    images = paper_test_images(data)
    if images is not None and (n != images or not of_the_first(indices, n)):
        yield f"{n:,} of {images:,} test images{chosen_text(indices, n)}"


def training_departures(run: RunResults) -> Iterator[str]:
    """Where the training of a run of ours is not the paper's, in words."""
    recipe = run.config["recipe"]
    if run.recipe != "paper":
        held_out = recipe.get("holdout", 0)
        yield f"recipe “{run.recipe}”" + (f": {held_out:,} training images held out" if held_out else "")
    if run.data in PAPER_TEST_IMAGES:
        yield from _other_settings(recipe)
    if run.data in PAPER_TRAINING_ATTACK and run.defense not in WITHOUT_ATTACK:
        yield from _other_attack(recipe["attack"], *PAPER_TRAINING_ATTACK[run.data])
    if recipe.get("train_images"):
        yield f"trained on {recipe['train_images']:,} images"


def _other_checkpoint(checkpoint: str, epoch: int | None) -> Iterator[str]:
    if checkpoint != "last":
        yield f"{checkpoint} checkpoint (epoch {epoch})"


def _other_settings(recipe: dict[str, Any]) -> Iterator[str]:
    """Where a recipe is not that of section 4.1, in words; what an old run did not record is taken as equal."""
    for field, (words, printed) in PAPER_RECIPE.items():
        value = recipe.get(field, printed)
        if value != printed:
            yield f"{value} {words}, not {printed}" if isinstance(printed, int) else f"{words} {value}, not {printed}"
    augmentation = recipe.get("augmentation", {"padding": 4, "flip": True})
    lacking = [name for name, field in (("crop", "padding"), ("flip", "flip")) if not augmentation[field]]
    if lacking:
        yield f"trained without random {' and '.join(lacking)}"
    if (schedule := recipe.get("schedule", "steps")) != "steps":
        yield f"learning rate by the schedule {schedule}, not in two steps"
    if (kind := recipe.get("averaging", {}).get("kind", "none")) != "none":
        yield f"weights averaged ({kind.upper()})"
    if gamma := recipe.get("weight_perturbation", {}).get("gamma", 0.0):
        yield f"adversarial weight perturbation, γ = {gamma:g}"
    if batch := recipe.get("rate_scaling", {}).get("batch", 0):
        yield f"learning rate scaled with the batch, from that of {batch} images"
    if smoothing := recipe.get("label_smoothing", 0.0):
        yield f"label smoothing {smoothing:g}"
    if recipe.get("nesterov", False):
        yield "Nesterov momentum"
    if (precision := recipe.get("precision", "fp32")) != "fp32":
        yield f"trained in {precision}"


def _other_attack(attack: dict[str, Any], eps: str, step_size: str, steps: int) -> Iterator[str]:
    """Where the attack of training is not the paper's, in words; of its start the paper says nothing."""
    if (norm := attack.get("norm", "linf")) != "linf":
        yield f"trained against {norm}, not linf"
    for name, words, printed in (("eps", "radius", eps), ("step_size", "step", step_size)):
        made = attack.get(name, printed)
        value = parse_eps(made) if isinstance(made, str) else float(made)
        if not isclose(value, parse_eps(printed), rel_tol=1e-6):
            yield f"trained with an attack of {words} {value:.4g}, not {printed}"
    if (made := attack.get("steps", steps)) != steps:
        yield f"trained with an attack of {made} iterations, not {steps}"
    if ramp := attack.get("ramp", 0.0):
        yield f"radius of training grows over {ramp:.0%} of the epochs"
    if spread := attack.get("spread", 0.0):
        yield f"radius of training drawn for each batch, from {1 - spread:.0%} to 100%"
