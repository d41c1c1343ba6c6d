import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp.data import Augmentation, FolderSpec
from advdpnp.defenses import DEFENSES
from advdpnp.experiments import experiment, experiment_on, from_config, read_changes
from advdpnp.experiments.config import override
from advdpnp.models.small import Tiny


def test_the_papers_hyper_parameters_are_the_defaults() -> None:
    for data, weights in (("cifar10", (0.1, 0.1, 2.0)), ("cifar100", (0.3, 3.0, 2.4))):
        wanted = experiment(f"{data}/resnet18/adv-dpnp", recipe="paper")
        defense, recipe = wanted.defense, wanted.recipe
        assert (defense.lambda_dpp, defense.lambda_dnp, defense.lambda_dfa) == weights
        assert defense.alpha == 40.0
        assert (recipe.epochs, recipe.batch_size, recipe.lr, recipe.momentum, recipe.weight_decay) == (
            110,
            128,
            0.1,
            0.9,
            5e-4,
        )
        assert recipe.milestones == (100 / 110, 105 / 110)
        assert (recipe.attack.eps, recipe.attack.steps, recipe.attack.step_size) == (8 / 255, 10, 2 / 255)
        assert (recipe.holdout, recipe.train_images) == (0, 0)


def test_trades_starts_close_by_and_others_anywhere_in_the_ball() -> None:
    assert experiment("cifar10/resnet18/trades").recipe.attack.start == "normal"
    assert experiment("cifar10/resnet18/at").recipe.attack.start == "uniform"


def test_mnist_has_the_papers_attack() -> None:
    attack = experiment("mnist/lenets++/at").recipe.attack
    assert (attack.eps, attack.steps, attack.step_size) == (0.3, 40, 0.01)


def test_the_default_recipe_holds_images_out() -> None:
    assert experiment("cifar10/resnet18/at").recipe.holdout == 1000


def test_the_literal_variant_prints_eq_3_and_has_its_own_folder() -> None:
    wanted = experiment("cifar10/resnet18/adv-dpnp-literal", tag="x")
    assert wanted.defense.alignment == "sum"
    assert wanted.folder(Path("runs")) == Path("runs/cifar10/resnet18/adv-dpnp+literal-x/seed-0")


@pytest.mark.parametrize("name", DEFENSES)
def test_configurations_round_trip_through_json(name: str) -> None:
    wanted = experiment(f"digits/tiny/{name}", seed=3, tag="t", settings=["recipe.epochs=5"])
    assert from_config(json.loads(json.dumps(wanted.config()))) == wanted


def test_settings_are_converted_by_the_field_that_they_set() -> None:
    settings = [
        "recipe.attack.eps=4/255",
        "recipe.milestones=0.5,0.75",
        "defense.prototype_weight_decay=false",
        "defense.alignment=sum",
        "recipe.augmentation.mode=zero",
        "seed=4",
    ]
    wanted = experiment("cifar10/resnet18/adv-dpnp", settings=settings)
    assert wanted.recipe.attack.eps == pytest.approx(4 / 255)
    assert wanted.recipe.milestones == (0.5, 0.75)
    assert wanted.defense.prototype_weight_decay is False and wanted.defense.alignment == "sum"
    assert wanted.recipe.augmentation.mode == "zero" and wanted.seed == 4


def test_a_yaml_file_overrides_and_settings_override_it(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("recipe: {epochs: 7, attack: {steps: 3}}\nseed: 2\n")
    wanted = experiment("digits/tiny/at", changes=read_changes(path), settings=["recipe.epochs=9"])
    assert (wanted.recipe.epochs, wanted.recipe.attack.steps, wanted.seed) == (9, 3, 2)


@pytest.mark.parametrize(
    "text", ["recipe: {epochs: x}", "recipe: {epochz: 2}", "recipe: 3", "defense: {alpha: .nan}", "seed: [1]"]
)
def test_a_value_of_a_yaml_file_that_cannot_be_is_told_with_the_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text + "\n")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: ") as error:
        experiment("digits/tiny/adv-dpnp", changes=read_changes(path))
    assert "\n" not in str(error.value)


def test_numbers_of_a_yaml_file_are_those_that_stand_there(tmp_path: Path) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text("a: [0, -0, 7, 1_000, 0x10, 0b11, 0.5, 1e-1, 1.0e-1, .inf, 08, '010', '1:30']")
    expected = [0, 0, 7, 1000, 16, 3, 0.5, "1e-1", 0.1, float("inf"), "08", "010", "1:30"]
    assert [(value, type(value)) for value in read_changes(path)["a"]] == [(value, type(value)) for value in expected]


