from dataclasses import replace

import pytest

from advdpnp.report import published
from advdpnp.report.published.tables import TABLES, Place
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
    assert set(TABLES[1].rows) | set(TABLES[2].rows) == {Place(*place) for place in PRINTED}


@pytest.mark.parametrize(("data", "backbone", "method"), PRINTED)
def test_the_average_of_clean_and_autoattack_is_the_printed_one(data: str, backbone: str, method: str) -> None:
    place = Place(data, backbone, method)
    for table in (TABLES[1], TABLES[2]):
        for clean, autoattack, average, *_ in [table.rows[place]] if place in table.rows else []:
            assert average == AVERAGES[data, backbone][method]
            # Both ends of a half are printed: 63.785 as 63.79, 41.455 as 41.45.
            assert abs((clean + autoattack) / 2 - average) < 0.00501


def test_tables_1_2_and_8_of_the_paper_agree_where_they_overlap() -> None:
    for data in ("cifar10", "cifar100"):
        clean, autoattack, average, _, _, pgd20 = TABLES[1].rows[Place(data, "resnet18", "adv-dpnp")]
        again = TABLES[2].rows[Place(data, "resnet18", "adv-dpnp")]
        assert (*again[:3], again[4]) == (clean, autoattack, average, pgd20)
        assert TABLES[8].rows[Place(data, "resnet18", "adv-dpnp")][0] == pgd20


def test_the_ensemble_is_no_better_than_any_of_its_attacks_and_autoattack_no_better_than_it() -> None:
    for _, autoattack, _, *attacks, ensemble in TABLES[2].rows.values():
        assert autoattack <= ensemble <= min(attacks)


def test_every_row_of_a_table_has_a_number_for_every_column() -> None:
    assert {number: len(table.rows) for number, table in TABLES.items()} == {
        1: 12, 2: 22, 3: 8, 4: 16, 5: 11, 6: 2, 7: 2, 8: 2,
    }  # fmt: skip
    for table in TABLES.values():
        assert {len(row) for row in table.rows.values()} == {len(table.columns)}


def test_smaller_radii_more_steps_and_more_starts_order_the_numbers_as_they_must() -> None:
    for row in TABLES[3].rows.values():
        assert list(row) == sorted(row, reverse=True)
    for row in TABLES[6].rows.values():
        accuracies, losses = row[::2], row[1::2]
        assert list(accuracies) == sorted(accuracies, reverse=True) and list(losses) == sorted(losses)
    for row in TABLES[7].rows.values():
        assert list(row) == sorted(row, reverse=True)


# Table and row of what the paper underlines as second best: columns from 0. Of Table 1 no marks are known here.
UNDERLINED: dict[tuple[int, Place], tuple[int, ...]] = {
    (2, Place("cifar10", "resnet18", "adv-dpnp")): (4, 5),
    (2, Place("cifar100", "resnet18", "oc")): (2, 3),
    (2, Place("cifar100", "resnet18", "hat")): (0,),
    (2, Place("cifar100", "resnet18", "dio")): (6,),
    (2, Place("cifar100", "resnet18", "ikl")): (7,),
    (2, Place("cifar100", "resnet18", "adv-dpnp")): (1, 4, 5),
    (2, Place("svhn", "resnet18", "dio")): (2, 3),
    (2, Place("svhn", "resnet18", "ikl")): (1, 4, 5, 6, 7),
    (2, Place("svhn", "resnet18", "adv-dpnp")): (0,),
    (2, Place("cifar10", "wrn-34-10", "fsr")): (0, 2, 3),
    (2, Place("cifar10", "wrn-34-10", "dio")): (6,),
    (2, Place("cifar10", "wrn-34-10", "adv-dpnp")): (1, 4, 5, 7),
    (4, Place("cifar10", "resnet18", "st")): (7,),
    (4, Place("cifar10", "resnet18", "at")): (1, 3),
    (4, Place("cifar10", "resnet18", "at-he")): (5, 6),
    (4, Place("cifar10", "resnet18", "ikl")): (4,),
    (4, Place("cifar10", "resnet18", "adv-dpnp")): (0, 2),
    (4, Place("cifar100", "resnet18", "at-he")): (4, 5),
    (4, Place("cifar100", "resnet18", "mart")): (1, 3),
    (4, Place("cifar100", "resnet18", "ikl")): (6, 7),
    (4, Place("cifar100", "resnet18", "adv-dpnp")): (0, 2),
}


@pytest.mark.parametrize(("number", "place"), UNDERLINED)
def test_what_the_paper_underlines_is_second(number: int, place: Place) -> None:
    for column in UNDERLINED[number, place]:
        assert TABLES[number].ranks(place, column) == 2


def test_accuracy_of_the_undefended_network_is_not_ranked_but_its_embedding_is() -> None:
    undefended, ours = (Place("cifar10", "resnet18", name) for name in ("st", "adv-dpnp"))
    assert TABLES[1].ranks(ours, 0) == 1 and TABLES[4].ranks(undefended, 0) == 1 and TABLES[4].ranks(ours, 0) == 2


@pytest.mark.parametrize(
    "departure",
    [
        {"restarts": 5}, {"step_size": "2/255"}, {"step_size": "0.8/255"}, {"steps": 21}, {"eps": "7/255"},
        {"norm": "l2"}, {"settings": (("target", 3),)}, {"name": "cw"},
    ],
)  # fmt: skip
def test_another_attack_has_no_published_number(departure: dict[str, object]) -> None:
    printed = published.accuracies("cifar10", "resnet18", "at")
    assert printed is not None
    assert printed.attack(PGD20) == 52.75 and printed.attack(replace(PGD20, **departure)) is None  # type: ignore[arg-type]


def test_table_2_stands_for_both_of_its_conventions_and_another_confidence_does_not() -> None:
    printed = published.accuracies("cifar10", "resnet18", "hat")
    assert printed is not None
    fsr = AttackKey("pgd", "linf", "8/255", 100, "0.8/255", 1, False)
    assert printed.attack(fsr) == printed.attack(replace(fsr, step_size="1/255")) == 50.80
    cw = AttackKey("cw", "linf", "8/255", 30, "0.8/255", 1, False)
    assert printed.attack(cw) == printed.attack(replace(cw, settings=(("kappa", 50.0),))) == 50.21
    assert printed.attack(replace(cw, settings=(("kappa", 0.0),))) is None


def test_one_attack_finds_its_number_in_tables_3_6_and_7() -> None:
    printed = published.accuracies("cifar10", "resnet18", "adv-dpnp")
    assert printed is not None
    assert printed.attack(replace(PGD20, steps=250)) == 52.48
    assert printed.attack(replace(PGD20, steps=40, step_size="0.5/255", restarts=10)) == 52.86
    assert printed.attack(replace(PGD20, eps="4/255", step_size="0.5/255")) == 70.71
    assert printed.attack(replace(AUTOATTACK, eps="6/255")) == 58.85


@pytest.mark.parametrize(("data", "backbone", "method"), PRINTED)
def test_attacks_cost_accuracy_and_autoattack_costs_more_than_pgd(data: str, backbone: str, method: str) -> None:
    printed = published.accuracies(data, backbone, method)
    assert printed is not None and printed.clean is not None
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
