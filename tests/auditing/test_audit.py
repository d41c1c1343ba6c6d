"""Whole audits: the verdict, its numbers, where it is stored, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

import advdpnp
from advdpnp.audit_files import audit_name, is_audit
from advdpnp.auditing import Audit, Check
from advdpnp.auditing.attack_checks import PGD_NAME
from advdpnp.auditing.findings import Found
from advdpnp.auditing.rounds import Rounds
from advdpnp.auditing.run_audit import concluded, weigh
from advdpnp.auditing.subject import Subject
from advdpnp.callbacks import Silent
from advdpnp.cli import app
from advdpnp.evaluation.lone_attacks import with_lone_attack_warnings
from advdpnp.results import evaluations
from advdpnp.runs import Run, read_json
from auditing.networks import Mean, images, with_gradient
from training.small import small_experiment

# A right image is robust in linf exactly below its distance from 1/2, which is 0.1 to 0.11, or 0.3 to 0.33.
NEAR, FAR = images(24, 0.1), images(24, 0.3)


def audited(model: nn.Module, of: tuple[Tensor, Tensor] = NEAR, eps: float = 0.15) -> Audit:
    found = advdpnp.audit(model, *of, eps=eps)
    assert isinstance(found, Audit)
    return found


@pytest.mark.slow
def test_a_robust_linear_network_is_not_masked_whatever_its_scale() -> None:
    robust, steeper = audited(Mean(), FAR), audited(Mean(after=lambda z: 3 * z), FAR)
    assert robust.verdict == steeper.verdict == "no sign of masking"
    assert [robust.numbers[name] for name in ("clean", "claimed", "lowest")] == [1, 1, 1]


def test_numbers_of_a_linear_network_are_those_of_its_closed_form() -> None:
    broken = audited(Mean(), NEAR)
    assert broken.verdict == "no sign of masking"
    # 0 % robust is not masked.
    assert [broken.numbers[name] for name in ("clean", "claimed", "lowest")] == [1, 0, 0]
    # Half of eps is below the distance, the whole is not: eps 0.0375, 0.075, 0.15, ...
    assert broken.curves["eps"]["accuracy"][:4] == [1, 1, 1, 0]


def test_a_scale_that_hides_broken_images_is_masked() -> None:
    hidden = audited(Mean(after=lambda z: 1e4 * z), NEAR)
    assert hidden.verdict == "masked"
    assert hidden.numbers["claimed"] > 0.9 and hidden.numbers["lowest"] == 0
    assert "vanishes" in hidden.conclusion


@pytest.mark.slow
def test_flipped_gradients_are_masked() -> None:
    found = audited(with_gradient(lambda g: -g))
    assert found.verdict == "masked"
    assert found.numbers["claimed"] == 1 and found.numbers["lowest"] == 0
    assert {check.name: check.verdict for check in found.checks}["black box"] in ("masked", "passed", "not measured")


def test_a_network_that_is_no_function_is_refused_and_not_attacked() -> None:
    found = audited(Mean(after=lambda z: z + torch.randn_like(z)))
    assert found.verdict == "refused" and "claimed" not in found.numbers
    assert found.checks[-1].name == "randomness"


def test_a_backward_that_fails_refuses_the_network_in_its_own_words() -> None:
    def fail(_: Tensor) -> Tensor:
        raise RuntimeError("this layer has no backward")

    found = audited(with_gradient(fail))
    assert found.verdict == "refused" and "no backward" in found.checks[-1].measured


def test_a_network_that_fails_on_images_of_an_attack_is_refused() -> None:
    calls = 0

    def after(z: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 60:
            raise ValueError("out of paper\nand of ink")
        return z

    found = audited(Mean(after=after))
    assert found.verdict == "refused" and found.checks[-1].measured == "the network fails: out of paper"
    assert found.numbers == {}


def weighed(name: str, verdict: Found, claimed: int, lowest: int) -> str:
    """What becomes of a check that PGD leaves `claimed` of 100 images of, and all attacks `lowest`."""
    x, y = images(100)
    rounds = Rounds(Subject(Mean(), x, y, "linf", 0.1), Silent(), torch.arange(100) < lowest)
    rounds.alone[PGD_NAME] = torch.arange(100) < claimed
    (check,) = weigh([Check(name, verdict, "", "")], rounds)
    return check.verdict


@pytest.mark.parametrize(
    "name, verdict, claimed, lowest, wanted",
    [
        # A loss without a gradient, where PGD is right all the same.
        ("saturated loss", "masked", 80, 80, "suspicious"),
        ("saturated loss", "masked", 90, 80, "masked"),
        ("confidence", "suspicious", 80, 80, "suspicious"),
        ("confidence", "suspicious", 80, 60, "masked"),
        ("finite differences", "suspicious", 80, 60, "masked"),
    ],
)
def test_signs_weigh_more_where_the_number_is_wrong(
    name: str, verdict: Found, claimed: int, lowest: int, wanted: str
) -> None:
    assert weighed(name, verdict, claimed, lowest) == wanted


def test_a_norm_that_is_masked_leaves_the_other_its_number() -> None:
    checks = [
        Check("white box", "passed", "", ""),
        Check("other norm (l2)", "suspicious", "19 of 25 images fall under FAB-T", "", "trust fab-t there"),
    ]
    said = concluded("suspicious", checks, {"claimed": 0.7, "scale_free": 0.68, "lowest": 0.68}, 100)
    assert (
        "as of an honest network" in said and "In the other norm (l2) PGD and APGD are misled: 19 of 25 images" in said
    )


def test_a_forecast_comes_before_the_attacks_which_are_told_one_by_one() -> None:
    told: list[Any] = []

    class Told(Silent):
        def on_forecast(self, seconds: float) -> None:
            told.append(seconds)

        def on_attack(self, name: str, images: int) -> None:
            told.append((name, images))

    advdpnp.audit(Mean(), *NEAR, eps=0.15, callback=Told())
    assert isinstance(told[0], float) and 0 < told[0] < 60
    # All are broken by the first attack, so none is left for the others at this radius.
    assert told[1:4] == [("PGD-20", 24), ("random noise", 0), ("FGSM", 0)]


def test_one_output_is_two_classes() -> None:
    class One(Mean):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)[:, 1:]

    found = audited(One(), NEAR)
    assert found.verdict == "no sign of masking" and found.numbers["claimed"] == 0


def test_a_network_in_float64_that_casts_its_images_is_audited_as_it_is() -> None:
    # A copy in float32 would not run.
    found = audited(Mean(before=lambda x: x.double()).double(), NEAR)
    assert found.verdict == "no sign of masking" and found.numbers["claimed"] == 0


def test_every_check_says_what_it_expects_and_every_alarm_what_to_do() -> None:
    for check in (*audited(Mean(after=lambda z: 1e4 * z)).checks, *audited(Mean(), NEAR).checks):
        assert check.measured and check.expected
        assert check.advice or check.verdict in ("passed", "not measured")


def test_the_same_audit_gives_the_same_words() -> None:
    first, second = (audited(Mean(after=lambda z: 1e4 * z)).as_json() for _ in range(2))
    assert first == second
    json.dumps(first, allow_nan=False)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"eps": 8}, r"eps must be in \[0, 1\]"),
        ({"eps": 0}, "eps must be above 0"),
        ({"norm": "l1", "eps": 0.1}, "norm must be one of linf, l2; got 'l1'"),
        ({"norm": "l2"}, "no usual radius in l2"),
        ({"eps": 0.1, "limit": 100}, "--limit must be from 1 to 24"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advdpnp.audit(Mean(), *NEAR, **options)


def test_images_out_of_range_are_no_networks_fault() -> None:
    with pytest.raises(ValueError, match="images must be in"):
        advdpnp.audit(Mean(), 255 * NEAR[0], NEAR[1], eps=0.1)


def test_names_of_audits_are_none_of_evaluations() -> None:
    assert audit_name("linf", 0.1, 0.1) == "audit"
    assert audit_name("l2", 0.5, None) == "audit-l2-eps-0.5"
    assert is_audit(Path("audit.json")) and is_audit(Path("audit-l2.json")) and is_audit(Path("audit@mnist.json"))
    assert not is_audit(Path("auditory.json")) and not is_audit(Path("quick.json"))


@pytest.mark.slow
def test_a_run_stores_its_audit_beside_its_evaluations(tmp_path: Path) -> None:
    advdpnp.train(small_experiment("adv-dpnp"), out=tmp_path)
    folder = tmp_path / "digits/tiny/adv-dpnp/seed-0"
    done = CliRunner().invoke(app, ["audit", str(folder), "--limit", "12", "--json"])
    assert done.exit_code == 0, done.output
    stored = read_json(folder / "eval/audit.json")
    printed = json.loads(done.stdout)
    assert {name: stored[name] for name in printed} == printed
    assert (stored["data"], stored["checkpoint"], stored["norm"], stored["eps"], stored["n"]) == (
        *("digits", "last", "linf", "0.1"),
        12,
    )
    # The defense's own objective is known.
    adaptive = next(check for check in stored["checks"] if check["name"] == "adaptive loss")
    assert adaptive["verdict"] in ("passed", "not measured") and "objective" in adaptive["measured"]
    assert (folder / "eval/audit.svg").read_text().startswith("<?xml")
    # It is no evaluation, and a report reads on.
    assert evaluations(Run(folder), "digits") == []


def test_errors_of_the_command_are_one_line() -> None:
    done = CliRunner().invoke(app, ["audit"])
    assert done.exit_code == 2 and "either the folder of a run, or --model" in done.output


def searches(*broken: int, n: int = 100) -> dict[str, Any]:
    """A result of AutoAttack in which the parts break so many of n images."""
    rows, left = [], n
    for name, count in zip(("apgd-ce", "apgd-t", "fab-t", "square"), broken, strict=True):
        rows.append({"name": name, "attacked": left, "broken": count})
        left -= count
    return {"n": n, "attacks": [{"name": "autoattack", "norm": "l2", "searches": rows}]}


def test_autoattack_warns_where_a_part_does_alone_what_the_others_do_not() -> None:
    assert "warnings" not in with_lone_attack_warnings(searches(50, 4, 0, 0))
    assert "warnings" not in with_lone_attack_warnings(searches(0, 0, 0, 0))
    (text,) = with_lone_attack_warnings(searches(8, 4, 88, 0))["warnings"]
    assert "in l2 FAB-T breaks 88 of 88 images that APGD-CE and APGD-T together left standing" in text
    (text,) = with_lone_attack_warnings(searches(0, 0, 0, 30))["warnings"]
    assert "Square breaks 30 of 100 images that APGD-CE, APGD-T and FAB-T together left standing" in text
    result = searches(10, 80, 0, 0) | {"warnings": ["another"]}
    other, text = with_lone_attack_warnings(result)["warnings"]
    assert other == "another" and "APGD-T breaks 80 of 90 images that APGD-CE left standing" in text
    # Said once, also where shards are merged.
    again = with_lone_attack_warnings(with_lone_attack_warnings(result))
    assert again["warnings"] == [other, text]