def test_a_value_of_set_that_cannot_be_is_not_the_files_fault(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("recipe: {epochs: 7, schedule: onecycle, cycle_momentum: true}\n")
    with pytest.raises(ValueError, match=r"^recipe\.epochs must be"):
        experiment("digits/tiny/at", changes=read_changes(path), settings=["recipe.epochs=x"])
    with pytest.raises(ValueError, match=r"^(?!.*c\.yaml)"):
        experiment("digits/tiny/at", changes=read_changes(path), settings=["recipe.schedule=x"])
    # A value that a setting replaces is never read.
    path.write_text("recipe: {epochs: x}\n")
    assert experiment("digits/tiny/at", changes=read_changes(path), settings=["recipe.epochs=2"]).recipe.epochs == 2


def test_the_seed_decides_the_initial_weights_and_the_global_generator_does_not() -> None:
    def weights(seed: int) -> torch.Tensor:
        return experiment("digits/tiny/at", seed=seed).build().backbone.conv1.weight

    first = weights(0)
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    assert torch.equal(weights(0), first) and not torch.equal(weights(1), first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_one_seed_gives_every_defense_the_same_backbone() -> None:
    models = [experiment(f"digits/tiny/{name}").build() for name in DEFENSES]
    # Some methods put modules around it.
    backbones = [next(part for part in model.modules() if isinstance(part, Tiny)) for model in models]
    assert all(torch.equal(b.conv2.weight, backbones[0].conv2.weight) for b in backbones)


@pytest.mark.parametrize(
    "name, settings, message",
    [
        ("cifar11/resnet18/at", [], "unknown data set 'cifar11'.*cifar10"),
        ("cifar10/resnet81/at", [], "unknown backbone .resnet81.; nearest: resnet8, resnet18"),
        ("cifar10/resnet18/advdpnp", [], "unknown defense 'advdpnp'; nearest: adv-dpnp"),
        ("cifar10/resnet18", [], "data/backbone/defense"),
        ("digits/tiny/at", ["recipe.epoch=2"], r"unknown setting 'recipe\.epoch'; nearest: recipe\.epochs"),
        ("digits/tiny/at", ["recipe.epochs"], "path=value"),
        ("digits/tiny/at", ["recipe.epochs=two"], r"recipe\.epochs must be a whole number; got 'two'"),
        ("digits/tiny/at", ["recipe.epochs=0"], r"recipe\.epochs must be at least 1"),
        ("digits/tiny/at", ["recipe.attack.eps=8"], "Did you mean 8 / 255"),
        ("digits/tiny/at", ["recipe.attack.mode=test"], r"recipe\.attack\.mode must be one of eval, train"),
        ("digits/tiny/at", ["recipe.milestones=2"], "fractions of the epochs"),
        ("digits/tiny/at", ["recipe.train_images=5000"], "has 1293 training images"),
        (
            "digits/tiny/trades",
            ["defense.gamma=1"],
            r"unknown setting 'defense\.gamma'; nearest: defense\.beta|nearest",
        ),
    ],
)
def test_bad_names_and_values_list_the_nearest(name: str, settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment(name, settings=settings)


def test_unknown_recipes_and_schemas_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown recipe 'papr'"):
        experiment("digits/tiny/at", recipe="papr")
    config = experiment("digits/tiny/at").config()
    with pytest.raises(ValueError, match="schema"):
        from_config({**config, "schema": 99})
    with pytest.raises(ValueError, match=r"unknown field recipe\.epoch"):
        from_config({**config, "recipe": {"epoch": 3}})


def test_override_refuses_to_replace_a_group() -> None:
    with pytest.raises(ValueError, match="unknown setting"):
        override({"recipe": {"epochs": 1}}, "recipe.epochs.x", 2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"tag": "../../elsewhere"}, "--name must be letters, digits"),
        ({"tag": "a/b"}, "--name must be letters, digits"),
        ({"seed": 10**20}, "--seed must be a whole number of 64 bits"),
        ({"settings": ["recipe.holdout=1437"]}, "recipe.holdout must leave images to train on; got 1437 of the 1437"),
        ({"settings": ["recipe.holdout=99999"]}, "recipe.holdout must leave images to train on; got 99999"),
    ],
)
def test_what_names_no_folder_or_leaves_nothing_to_train_on_is_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        experiment("digits/tiny/at", **changes)


@pytest.mark.parametrize("name", ["", "digits", "digits/tiny"])
def test_a_name_of_too_few_parts_says_what_a_name_is(name: str) -> None:
    with pytest.raises(ValueError, match="a training is named data/backbone/defense"):
        experiment(name)


