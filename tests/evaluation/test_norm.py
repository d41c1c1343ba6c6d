"""Suites and attacks in l2: which radius they get, what their results are called, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

import advdpnp
from advdpnp import api
from advdpnp.api.protocol import Radii, attack_by_hand, suite_of
from advdpnp.attacks import (
    APGDCE,
    PGD,
    SLIDE,
    AutoAttack,
    AutoAttackPlus,
    CarliniWagner,
    QuickAutoAttack,
    Suite,
    record,
    suite,
    suite_names,
)
from advdpnp.callbacks import Silent
from advdpnp.data import SPECS, spec
from advdpnp.experiments import experiment
from advdpnp.runs import read_json
from external.networks import digits, trained

CIFAR10 = Radii(SPECS["cifar10"].radii, "cifar10", 3072)
DIGITS = Radii(SPECS["digits"].radii, "digits", 64)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=0", "recipe.attack.steps=1")
    return api.train(experiment("digits/tiny/at", settings=settings), tmp_path_factory.mktemp("runs")).folder


@pytest.mark.parametrize("name", [name for name in suite_names() if name not in ("clean", "corruptions")])
def test_every_suite_has_the_same_attacks_in_l2_under_a_name_of_its_own(name: str) -> None:
    found, linf = suite(name, 0.5, norm="l2"), suite(name, 0.1)
    assert found.name == f"{name}-l2" and {one.norm for one in found.attacks} == {"l2"}
    assert found.features is None or found.attacks[found.features].name == "pgd"
    kinds = [(one.name, one.steps) for one in linf.attacks if one.norm == "linf"]
    assert [(one.name, one.steps) for one in found.attacks] == kinds


def test_the_usual_radius_in_l2_is_that_of_robustbench_where_there_is_one() -> None:
    assert suite_of("autoattack", CIFAR10, "l2") == suite("autoattack", 0.5, norm="l2")
    assert suite_of("autoattack", CIFAR10, "l2").attacks == (AutoAttack(eps=0.5, norm="l2"),)
    assert spec("cifar10-c/fog/3").radii == {"linf": 8 / 255, "l2": 0.5, "l1": 2000 / 255}
    assert "l2" not in spec("cifar100").radii
    with pytest.raises(ValueError, match=r"digits has no usual radius in l2: give one, as --eps 59/255, or in"):
        suite_of("quick", DIGITS, "l2")


def test_a_name_tells_norm_and_radius() -> None:
    def named(eps: float | None, norm: str | None) -> str:
        return suite_of("quick", Radii(CIFAR10.usual, "cifar10", 3072, eps), norm).name

    assert (named(None, None), named(None, "linf"), named(None, "l2")) == ("quick", "quick", "quick-l2")
    assert (named(4 / 255, None), named(1.0, "l2"), named(0.5, "l2")) == (
        "quick-eps-4-255", "quick-l2-eps-1", "quick-l2"
    )  # fmt: skip
    assert suite_of(["pgd"], CIFAR10, "l2").name == "custom-l2" and suite_of(["pgd"], CIFAR10).name == "custom"
    assert suite_of("clean", DIGITS, "l2").name == "clean"


def test_attacks_by_hand_get_the_radius_of_their_own_norm() -> None:
    linf, l2 = suite_of(["cw", "pgd:norm=l2,steps=3"], CIFAR10).attacks
    assert linf == CarliniWagner(eps=8 / 255) and l2 == PGD(eps=0.5, norm="l2", steps=3)
    (own,) = suite_of(["apgd-ce"], CIFAR10, "l2").attacks
    assert own == APGDCE(eps=0.5, norm="l2")
    assert attack_by_hand("pgd:norm=l2", Radii(CIFAR10.usual, "x", 3072, 0.25)) == PGD(eps=0.25, norm="l2")


def test_in_l1_the_radius_is_that_of_the_data_set_or_asked_for() -> None:
    assert {name: spec(name).radii.get("l1") for name in SPECS} == {
        "cifar10": 2000 / 255, "cifar100": 2000 / 255, "svhn": 2000 / 255, "mnist": 10.0, "digits": None
    }  # fmt: skip
    assert attack_by_hand("apgd-ce:norm=l1", CIFAR10) == APGDCE(eps=2000 / 255, norm="l1")
    # 8/255 in linf is 2000/255 in l1 at 3x32x32, so 0.1 in linf is 0.1 x 250 x 64 / 3072 at 8x8: 133/255.
    with pytest.raises(ValueError, match=r"no usual radius in l1: give one, as --eps 133/255, .*wide as 0.1 in linf"):
        attack_by_hand("apgd-ce:norm=l1", DIGITS)


def test_pgd_in_l1_has_a_hundred_steps_of_50_255_and_names_its_variant() -> None:
    pgd = attack_by_hand("pgd:norm=l1,ascent=dense", CIFAR10)
    assert pgd.steps == 100 and pgd.step_size == pytest.approx(50 / 255)
    assert record(pgd)["ascent"] == "dense" and "ascent" not in record(attack_by_hand("pgd:norm=l1", CIFAR10))
    assert record(attack_by_hand("slide", CIFAR10)) == record(SLIDE(eps=2000 / 255))
    assert (PGD().steps, PGD(norm="l2").steps, PGD(norm="l1", steps=20).steps) == (20, 20, 20)
    for refused in ("pgd:ascent=dense", "pgd:norm=l2,ascent=rescaled"):
        with pytest.raises(ValueError, match=r"is a variant of PGD in l1; got norm l"):
            attack_by_hand(refused, CIFAR10)


@pytest.mark.parametrize("name", [name for name in suite_names() if name not in ("clean", "corruptions")])
def test_every_suite_is_there_in_l1(name: str) -> None:
    found = suite(name, 2000 / 255, norm="l1")
    assert found.name == f"{name}-l1" and {one.norm for one in found.attacks} == {"l1"}
    assert found.features is None or found.attacks[found.features].name == "pgd"
    if name == "quick":
        assert found.attacks == (PGD(eps=2000 / 255, norm="l1"), SLIDE(eps=2000 / 255))
    elif name == "norms":
        # The paper: step 50/255, 100 iterations.
        weak = PGD(eps=2000 / 255, norm="l1", steps=100, step_size=50 / 255)
        assert found.attacks == (weak, SLIDE(eps=2000 / 255)) == suite(name, 8 / 255).attacks[2:]
    else:
        assert [(one.name, one.steps) for one in found.attacks] == [
            (one.name, one.steps) for one in suite(name, 0.1).attacks
        ]


@pytest.mark.parametrize("norm", ["L1", "L2", 2, ""])
def test_a_norm_without_suites_is_refused_with_those_that_there_are(norm: Any) -> None:
    with pytest.raises(ValueError, match=r"norm must be one of linf, l2, l1; got"):
        suite_of("quick", CIFAR10, norm)


def test_a_wide_radius_in_linf_is_asked_about() -> None:
    assert "meant in l2, give norm l2" in Radii(CIFAR10.usual, "cifar10", 3072, 0.5).remark(None)
    assert not any(Radii(CIFAR10.usual, "cifar10", 3072, eps).remark(None) for eps in (None, 16 / 255))
    assert not Radii(CIFAR10.usual, "cifar10", 3072, 0.5).remark("linf")
    with pytest.raises(ValueError, match=r"got 2\. Did you mean 2 / 255\? Or is it a radius in l2 \(norm l2\)\?"):
        suite_of("quick", Radii(CIFAR10.usual, "cifar10", 3072, 2.0))


def test_results_in_two_norms_lie_side_by_side(run: Path) -> None:
    api.evaluate(run, "pgd20", limit=20)
    api.evaluate(run, "pgd20", limit=20, norm="l2", eps="1/2")
    stored = {path.name: read_json(path) for path in (run / "eval").glob("*.json")}
    assert {name: (one["suite"], one["attacks"][0]["norm"]) for name, one in stored.items()} == {
        "pgd20.json": ("pgd20", "linf"),
        "pgd20-l2-eps-0.5.json": ("pgd20-l2-eps-0.5", "l2"),
    }
    with pytest.raises(FileNotFoundError, match=r"pgd20-l2\.json"):
        api.compare(run, run, "pgd20-l2")


def test_verdicts_in_l2_are_those_of_the_attack_itself() -> None:
    x, y = digits().batch(torch.arange(40))
    attack, model = PGD(eps=0.5, norm="l2"), trained()
    found = advdpnp.evaluate(model, x, y, suite="pgd20", norm="l2", eps=0.5)
    assert found["suite"] == "pgd20-l2" and found["attacks"][0]["name"] == "pgd"
    right = (model(attack(model, x, y)).argmax(1) == y).double().mean().item()
    assert found["attacks"][0]["robust_accuracy"] == right


@pytest.mark.parametrize(
    ("name", "attack", "refused"),
    [
        ("autoattack", PGD(), True),
        ("autoattack", AutoAttack(), True),
        ("autoattack-l2", PGD(), True),
        ("autoattack-mine", PGD(), True),
        ("autoattack-l2", AutoAttack(norm="l2"), False),
        ("autoattack-mine", AutoAttack(), False),
        ("autoattack-mine", QuickAutoAttack(), True),
        ("autoattack-quick-mine", QuickAutoAttack(), False),
        ("autoattack-plus-mine", AutoAttack(), True),
        ("autoattack-mine", AutoAttackPlus(), True),
        ("autoattack-plus-mine", AutoAttackPlus(), False),
        ("quick", PGD(), True),
        ("quick-l2", PGD(), True),
        ("quick-eps-0.3", PGD(), True),
        ("quick-look", PGD(), False),
        ("pgd20", PGD(), True),
        ("a/b", PGD(), True),
        ("..", PGD(), True),
        ("mine.partial", PGD(), True),
        ("mine-2.1", PGD(), False),
    ],
)
def test_attacks_by_hand_do_not_take_the_name_of_a_suite(name: str, attack: Any, refused: bool) -> None:
    if not refused:
        assert suite_of(attack, CIFAR10, name=name).name == name
        return
    with pytest.raises(ValueError, match="attacks by hand need a name of their own"):
        suite_of(attack, CIFAR10, name=name)


def test_a_suite_object_of_other_attacks_is_not_called_autoattack() -> None:
    for name in ("autoattack", "quick"):
        with pytest.raises(ValueError, match=f"{name} is the name of a suite with other attacks"):
            suite_of(Suite(name, "", (PGD(),), None), CIFAR10)
    with pytest.raises(ValueError, match="reads like the suite autoattack"):
        suite_of(Suite("autoattack-l2", "", (PGD(),), None), CIFAR10)
    assert suite_of(suite("autoattack", 4 / 255), CIFAR10).attacks == (AutoAttack(eps=4 / 255),)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"suite": PGD}, "an attack such as PGD"),
        ({"suite": 5}, "got int"),
        ({"suite": None}, "got NoneType"),
        ({"suite": [PGD(), 5]}, "got int"),
        ({"suite": "pgd"}, "pgd is an attack: give it by hand"),
        ({"suite": PGD(eps=0.1), "eps": 0.2}, "leave eps out"),
        ({"suite": PGD(eps=0.1), "norm": "l2"}, "give the attack its norm"),
        ({"suite": "pgd20", "eps": "x/255"}, "a budget is a number or a fraction"),
        ({"suite": "pgd20", "eps": "-0.1"}, "eps must be at least 0"),
        ({"suite": "pgd20", "resume": True}, "give the file that keeps what is found"),
        ({"suite": suite("pgd20", 0.1), "norm": "l2"}, "norm changes a suite by name"),
    ],
)
def test_a_protocol_that_is_none_is_refused_in_one_line(arguments: dict[str, Any], said: str) -> None:
    x, y = digits().batch(torch.arange(20))
    with pytest.raises(ValueError) as refused:
        advdpnp.evaluate(trained(), x, y, **arguments)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_one_attack_is_a_protocol_and_a_radius_may_be_a_text() -> None:
    x, y = digits().batch(torch.arange(20))
    one = advdpnp.evaluate(trained(), x, y, suite=PGD(eps=8 / 255))
    other = advdpnp.evaluate(trained(), x, y, suite="pgd20", eps="8/255")
    assert [row["verdicts"] for row in one["attacks"]] == [row["verdicts"] for row in other["attacks"]]
    assert [record(PGD(eps=8 / 255))["eps"]] == [row["eps"] for row in other["attacks"]]


class Stop(Silent):
    """Ctrl-C after the second chunk."""

    left = 2

    def on_images(self, images: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_images_in_memory_resume_from_a_file_of_their_own(tmp_path: Path) -> None:
    x, y = digits().batch(torch.arange(60))
    part, model = tmp_path / "part.json", trained()
    how: dict[str, Any] = {"suite": "pgd20", "eps": 0.1, "chunk": 16, "seed": 3}
    with pytest.raises(KeyboardInterrupt):
        advdpnp.evaluate(model, x, y, **how, resume=part, callback=Stop())
    with pytest.raises(ValueError, match="another protocol"):
        advdpnp.evaluate(model, x.flip(0), y.flip(0), **how, resume=part)
    resumed, whole = (advdpnp.evaluate(model, x, y, **how, resume=kept) for kept in (part, None))
    assert not part.exists() and resumed["seed"] == 3
    assert resumed["attacks"][0]["verdicts"] == whole["attacks"][0]["verdicts"]
