"""What stands in a result's place already: it is said, shown where it is this very evaluation, and never lost."""

import json
from pathlib import Path
from typing import Any

import pytest

from advdpnp import api
from advdpnp.callbacks import Silent
from advdpnp.evaluation import single_pass

ATTACK = ["--attack", "pgd:steps=3", "--suite", "mine", "--threads", "1"]
FEW = [*ATTACK, "--limit", "20"]


@pytest.fixture
def attacked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every chunk that is attacked; the third one is interrupted where the list begins with -1."""
    done: list[int] = []
    judge = single_pass.attacked

    def counted(*arguments: Any) -> Any:
        done.append(1)
        if done[0] == -1 and len(done) == 4:
            raise KeyboardInterrupt
        return judge(*arguments)

    monkeypatch.setattr("advdpnp.evaluation.single_pass.attacked", counted)
    return done


def test_resuming_what_is_finished_shows_it_and_measures_nothing(run: Path, call: Any, attacked: list[int]) -> None:
    _, first, told = call("evaluate", run, *FEW)
    path = run / "eval/mine.json"
    content, chunks = path.read_bytes(), len(attacked)
    assert chunks and not any("mine.json" in line for line in told)
    status, again, told = call("evaluate", run, *FEW, "--resume")
    assert (status, again, len(attacked), path.read_bytes()) == (0, first, chunks, content)
    assert f"{path} is finished: nothing is measured again (without --resume it would be)" in told


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--limit", "30"], "n 20, not 30; indices 0-19, not 0-29"),
        (["--seed", "1"], "seed 0, not 1"),
        (["--seeds", "2"], "seeds 1, not 2"),
        (["--checkpoint", "best"], "checkpoint last, not best"),
    ],
)
def test_another_evaluation_is_named_before_its_result_is_replaced(
    run: Path, call: Any, options: list[str], said: str
) -> None:
    call("evaluate", run, *FEW)
    _, _, told = call("evaluate", run, *FEW, *options, "--resume")
    (line,) = [line for line in told if "mine.json" in line]
    assert "holds another evaluation (" in line and said in line and "kept until the new result replaces it" in line
    assert told.index(line) < told.index(next(text for text in told if text.startswith("clean:")))


def test_a_second_evaluation_says_that_it_replaces_the_first(run: Path, call: Any, attacked: list[int]) -> None:
    call("evaluate", run, *FEW)
    chunks = len(attacked)
    _, _, told = call("evaluate", run, *FEW)
    assert len(attacked) == 2 * chunks
    (line,) = [line for line in told if "mine.json" in line]
    assert "holds this evaluation, finished (--resume shows it): it is kept until the new result replaces it" in line


def test_the_old_result_stays_until_the_new_one_is_whole(run: Path, call: Any, attacked: list[int]) -> None:
    call("evaluate", run, *FEW)
    content = (run / "eval/mine.json").read_bytes()
    attacked[:] = [-1]
    assert call("evaluate", run, *ATTACK)[0] == 130
    assert (run / "eval/mine.json").read_bytes() == content
    attacked[:] = [0]
    _, _, told = call("evaluate", run, *ATTACK, "--resume")
    # Three clean chunks, of which two were done, and three attacked ones.
    assert len(attacked) == 1 + 4 and not any("nothing is measured" in line for line in told)
    assert json.loads((run / "eval/mine.json").read_text())["n"] == 360


def test_an_unfinished_evaluation_that_is_not_resumed_is_told_of(run: Path, call: Any, attacked: list[int]) -> None:
    attacked[:] = [-1]
    assert call("evaluate", run, *ATTACK)[0] == 130
    attacked[:] = [0]
    _, _, told = call("evaluate", run, *ATTACK)
    (line,) = [line for line in told if "mine.partial.json" in line]
    assert "holds an unfinished evaluation, which begins again: --resume goes on" in line


def test_a_finished_shard_is_not_measured_again_and_may_complete_the_whole(
    run: Path, call: Any, attacked: list[int]
) -> None:
    for part in ("1/2", "2/2"):
        call("evaluate", run, *FEW, "--shard", part)
    chunks = len(attacked)
    (run / "eval/mine.json").unlink()
    _, out, told = call("evaluate", run, *FEW, "--shard", "2/2", "--resume")
    assert len(attacked) == chunks and "first 20 test images" in out
    assert any("mine.2-of-2.json is finished" in line for line in told) and (run / "eval/mine.json").exists()


def test_other_weights_are_measured_again(run: Path, call: Any) -> None:
    from advdpnp.runs import Run

    call("evaluate", run, *FEW)
    weights, epoch = Run(run).read_weights("last")
    Run(run).write_weights("last", {name: tensor + 1e-3 for name, tensor in weights.items()}, epoch)
    _, _, told = call("evaluate", run, *FEW, "--resume")
    assert any("holds another evaluation (weights " in line for line in told)


def test_weights_that_held_out_images_chose_are_offered_where_last_is_taken(run: Path) -> None:
    from advdpnp.runs import Run

    class Told(Silent):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def on_note(self, text: str) -> None:
            self.lines.append(text)

    def said(**options: Any) -> list[str]:
        told = Told()
        api.evaluate(run, "clean", limit=20, callback=told, **options)
        return [line for line in told.lines if "held-out" in line]

    weights, _ = Run(run).read_weights("best")
    Run(run).write_weights("best", weights, 1)
    (line,) = said()
    assert "last weights (epoch 2)" in line and "chose best (epoch 1): --checkpoint best" in line
    assert said(checkpoint="last") == said(checkpoint="best") == []
    told = Told()
    images = run.parent / "x.png"
    from PIL import Image

    Image.new("L", (8, 8), 128).save(images)
    api.predict(run, images, callback=told, neighbors=0)
    assert line in told.lines
    Run(run).write_weights("best", weights, 2)
    assert said() == []