@pytest.mark.parametrize(("images", "batch_size"), [(10, 32), (216, 32), (511, 32), (512, 64), (1023, 64), (1024, 128)])
def test_few_images_of_ones_own_get_batches_of_which_an_epoch_has_eight(images: int, batch_size: int) -> None:
    padding = Augmentation(padding=1, mode="zero", flip=False)
    folder = FolderSpec(
        name="folder-photos",
        image_shape=(3, 8, 8),
        class_names=("a", "b"),
        train_size=images + 5,
        test_size=2,
        eps=8 / 255,
        holdout=5,
        augmentation=padding,
        path="photos",
        split_seed=0,
        checksum="",
    )
    recipe = experiment_on(folder, "tiny", "at").recipe
    # The rate in proportion: 0.1 at 128.
    assert (recipe.batch_size, recipe.lr) == (batch_size, pytest.approx(0.1 * batch_size / 128))
    chosen = experiment_on(folder, "tiny", "at", settings=["recipe.batch_size=128", "recipe.lr=0.1"]).recipe
    assert (chosen.batch_size, chosen.lr) == (128, 0.1)


def test_named_data_keep_the_batch_and_the_rate_of_the_papers() -> None:
    for name, rate in {"digits": 0.1, "cifar10": 0.1, "mnist": 0.01}.items():
        recipe = experiment(f"{name}/tiny/at").recipe
        assert (recipe.batch_size, recipe.lr) == (128, rate)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("recipe: {epochs: 1}\nrecipe: {epochs: 3}", "'recipe' is there twice"),
        ("recipe: {epochs: 1, epochs: 3}", "'epochs' is there twice"),
        ("recipe: " + "{a: " * 3000 + "1" + "}" * 3000, "is no YAML"),
        ("recipe: [", "is no YAML"),
        ("recipe: &a {attack: *a}", "holds itself"),
        ("&a [*a]", "holds itself"),
        # 2^25 values in 25 lists.
        (
            "tag: [&a [x, x]"
            + "".join(f", &{b} [*{a}, *{a}]" for a, b in pairwise("abcdefghijklmnopqrstuvwxyz"))
            + "]",
            "more than 10,000 values",
        ),
        ("tag: 2001-99-99", "is no YAML"),
        ('tag: !!int ""', "is no YAML"),
        ("tag: !!timestamp x", "is no YAML"),
        ("tag: !!bool x", "is no YAML"),
        ("tag: !!python/object/apply:os.system [x]", "is no YAML"),
        ("? [a]\n: b", "is no YAML"),
        ("x: " + "y" * 300_000, "at most 262,144 bytes"),
        ("- " + "y" * 3000, "must hold a group of fields"),
        ("recipe: {epochs: 010}", "010 is a number of base 8 or 60"),
        ("recipe: {epochs: 1:30}", "1:30 is a number of base 8 or 60"),
        ("recipe: {lr: -1:30.5}", "-1:30.5 is a number of base 8 or 60"),
        ("recipe: {lr: " + ":".join(["59"] * 3000) + "}", "is a number of base 8 or 60"),
    ],
)
def test_a_file_that_could_mean_two_things_or_is_no_yaml_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "changes.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as error:
        read_changes(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"recipe": {"milestones": 3}}, "recipe.milestones must be a list; got 3"),
        ({"recipe": {"milestones": {"a": 1}}}, "recipe.milestones"),
        ({"recipe": {"epochs": ["x" * 9999]}}, "recipe.epochs must be a whole number"),
        ({"recipe": {"averaging": {"kind": ["x" * 9999]}}}, "recipe.averaging.kind must be"),
        ({"nothing": {}}, "unknown setting 'nothing'"),
        ({"recipe": {"epochs": {}}}, "unknown setting 'recipe.epochs'"),
        ({1: {2: 3}}, "unknown setting '1'"),
        ({"recipe.epochs": 1, "recipe": {"epochs": 2}}, "recipe.epochs is there twice, with dots and in its group"),
    ],
)
def test_settings_of_another_kind_are_named_shortly(changes: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        experiment("digits/tiny/at", changes=changes)
    assert len(str(error.value)) < 300


def stored_config() -> dict[str, Any]:
    return json.loads(json.dumps(experiment("digits/tiny/adv-dpnp").config()))


@pytest.mark.parametrize("name", ["data", "backbone", "defense", "recipe", "seed"])
def test_a_configuration_without_a_part_or_with_another_is_damaged(name: str) -> None:
    values = stored_config()
    del values[name]
    with pytest.raises(ValueError, match=r"configuration is damaged|another schema"):
        from_config(values)
    for odd in (None, [], ["x"], {"x": 1}, 10**300, True, 1.5):
        with pytest.raises(ValueError):
            from_config(values | {name: odd if not (name == "seed" and odd in (True, 1.5)) else "x"})


def test_a_field_that_is_missing_is_named() -> None:
    values = stored_config()
    del values["recipe"]["attack"]["eps"]
    with pytest.raises(ValueError, match=r"recipe\.attack has no eps"):
        from_config(values)
    values = stored_config()
    values["defense"]["name"] = {"x": 1}
    with pytest.raises(ValueError, match="damaged"):
        from_config(values)
