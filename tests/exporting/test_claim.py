from pathlib import Path

import pytest

from advdpnp.exporting import Claim
from advdpnp.exporting.claim import claim_json, obstacles
from advdpnp.exporting.robustbench import architecture

from .conftest import make_run, make_subject, store_result

FIELDS = (
    "link name authors additional_data number_forward_passes dataset venue architecture eps clean_acc reported "
    "autoattack_acc footnote unreliable"
).split()
NETWORK = architecture("wrn-10-1", (3, 32, 32), 10)
SAID = Claim("https://example.org", "A paper", "A. Person, B. Person", "Somewhere 2026")


def test_without_results_nothing_is_claimed(tmp_path: Path) -> None:
    subject = make_subject(make_run(tmp_path, "cifar10/wrn-10-1/at"))
    claim = claim_json(subject, NETWORK)
    assert list(claim) == FIELDS
    assert claim["clean_acc"] is claim["reported"] is claim["autoattack_acc"] is None
    assert claim["eps"] == "8/255" and claim["architecture"] == "WideResNet-10-1"
    assert "AutoAttack has not been run" in claim["footnote"]
    assert [text for text in obstacles(subject) if "link, name, authors, venue" in text]


def test_percents_are_text_with_two_digits_and_reported_is_the_lowest_at_the_radius(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    rows = [
        ("pgd", "8/255", 20, "2/255", 0.5),
        ("cw", "8/255", 30, "2/255", 0.46789),
        ("pgd", "16/255", 20, "2/255", 0.1),
    ]
    store_result(run, "quick", "cifar10", 1000, rows)
    claim = claim_json(make_subject(run, SAID), NETWORK)
    assert (claim["clean_acc"], claim["reported"], claim["autoattack_acc"]) == ("82.50", "46.79", None)
    assert "C&W-30 on 1,000 test images" in claim["footnote"]
    assert (claim["link"], claim["authors"]) == ("https://example.org", "A. Person, B. Person")


def test_autoattack_on_all_test_images_leaves_no_obstacle(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    store_result(run, "autoattack", "cifar10", 10_000, [("autoattack", "8/255", 1, "1/255", 0.4531)])
    subject = make_subject(run, SAID)
    assert claim_json(subject, NETWORK)["autoattack_acc"] == "45.31"
    assert obstacles(subject) == []


@pytest.mark.parametrize(
    ("attack", "precision", "said"),
    [("autoattack-quick", "fp32", "AutoAttack (quick tier)"), ("autoattack", "bf16", "AutoAttack searched in bf16")],
)
def test_less_than_autoattack_as_published_is_reported_under_its_own_name(
    tmp_path: Path, attack: str, precision: str, said: str
) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    rows = [(attack, "8/255", None, None, 0.4531)]
    store_result(run, "mine", "cifar10", 10_000, rows, search_precision=precision)
    subject = make_subject(run, SAID)
    claim = claim_json(subject, NETWORK)
    assert (claim["reported"], claim["autoattack_acc"]) == ("45.31", None)
    assert f"Reported: {said} on 10,000 test images." in claim["footnote"]
    assert any("AutoAttack has not been run as published" in text for text in obstacles(subject))


def test_results_of_other_data_other_weights_or_few_images_make_no_claim(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    rows = [("autoattack", "8/255", 1, "1/255", 0.9)]
    store_result(run, "elsewhere", "cifar10-c/fog/3", 10_000, rows)
    store_result(run, "earlier", "cifar10", 10_000, rows, epoch=0)
    store_result(run, "best", "cifar10", 10_000, rows, checkpoint="best")
    assert claim_json(make_subject(run, SAID), NETWORK)["autoattack_acc"] is None
    store_result(run, "few", "cifar10", 500, rows)
    assert [text for text in obstacles(make_subject(run, SAID)) if "all 10,000 test images" in text]


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_only_data_with_a_leaderboard_goes_unmentioned(data: str, tmp_path: Path) -> None:
    subject = make_subject(make_run(tmp_path, f"{data}/wrn-10-1/at"), SAID)
    assert not [text for text in obstacles(subject) if "leaderboard" in text]
