import pytest
import torch

from advdpnp.data import SPECS, Augmentation, load, spec
from advdpnp.data.specs import Split


@pytest.mark.parametrize(
    ("wanted", "near"),
    [
        ("cifar-10", "cifar10"),
        ("minst", "mnist"),
        ("CIFAR100", "cifar100"),
        ("shvn", "svhn"),
        ("CIFAR-10-C", "cifar10-c"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(wanted: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"unknown data set '{wanted}'; .* Did you mean {near}\\?"):
        spec(wanted)


def test_every_spec_is_found_by_its_own_name_and_is_hashable() -> None:
    assert all(spec(name) is facts and facts.name == name for name, facts in SPECS.items())
    assert len(set(SPECS.values())) == len(SPECS)


@pytest.mark.parametrize(
    ("name", "classes"), [("cifar10", 10), ("cifar100", 100), ("svhn", 10), ("mnist", 10), ("digits", 10)]
)
def test_there_are_as_many_classes_as_published(name: str, classes: int) -> None:
    assert spec(name).num_classes == classes


@pytest.mark.parametrize("name", SPECS)
def test_class_names_are_all_different_and_training_images_remain_beside_the_holdout(name: str) -> None:
    facts = spec(name)
    assert len(set(facts.class_names)) == facts.num_classes >= 2
    assert facts.holdout < facts.train_size and facts.test_size > 0


@pytest.mark.parametrize("name", [name for name, entry in SPECS.items() if not entry.archives])
@pytest.mark.parametrize("split", ["train", "test"])
def test_images_that_need_no_download_are_what_the_facts_say(name: str, split: Split) -> None:
    facts = spec(name)
    try:
        images = load(name, split)
    except FileNotFoundError:
        pytest.skip(f"{name} has no published archive, and its owner's files are not under $ADVDPNP_DATA")
    n = facts.train_size if split == "train" else facts.test_size
    assert images.pixels.shape == (n, *facts.image_shape) and images.pixels.dtype == torch.uint8
    assert 0 < images.pixels.max() <= facts.levels
    assert images.labels.unique().tolist() == list(range(facts.num_classes))


def test_natural_images_are_cropped_and_mirrored_and_house_numbers_are_only_cropped() -> None:
    assert spec("svhn").augmentation == Augmentation(4, "reflect", False)
    assert spec("cifar10").augmentation == spec("cifar100").augmentation == Augmentation(4, "reflect", True)
    assert spec("mnist").augmentation == spec("digits").augmentation == Augmentation(0, "reflect", False)


@pytest.mark.parametrize(("name", "images"), [("cifar10-c/fog/3", 10_000), ("cifar10-c/fog", 50_000)])
def test_corrupted_images_are_a_test_set_with_the_facts_of_the_clean_one(name: str, images: int) -> None:
    facts, clean = spec(name), spec("cifar10")
    assert (facts.name, facts.train_size, facts.test_size, facts.holdout) == (name, 0, images, 0)
    assert (facts.class_names, facts.image_shape, facts.eps) == (clean.class_names, clean.image_shape, clean.eps)
    assert str(facts.augmentation) == "none"
