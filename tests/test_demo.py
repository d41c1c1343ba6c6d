from pathlib import Path

import pytest

from advdpnp.demo import _train_and_attack, demo_experiments
from advdpnp.experiments import experiment
from advdpnp.runs import Run


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
    run.claim(mine.config())
    with pytest.raises(ValueError, match=r"recipe\.epochs: 7, not 20"):
        _train_and_attack(demo_experiments()[0], tmp_path)
    assert run.config()["recipe"]["epochs"] == 7
