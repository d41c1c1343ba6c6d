import json
import re
from pathlib import Path

import pytest

from advdpnp.demo import _train_and_attack, demo_experiments
from advdpnp.experiments import experiment
from advdpnp.runs import Run

ROOT = Path(__file__).parents[1]
METHODS = {"ST": "st", "AT": "at", "TRADES": "trades", "Adv-DPNP": "adv-dpnp"}


def test_the_demo_shows_four_defenses_and_two_of_them_in_the_plane() -> None:
    names = [(wanted.backbone, wanted.defense.name) for wanted in demo_experiments()]
    assert names[:4] == [("tiny", "st"), ("tiny", "at"), ("tiny", "trades"), ("tiny", "adv-dpnp")]
    assert names[4:] == [("tiny-2d", "at"), ("tiny-2d", "adv-dpnp")]


def test_another_seed_is_another_demo_beside_it() -> None:
    folders = [wanted.folder(Path("runs")) for seed in (0, 1) for wanted in demo_experiments(seed)]
    assert len(set(folders)) == 12
    assert [wanted.seed for wanted in demo_experiments(1)] == [1] * 6


def test_another_run_in_the_demos_folder_is_not_replaced(tmp_path: Path) -> None:
    mine = experiment("digits/tiny/st", settings=["recipe.epochs=7"])
    run = Run(mine.folder(tmp_path))
    run.create_or_verify(mine.config())
    with pytest.raises(ValueError, match=r"recipe\.epochs: 7, not 20"):
        _train_and_attack(demo_experiments()[0], tmp_path)
    assert run.config()["recipe"]["epochs"] == 7


def stored_accuracies(defense: str, seed: int) -> list[float]:
    """Clean, under each attack, and worst case, in percent."""
    path = ROOT / f"results/demo/digits/tiny/{defense}/seed-{seed}/eval/demo.json"
    result = json.loads(path.read_text())
    attacked = [attack["robust_accuracy"] for attack in result["attacks"]]
    return [100 * value for value in (result["clean_accuracy"], *attacked, result["worst_case_accuracy"])]


def test_the_table_of_the_readme_is_mean_and_range_of_the_stored_seeds() -> None:
    table = (ROOT / "README.md").read_text().partition("What the demo measured")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([\w-]+) \| (.*) \|$", table, re.M))
    for method, defense in METHODS.items():
        columns = zip(*(stored_accuracies(defense, seed) for seed in (0, 1, 2)), strict=True)
        wanted = [f"{sum(seeds) / 3:.1f} ({min(seeds):.1f} to {max(seeds):.1f})" for seeds in columns]
        assert rows[method].split(" | ") == wanted


def test_every_stored_mean_separation_is_that_of_the_nearest_rival() -> None:
    stored = [json.loads(path.read_text()).get("geometry") for path in ROOT.glob("results/**/eval/*.json")]
    geometries = [geometry for geometry in stored if geometry]
    assert len(geometries) >= 8
    for geometry in geometries:
        pairwise, smallest = geometry["mean_pairwise_angle_degrees"], geometry["min_separation_degrees"]
        assert smallest <= geometry.get("mean_separation_degrees", pairwise) <= pairwise
