"""The authors' own recipes are what their papers and code say, and can be printed."""

import json
import sys

import pytest
import yaml

from advdpnp import cli
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import experiment, from_config
from advdpnp.experiments.official import official_changes

OFFICIAL = ["st", "at", "trades", "mart", "at-he", "alp", "oc", "pcl", "hat", "fsr", "dio", "ikl"]


def values(name: str, recipe: str = "official") -> dict[str, object]:
    """Flat: dotted path -> value."""

    def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in tree.items():
            found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        return found

    return flat(experiment(name, recipe).config())


@pytest.mark.parametrize("backbone", ["resnet18", "wrn-34-10"])
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("defense", OFFICIAL)
def test_it_is_an_experiment_that_a_stored_configuration_gives_back(defense: str, data: str, backbone: str) -> None:
    wanted = experiment(f"{data}/{backbone}/{defense}", "official")
    assert wanted.recipe.name == "official" and wanted.recipe.holdout == 0
    assert from_config(json.loads(json.dumps(wanted.config()))) == wanted


def test_at_and_st_are_as_in_paper() -> None:
    for defense in ("st", "at"):
        official, paper = (values(f"cifar10/resnet18/{defense}", recipe) for recipe in ("official", "paper"))
        assert {key for key in official if official[key] != paper[key]} == {"recipe.name"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10/wrn-34-10/trades", {"recipe.epochs": 76, "recipe.weight_decay": 2e-4, "recipe.attack.eps": 0.031,
                                      "recipe.attack.step_size": 0.007, "defense.beta": 6.0}),
        ("mnist/lenets++/trades", {"recipe.epochs": 100, "recipe.attack.steps": 40, "recipe.attack.eps": 0.3,
                                   "recipe.lr": 0.01, "defense.beta": 1.0, "recipe.augmentation.padding": 0}),
        ("cifar10/resnet18/mart", {"recipe.epochs": 120, "recipe.lr": 0.01, "recipe.weight_decay": 3.5e-3,
                                   "defense.beta": 5.0}),
        ("cifar10/wrn-34-10/mart", {"recipe.epochs": 90, "recipe.lr": 0.1, "recipe.weight_decay": 7e-4,
                                    "defense.beta": 6.0}),
        ("cifar10/resnet18/at-he", {"recipe.epochs": 77, "defense.scale": 10.0, "defense.margin": 0.2,
                                    "recipe.weight_decay": 5e-4, "recipe.attack.start": "normal"}),
        ("cifar10/resnet18/oc", {"recipe.epochs": 180, "recipe.lr": 0.1, "recipe.weight_decay": 5e-4,
                                 "recipe.attack.start": "uniform", "recipe.augmentation.mode": "reflect",
                                 "defense.scale": 10.0, "defense.leverage": 0.15, "defense.activation": "prelu",
                                 "defense.initialization": "kaiming"}),
        ("cifar10/resnet18/pcl", {"recipe.epochs": 500, "recipe.lr": 0.01, "recipe.batch_size": 64,
                                  "recipe.weight_decay": 1e-4, "recipe.attack.start": "none",
                                  "recipe.attack.eps": 0.05, "recipe.attack.step_size": 2 / 255,
                                  "defense.contrast": 1e-5, "defense.pretraining": 164}),
        ("cifar10/resnet18/hat", {"recipe.epochs": 50, "recipe.schedule": "onecycle", "recipe.lr": 0.21,
                                  "recipe.nesterov": True, "recipe.warmup": 0.25, "defense.h": 2.0}),
        ("svhn/resnet18/hat", {"recipe.epochs": 50, "recipe.augmentation.padding": 0}),
        ("cifar10/resnet18/fsr", {"recipe.epochs": 100, "recipe.lr": 0.1, "recipe.weight_decay": 5e-4,
                                  "recipe.augmentation.mode": "zero", "recipe.attack.start": "uniform",
                                  "defense.temperature": 0.1}),
        ("svhn/resnet18/fsr", {"recipe.epochs": 100, "recipe.lr": 0.01, "recipe.augmentation.padding": 0,
                               "recipe.augmentation.flip": False}),
        ("cifar10/preact-resnet18/dio", {"recipe.epochs": 100, "recipe.lr": 0.1, "recipe.batch_size": 128,
                                         "defense.heads": 10, "defense.alpha": 0.1, "defense.beta": 0.1,
                                         "defense.tau": 0.2}),
        ("cifar10/wrn-34-10/dio", {"defense.tau": 0.5, "recipe.epochs": 100}),
        ("cifar100/wrn-34-10/dio", {"defense.tau": 0.1}),
        ("cifar100/wrn-34-20/dio", {"defense.tau": 0.2}),
        ("cifar10/wrn-34-10/ikl", {"recipe.epochs": 200, "recipe.schedule": "cosine", "recipe.lr": 0.2,
                                   "recipe.attack.steps": 5, "recipe.attack.ramp": 1.0,
                                   "recipe.weight_perturbation.gamma": 0.005, "recipe.averaging.decay": 0.9996,
                                   "defense.inner_loss": "sce"}),
        ("cifar100/wrn-34-10/ikl", {"defense.inner_loss": "sce+wmse", "recipe.averaging.start": 0.75}),
    ],
)  # fmt: skip
def test_the_authors_own_numbers(name: str, expected: dict[str, object]) -> None:
    found = values(name)
    assert {key: found[key] for key in expected} == expected


