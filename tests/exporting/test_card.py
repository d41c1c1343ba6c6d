from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from advdpnp.exporting.card import card, not_measured
from advdpnp.runs import read_json, write_json

from .conftest import make_exported, make_run, store_result

ENVIRONMENT = {
    "advdpnp": "0.1.0",
    "torch": "2.13.0",
    "python": "3.11.7",
    "device": "cpu",
    "commit": "abc",
    "dirty": False,
}
FILE = {"name": "model.safetensors", "format": "safetensors", "bytes": 1234, "sha256": "0" * 64, "about": "weights",
        "checked": ""}  # fmt: skip


def text_of(run: object, **options: str) -> str:
    return card(make_exported(run, **options), [FILE], ENVIRONMENT)  # type: ignore[arg-type]


def matter(text: str) -> dict[str, object]:
    return yaml.safe_load(text.split("---\n")[1])


def test_every_number_comes_with_protocol_and_interval(tmp_path: Path) -> None:
    run = make_run(tmp_path, "mnist/tiny/at")
    store_result(run, "quick", "mnist", 1000, [("pgd", "0.3", 40, "0.01", 0.117)])
    text = text_of(run)
    # Wilson by hand: 117 of 1000 and 825 of 1000.
    assert "| PGD-40 | ℓ∞ | 0.3 | 40 | 0.01 | random | 1 | 11.7 % | 9.9 to 13.8 % |" in text
    assert "| none (clean images) | | | | | | | 82.5 % | 80.0 to 84.7 % |" in text
    assert "1,000 test images of mnist (numbers 0-999)" in text
    assert "worst case: right on the clean image and under every attack above" in text
    assert matter(text)["model-index"][0]["results"][0]["metrics"][1]["value"] == 0.117  # type: ignore[index]


def test_attacks_that_differ_in_a_setting_alone_are_told_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    store_result(run, "mine", "digits", 360, [("mi-fgsm", "0.1", 10, "0.01", accuracy) for accuracy in (0.5, 0.4)])
    path = run.eval_path("mine.json")
    stored = read_json(path)
    for row, decay in zip(stored["attacks"], (0.5, 1.0), strict=True):
        row["decay"] = decay
    write_json(path, stored)
    text = text_of(run)
    assert "| MI-FGSM-10, decay = 0.5 | ℓ∞ | 0.1 | 10 | 0.01 | the image | 1 | 50.0 % |" in text
    assert "| MI-FGSM-10, decay = 1 | ℓ∞ | 0.1 | 10 | 0.01 | the image | 1 | 40.0 % |" in text


def test_a_run_without_results_is_not_called_robust(tmp_path: Path) -> None:
    text = text_of(make_run(tmp_path, "digits/tiny/adv-dpnp"))
    assert "**No measured robustness.**" in text and "Do not call this classifier robust." in text
    assert "model-index" not in matter(text)
    assert " %" not in text.replace("95 %", "")


@pytest.mark.parametrize("tier", ["autoattack", "autoattack-plus"])
def test_what_was_not_measured_is_said_and_only_that(tmp_path: Path, tier: str) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    assert "AutoAttack has not been run." in not_measured(make_exported(run))
    rows = [(tier, "0.1", 1, "0.1", 0.4), ("adaptive-pgd", "0.1", 20, "0.1", 0.4)]
    store_result(run, "all", "digits", 360, rows)
    said = " ".join(not_measured(make_exported(run)))
    assert (
        "AutoAttack" not in said and "gradients" not in said and "objective" not in said and "test images" not in said
    )
    assert "No ℓ2 attack" in said and "ℓ∞" not in said and "common corruptions" in said


