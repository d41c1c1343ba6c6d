from itertools import product

import pytest

from advdpnp.report import published
from advdpnp.report.published import _TABLE_1, _TABLE_2
from advdpnp.report.read import AttackKey

PGD20 = AttackKey("pgd", "linf", "8/255", 20, "1/255", 1, True)


def test_tables_1_and_2_of_the_paper_agree_where_they_overlap() -> None:
    for method, (_, pgd20, *_) in _TABLE_2.items():
        assert _TABLE_1["cifar10"][method][-1] == pgd20


def test_the_ensemble_is_no_better_than_any_of_its_attacks() -> None:
    assert all(ensemble <= min(attacks) for *attacks, ensemble in _TABLE_2.values())


@pytest.mark.parametrize(("data", "method"), list(product(_TABLE_1, _TABLE_1["cifar10"])))
def test_attacks_cost_accuracy_and_autoattack_costs_more_than_pgd(data: str, method: str) -> None:
    printed = published.accuracies(data, "resnet18", method)
    assert printed is not None
    pgd = printed.attack(PGD20)
    autoattack = printed.attack(AttackKey("autoattack", "linf", "8/255", None, None, 1, True))
    assert pgd is not None and autoattack is not None
    assert autoattack <= pgd < printed.clean


def test_another_backbone_or_method_has_no_published_numbers() -> None:
    assert published.accuracies("cifar10", "tiny", "at") is None
    assert published.accuracies("cifar10", "resnet18", "dpnp") is None
    assert published.accuracies("digits", "resnet18", "at") is None
    assert published.geometry("cifar10", "resnet18", "at") is None


def test_features_under_attack_are_less_discriminative_in_the_paper() -> None:
    for data in ("cifar10", "cifar100"):
        printed = published.geometry(data, "resnet18", "adv-dpnp")
        assert printed is not None
        assert printed["fdr"][0] < printed["fdr"][1] and printed["afs"][0] < printed["afs"][1]
        assert printed["scr"][0] > printed["scr"][1]