def test_milestones_are_the_authors_epochs() -> None:
    for name, epochs in {
        "trades": [75],
        "mart": [75, 90, 100],
        "at-he": [75],
        "oc": [100, 150, 175],
        "pcl": [142, 230, 360],
        "fsr": [75, 90],
        "dio": [75, 90],
    }.items():
        recipe = experiment(f"cifar10/resnet18/{name}", "official").recipe
        assert [round(milestone * recipe.epochs) for milestone in recipe.milestones] == epochs


def test_the_helper_of_the_official_recipe_trains_as_long() -> None:
    helper = experiment("cifar10/resnet18/hat", "official").needs
    assert helper is not None and helper.defense.name == "st"
    assert (helper.recipe.epochs, helper.recipe.schedule, helper.recipe.lr) == (50, "onecycle", 0.21)


def test_pcl_is_pre_trained_and_its_radius_is_drawn_from_2_to_5_hundredths() -> None:
    wanted = experiment("cifar10/resnet18/pcl", "official")
    attack = wanted.recipe.attack
    assert attack.eps * (1 - attack.spread) == pytest.approx(0.02)
    before = wanted.needs
    assert before is not None and before.defense.name == "st"
    assert (before.recipe.epochs, before.recipe.batch_size, before.recipe.lr) == (164, 128, 0.1)
    assert before.recipe.weight_decay == 1e-4


@pytest.mark.parametrize("name", ["adv-dpnp", "dpnp"])
def test_methods_whose_only_recipe_is_paper_say_so(name: str) -> None:
    assert name in DEFENSES
    with pytest.raises(ValueError, match=f"{name} has no official recipe but paper"):
        experiment(f"cifar10/resnet18/{name}", "official")


def test_data_that_the_authors_did_not_train_on_is_refused() -> None:
    with pytest.raises(ValueError, match="mart has an official recipe for cifar10, cifar100; got digits"):
        list(official_changes("mart", "digits", "tiny"))


def test_show_prints_what_train_would_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = experiment("cifar10/resnet18/mart", "official", settings=["recipe.epochs=3"]).config()
    for switch, parse in (("--debug", yaml.safe_load), ("--json", json.loads)):
        arguments = ["show", "cifar10/resnet18/mart", "--recipe", "official", "--set", "recipe.epochs=3", switch]
        monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        assert parse(capsys.readouterr().out) == wanted
