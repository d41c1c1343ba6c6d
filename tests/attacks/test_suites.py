import pytest

from advdpnp.attacks import record, suite, suite_names


def test_fsr_is_table_2_with_steps_of_a_tenth_from_the_image() -> None:
    fsr = suite("fsr", 8 / 255)
    assert [(a.name, a.steps) for a in fsr.attacks] == [("fgsm", 1), ("pgd", 20), ("pgd", 100), ("cw", 30)]
    assert {record(a)["step_size"] for a in fsr.attacks[1:]} == {"0.8/255"}
    assert not any(a.random_start for a in fsr.attacks)


def test_the_text_and_l2_budgets_are_the_papers() -> None:
    assert record(suite("text", 8 / 255).attacks[1])["step_size"] == "1/255"
    l2 = record(suite("quick", 8 / 255).attacks[2])
    assert (l2["norm"], l2["eps"], l2["step_size"]) == ("l2", "128/255", "16/255")


def test_the_l2_radius_shrinks_with_the_diameter_of_the_images() -> None:
    small = suite("quick", 0.3, pixels=28 * 28).attacks[2]
    assert small.eps == pytest.approx(0.3 * 28 / 12**0.5, abs=0.5 / 255)


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_names_itself_and_an_attack_for_the_features(name: str) -> None:
    found = suite(name, 0.1)
    assert found.name == name
    assert found.features is None or found.attacks[found.features].name == "pgd"


def test_unknown_suites_list_the_nearest() -> None:
    with pytest.raises(ValueError, match="nearest: quick"):
        suite("quik", 0.1)
