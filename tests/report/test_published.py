import pytest

from advdpnp.report import published
from advdpnp.report.published import _TABLE_1, _TABLE_2
from advdpnp.results import AttackKey

PGD20 = AttackKey("pgd", "linf", "8/255", 20, "1/255", 1, True)


# The column Avg as printed, which sums up the two before it.
AVERAGES: dict[tuple[str, str], dict[str, float]] = {
    ("cifar10", "resnet18"): {
        "st": 47.20,
        "at": 65.99,
        "at-he": 63.79,
        "trades": 65.19,
        "mart": 63.89,
        "adv-dpnp": 66.91,
        "oc": 64.13,
        "pcl": 62.28,
        "hat": 65.90,
        "fsr": 64.58,
        "dio": 65.70,
        "ikl": 63.39,
    },
    ("cifar100", "resnet18"): {
        "st": 38.12,
        "at": 41.45,
        "at-he": 41.42,
        "trades": 41.53,
        "mart": 39.63,
        "adv-dpnp": 42.58,
        "oc": 41.87,
        "pcl": 39.85,
        "hat": 41.20,
        "fsr": 40.71,
        "dio": 39.45,
        "ikl": 41.03,
    },
    ("svhn", "resnet18"): {"fsr": 69.09, "dio": 69.48, "ikl": 66.29, "adv-dpnp": 70.55},
    ("cifar10", "wrn-34-10"): {"fsr": 68.77, "dio": 68.62, "ikl": 67.67, "adv-dpnp": 70.12},
}
AUTOATTACK = AttackKey("autoattack", "linf", "8/255", None, None, 1, True)
PRINTED = [(data, backbone, method) for (data, backbone), methods in AVERAGES.items() for method in methods]


def test_every_method_of_tables_1_and_2_is_there_and_no_other() -> None:
    table_1 = {(data, "resnet18", method) for data, methods in _TABLE_1.items() for method in methods}
    table_2 = {(*place, method) for place, methods in _TABLE_2.items() for method in methods}
    assert table_1 | table_2 == set(PRINTED)


@pytest.mark.parametrize(("data", "backbone", "method"), PRINTED)
def test_the_average_of_clean_and_autoattack_is_the_printed_one(data: str, backbone: str, method: str) -> None:
    printed = published.accuracies(data, backbone, method)
    assert printed is not None
    autoattack = printed.attack(AUTOATTACK)
    assert autoattack is not None
    # Both ends of a half are printed: 63.785 as 63.79, 41.455 as 41.45.
    assert abs((printed.clean + autoattack) / 2 - AVERAGES[data, backbone][method]) < 0.00501


def test_tables_1_and_2_of_the_paper_agree_where_they_overlap() -> None:
    for data, methods in _TABLE_1.items():
        clean, autoattack, _, _, pgd20 = methods["adv-dpnp"]
        again = _TABLE_2[data, "resnet18"]["adv-dpnp"]
        assert (again[0], again[1], again[3]) == (clean, autoattack, pgd20)


def test_the_ensemble_is_no_better_than_any_of_its_attacks_and_autoattack_no_better_than_it() -> None:
    for methods in _TABLE_2.values():
        for _, autoattack, *attacks, ensemble in methods.values():
            assert autoattack <= ensemble <= min(attacks)


@pytest.mark.parametrize(("data", "backbone", "method"), PRINTED)
def test_attacks_cost_accuracy_and_autoattack_costs_more_than_pgd(data: str, backbone: str, method: str) -> None:
    printed = published.accuracies(data, backbone, method)
    assert printed is not None
    pgd, autoattack = printed.attack(PGD20), printed.attack(AUTOATTACK)
    assert pgd is not None and autoattack is not None
    assert autoattack <= pgd < printed.clean


def test_another_backbone_or_method_has_no_published_numbers() -> None:
    assert published.accuracies("cifar10", "tiny", "at") is None
    assert published.accuracies("cifar10", "resnet18", "dpnp") is None
    assert published.accuracies("digits", "resnet18", "at") is None
    assert published.accuracies("cifar100", "wrn-34-10", "adv-dpnp") is None
    assert published.geometry("cifar10", "resnet18", "hat") is None
    assert published.geometry("cifar10", "wrn-34-10", "adv-dpnp") is None


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
@pytest.mark.parametrize("method", ["st", "at", "at-he", "trades", "mart", "fsr", "ikl", "adv-dpnp"])
def test_features_under_attack_are_less_discriminative_in_the_paper(data: str, method: str) -> None:
    printed = published.geometry(data, "resnet18", method)
    assert printed is not None
    assert printed["fdr"][0] < printed["fdr"][1] and printed["afs"][0] < printed["afs"][1]
    mean, smallest = printed["separation"]
    assert smallest < mean
