from pathlib import Path
from typing import Any

import pytest

from advdpnp.exporting import PaperReference
from advdpnp.exporting.paper_reference import model_info_json, obstacles
from advdpnp.exporting.robustbench import architecture

from .conftest import make_exported, make_run, store_result

FIELDS = (
    "link name authors additional_data number_forward_passes dataset venue architecture eps clean_acc reported "
    "autoattack_acc footnote unreliable"
).split()
NETWORK = architecture("wrn-10-1", (3, 32, 32), 10)
SAID = PaperReference("https://example.org", "A paper", "A. Person, B. Person", "Somewhere 2026")


def test_without_results_nothing_is_claimed(tmp_path: Path) -> None:
    exported = make_exported(make_run(tmp_path, "cifar10/wrn-10-1/at"))
    reference = model_info_json(exported, NETWORK)
    assert list(reference) == FIELDS
    assert reference["clean_acc"] is reference["reported"] is reference["autoattack_acc"] is None
    assert reference["eps"] == "8/255" and reference["architecture"] == "WideResNet-10-1"
    assert "AutoAttack has not been run" in reference["footnote"]
    assert [text for text in obstacles(exported) if "link, name, authors, venue" in text]


def test_percents_are_text_with_two_digits_and_reported_is_the_lowest_at_the_radius(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    rows = [
        ("pgd", "8/255", 20, "2/255", 0.5),
        ("cw", "8/255", 30, "2/255", 0.46789),
        ("pgd", "16/255", 20, "2/255", 0.1),
    ]
    store_result(run, "quick", "cifar10", 1000, rows)
    reference = model_info_json(make_exported(run, SAID), NETWORK)
    assert (reference["clean_acc"], reference["reported"], reference["autoattack_acc"]) == ("82.50", "46.79", None)
    assert "C&W-30 on 1,000 test images" in reference["footnote"]
    assert (reference["link"], reference["authors"]) == ("https://example.org", "A. Person, B. Person")


def test_autoattack_on_all_test_images_leaves_no_obstacle(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    store_result(run, "autoattack", "cifar10", 10_000, [("autoattack", "8/255", 1, "1/255", 0.4531)])
    exported = make_exported(run, SAID)
    assert model_info_json(exported, NETWORK)["autoattack_acc"] == "45.31"
    assert obstacles(exported) == []


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
    exported = make_exported(run, SAID)
    reference = model_info_json(exported, NETWORK)
    assert (reference["reported"], reference["autoattack_acc"]) == ("45.31", None)
    assert f"Reported: {said} on 10,000 test images." in reference["footnote"]
    assert any("AutoAttack has not been run as published" in text for text in obstacles(exported))


@pytest.mark.parametrize(
    "how", [{"transfer": {"source": "another", "weights": "0" * 64}}, {"eot": 20}], ids=["transfer", "eot"]
)
def test_images_of_another_network_and_means_of_draws_are_no_record(tmp_path: Path, how: dict[str, Any]) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    store_result(run, "mine", "cifar10", 10_000, [("autoattack", "8/255", None, None, 0.9)], **how)
    reference = model_info_json(make_exported(run, SAID), NETWORK)
    assert (reference["reported"], reference["autoattack_acc"]) == (None, None)


def test_results_of_other_data_other_weights_or_few_images_make_no_claim(tmp_path: Path) -> None:
    run = make_run(tmp_path, "cifar10/wrn-10-1/at")
    rows = [("autoattack", "8/255", 1, "1/255", 0.9)]
    store_result(run, "elsewhere", "cifar10-c/fog/3", 10_000, rows)
    store_result(run, "earlier", "cifar10", 10_000, rows, epoch=0)
    store_result(run, "best", "cifar10", 10_000, rows, checkpoint="best")
    assert model_info_json(make_exported(run, SAID), NETWORK)["autoattack_acc"] is None
    store_result(run, "few", "cifar10", 500, rows)
    assert [text for text in obstacles(make_exported(run, SAID)) if "all 10,000 test images" in text]


@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_only_data_with_a_leaderboard_goes_unmentioned(data: str, tmp_path: Path) -> None:
    exported = make_exported(make_run(tmp_path, f"{data}/wrn-10-1/at"), SAID)
    assert not [text for text in obstacles(exported) if "leaderboard" in text]