def test_the_quick_tier_is_no_autoattack_but_an_attack_without_gradients(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    store_result(run, "autoattack-quick", "digits", 360, [("autoattack-quick", "0.1", None, None, 0.4)])
    said = not_measured(make_exported(run))
    assert "AutoAttack has not been run; its quick tier is no substitute." in said
    assert not [text for text in said if "without gradients" in text]
    text = text_of(run)
    assert "| AutoAttack (quick tier) | ℓ∞ | 0.1 | its own | its own | the image | 1 | 40.0 % |" in text
    assert "None" not in text


def test_autoattack_in_another_norm_than_that_of_training_is_named_with_its_norm(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    store_result(run, "l2", "digits", 360, [("autoattack", "0.5", None, None, 0.4)])
    path = run.eval_path("l2.json")
    stored = read_json(path)
    stored["attacks"][0]["norm"] = "l2"
    write_json(path, stored)
    assert "AutoAttack has not been run in ℓ∞." in not_measured(make_exported(run))


def test_precision_and_notes_of_the_attacks_are_on_the_card(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    store_result(run, "mine", "digits", 360, [("apgd-t", "0.1", 100, None, 0.4)], search_precision="bf16")
    path = run.eval_path("mine.json")
    stored = read_json(path)
    stored["attacks"][0]["notes"] = ["apgd-t: 3 classes"]
    write_json(path, stored)
    text = text_of(run)
    assert "Attacks searched in bf16; the verdicts are those of fp32." in text and "apgd-t: 3 classes." in text


def test_results_of_weights_that_were_trained_again_are_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    rows = [("pgd", "0.1", 20, "0.01", 0.777)]
    store_result(run, "quick", "digits", 360, rows, weights="0" * 64)
    assert "77.7" not in text_of(run)
    store_result(run, "quick", "digits", 360, rows, weights=sha256(run.weights_path("last").read_bytes()).hexdigest())
    assert "77.7" in text_of(run)


def test_results_of_other_weights_are_named_and_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    store_result(run, "quick", "digits", 360, [("pgd", "0.1", 20, "0.01", 0.777)], checkpoint="best", epoch=9)
    text = text_of(run)
    assert "77.7" not in text and "result `quick` of other weights (checkpoint best, epoch 9)" in text


def test_every_field_of_the_experiment_is_there(tmp_path: Path) -> None:
    text = text_of(make_run(tmp_path, "digits/tiny/adv-dpnp"))
    for line in (
        "| defense.alpha | 40.0 |",
        "| recipe.attack.start | uniform |",
        "| backbone | tiny |",
        "| seed | 0 |",
    ):
        assert line in text
    assert "0" * 64 + "  model.safetensors" in text and "commit abc" in text


@pytest.mark.parametrize(
    "said, expected",
    [
        ("MIT", {"license": "mit"}),
        ("CC-BY-4.0", {"license": "cc-by-4.0"}),
        ("Ask: | me", {"license": "other", "license_name": "Ask: | me"}),
    ],
)
def test_the_license_is_one_that_hubs_know_or_text(said: str, expected: dict[str, str], tmp_path: Path) -> None:
    text = text_of(make_run(tmp_path, "digits/tiny/at"), license=said)
    assert expected.items() <= matter(text).items()


@pytest.mark.parametrize("said", ["", "  ", "MIT\n---\nlicense: none"])
def test_a_license_of_no_or_several_lines_is_refused(said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--license must be one line"):
        text_of(make_run(tmp_path, "digits/tiny/at"), license=said)


def test_hostile_names_in_results_stay_inside_their_cell(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    hostile = "x | <script>alert(1)</script>\n\n# {{ 7 * 7 }}"
    store_result(run, "quick", hostile, 360, [("pgd", "0.1", 20, "0.01", 0.5)], indices=hostile)
    text = text_of(run)
    assert "<script>" not in text.split("---\n", 2)[2] and "\n# {{" not in text and "{{ 7 * 7 }}" in text
    assert matter(text)["model-index"][0]["results"][0]["dataset"]["name"] == hostile  # type: ignore[index]


def test_names_are_no_links_and_end_no_code(tmp_path: Path) -> None:
    run = make_run(tmp_path, "digits/tiny/at")
    odd = "[free](http://x) ![x](http://y) `rm` \x1b[2J\u202e"
    store_result(run, "quick", odd, 360, [("pgd", "0.1", 20, "0.01", 0.5)])
    path = run.eval_path("quick.json")
    write_json(path, read_json(path) | {"checkpoint": "best", "weights": "0" * 64, "suite": "a`b"})
    text = text_of(run).split("---\n", 2)[2]
    assert "the run also has a result `a'b` of other weights" in text.lower()
    store_result(run, "quick", odd, 360, [("pgd", "0.1", 20, "0.01", 0.5)])
    text = text_of(run).split("---\n", 2)[2]
    assert "\\[free](http://x) !\\[x](http://y) \\`rm\\`" in text and not {"\x1b", "\u202e"} & set(text)
