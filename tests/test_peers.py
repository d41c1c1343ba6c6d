"""The measurement beside other libraries: turns, resuming, strength, floors, and a page that says what is stored."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp.bench import ceilings
from advdpnp.bench.variants import make_bench_model
from advdpnp.experiments import experiment
from advdpnp.runs import Json, read_json
from peers import measure as measuring
from peers.__main__ import main
from peers.floors import FLOORS
from peers.measure import CI, FULL, Protocol, measure, plan, strength
from peers.page import PAGE, measurements, page
from peers.side import Group, Side, Work
from peers.steps import _ours, _trades, _written_out
from peers.verdicts import difference, judged, ratios, shares

CPU = torch.device("cpu")
PROTOCOL = Protocol((("tiny", 4, 3),), ())


class Sides:
    """Three sides that note when they run; "c" fails as often as it is told to, and the process may be stopped."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int]] = []
        self.stop_after, self.fails = 100, 0

    def groups(self) -> list[Group]:
        sides = tuple(Side(name, "fp32", lambda name=name: self._prepared(name)) for name in "abc")
        return [Group("net/work", "work", 4, 3, sides, nn.Flatten())]

    def _prepared(self, name: str) -> Any:
        def ready(number: int) -> Work:
            def work() -> Tensor:
                if len(self.ran) == self.stop_after:
                    raise KeyboardInterrupt
                if name == "c" and number and self.fails:
                    self.fails -= 1
                    raise RuntimeError("no such\nkernel")
                self.ran.append((name, number))
                return torch.tensor([True, False, True, True])

            return work

        return ready


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sides]:
    made = Sides()
    monkeypatch.setattr(measuring, "plan", lambda protocol: [(("net/work",), made.groups)])
    yield made


def run(out: Path, protocol: Protocol = PROTOCOL) -> Json:
    return measure(protocol, out, (), lambda line: None)


def test_sides_take_turns_after_a_warm_up(sides: Sides, tmp_path: Path) -> None:
    found = run(tmp_path / "p.json")
    assert sides.ran == [(name, number) for number in range(4) for name in "abc"]
    assert found["finished"] and read_json(tmp_path / "p.json") == found
    row = found["groups"]["net/work"]["sides"]["b"]
    assert len(row["seconds"]) == len(row["load_average"]) == 3 and row["robust_accuracy"] == [0.75] * 3


def test_a_stopped_measurement_goes_on_with_the_rounds_that_are_missing(sides: Sides, tmp_path: Path) -> None:
    # Stopped in the second round, before b: a has two rounds, b and c one.
    sides.stop_after = 3 + 3 + 1
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "p.json")
    before = read_json(tmp_path / "p.json")
    assert not before["finished"]
    sides.ran, sides.stop_after = [], 100
    found = run(tmp_path / "p.json")
    assert sides.ran == [("a", 0), ("b", 0), ("c", 0), ("b", 2), ("c", 2), ("a", 3), ("b", 3), ("c", 3)]
    assert found["finished"] and len(found["sessions"]) == 2
    kept = before["groups"]["net/work"]["sides"]["a"]["seconds"]
    assert found["groups"]["net/work"]["sides"]["a"]["seconds"][:2] == kept


def test_a_finished_measurement_is_made_anew(sides: Sides, tmp_path: Path) -> None:
    run(tmp_path / "p.json")
    assert len(run(tmp_path / "p.json")["sessions"]) == 1 and len(sides.ran) == 24


def test_a_side_that_fails_is_named_and_tried_again(sides: Sides, tmp_path: Path) -> None:
    sides.fails = 1
    found = run(tmp_path / "p.json")["groups"]["net/work"]
    assert found["sides"]["c"]["error"] == "RuntimeError: no such kernel" and not found["finished"]
    assert len(found["sides"]["a"]["seconds"]) == 3
    found = run(tmp_path / "p.json")["groups"]["net/work"]
    assert "error" not in found["sides"]["c"] and len(found["sides"]["c"]["seconds"]) == 3 and found["finished"]


def test_another_protocol_is_not_mixed_into_an_unfinished_file(sides: Sides, tmp_path: Path) -> None:
    sides.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "p.json")
    kept = (tmp_path / "p.json").read_bytes()
    with pytest.raises(ValueError, match="is unfinished and differs in protocol: delete it"):
        run(tmp_path / "p.json", CI)
    assert (tmp_path / "p.json").read_bytes() == kept


def test_an_unknown_group_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no group tiny/speed; there are tiny/attack, tiny/apgd"):
        measure(PROTOCOL, tmp_path / "p.json", ["tiny/speed"], print)


def test_missing_images_are_one_line_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path))
    assert main(["--out", str(tmp_path / "p.json"), "--only", "resnet8/attack", "cnn/autoattack"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "MNIST/raw must hold" in said.err and not said.out
    assert not (tmp_path / "p.json").exists()


def test_strength_is_that_of_the_network_that_judges() -> None:
    # Logits (2, 0): right for class 0, with a loss of log(1 + e^-2); wrong for class 1, log(1 + e^2).
    x_adv, y = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
    found = strength(nn.Identity(), (x_adv, y))
    assert found["robust_accuracy"] == 0.5 and found["mean_loss"] == pytest.approx((0.126928 + 2.126928) / 2, abs=1e-6)
    assert strength(nn.Identity(), torch.tensor([True, False, False, False])) == {"robust_accuracy": 0.25}


def row(seconds: list[float], accuracy: float = 0.5, loss: float = 1.0, precision: str = "fp32") -> Json:
    rounds = len(seconds)
    strong = {"robust_accuracy": [accuracy] * rounds, "mean_loss": [loss] * rounds}
    return {"precision": precision, "seconds": seconds, **strong}


def result(group: str, sides: dict[str, Json], instructions: tuple[str, ...] = ("amx_bf16",)) -> Json:
    ceiling = {precision: {"tflop_per_second": rate} for precision, rate in (("fp32", 0.1), ("bf16", 1.0))}
    entry = {"title": "t", "images": 10, "gflop_per_image": 5.0, "ceilings": ceiling, "sides": sides}
    machine = {"cpu_instructions": [*instructions], "bf16_instructions": bool(instructions)}
    return {"groups": {group: entry}, "machine": machine}


def test_a_ratio_is_that_of_the_rounds_and_a_share_that_of_the_ceiling() -> None:
    assert ratios(row([1.0, 2.0]), row([3.0, 4.0])) == [3.0, 2.0]
    # 10 images of 5 GFLOP in 2 s are 25 GFLOP/s, a quarter of 100.
    found = result("resnet18/attack", {"ours": row([2.0, 1.0])})
    assert shares(found["groups"]["resnet18/attack"], row([2.0, 1.0])) == pytest.approx([0.25, 0.5])


@pytest.mark.parametrize(("seconds", "verdict"), [(2.01, "red"), (1.99, "floor"), (1.3, "target")])
def test_a_floor_is_judged_by_the_median(seconds: float, verdict: str) -> None:
    sides = {"backward() loop": row([4.0] * 3), "ours": row([seconds, 9.0, 0.1])}
    (found,) = judged(result("resnet8/attack", sides))
    assert found["verdict"] == verdict and found["value"] == pytest.approx(4 / seconds, abs=1e-4)


@pytest.mark.parametrize(
    ("accuracy", "loss", "reason"), [(0.54, 1.0, "robust accuracy 54.0%"), (0.5, 0.9, "mean loss")]
)
def test_no_ratio_where_images_are_not_equally_strong(accuracy: float, loss: float, reason: str) -> None:
    sides = {"backward() loop": row([4.0] * 3), "ours": row([1.0] * 3, accuracy, loss)}
    (found,) = judged(result("resnet8/attack", sides))
    assert found["verdict"] == "refused" and reason in found["reason"] and "value" not in found


def test_chance_that_the_rounds_show_is_allowed_for() -> None:
    # Means 1.0 and 0.9; standard errors 0.1 and 0: two of them and 3 % of 1.0 are 0.23.
    steady, moving = row([1.0] * 3, loss=0.9), row([1.0] * 3)
    assert difference(moving, steady)
    moving["mean_loss"] = [1.0 - 0.1 * 3**0.5, 1.0, 1.0 + 0.1 * 3**0.5]
    assert not difference(moving, steady)
    steady["mean_loss"] = [0.75] * 3
    assert difference(moving, steady) == "mean loss 1.000 and 0.750"


@pytest.mark.parametrize(
    ("instructions", "floor"), [(("amx_bf16", "avx512_bf16"), 6.0), (("avx512_bf16",), 2.7), ((), None)]
)
def test_floors_in_bf16_are_those_of_the_processor(instructions: tuple[str, ...], floor: float | None) -> None:
    sides = {"backward() loop": row([4.0] * 3), "ours, bf16": row([1.0] * 3, precision="bf16")}
    (found,) = judged(result("resnet8/attack", sides, instructions))
    assert found["floor"] == floor
    assert found["verdict"] == {6.0: "red", 2.7: "floor", None: "unjudged"}[floor]


def test_every_floor_is_of_a_group_that_is_measured() -> None:
    known = {name for names, _ in plan(FULL) for name in names}
    assert {floor.group for floor in FLOORS} <= known
    assert all(0 < floor.floor < floor.target for floor in FLOORS)
    assert CI.networks == (("resnet8", 64, 3),)


def test_trades_written_out_crafts_what_ours_crafts() -> None:
    settings = ["recipe.augmentation.padding=0", "recipe.augmentation.flip=false", "recipe.attack.steps=3"]
    wanted = experiment("cifar10/tiny/trades", "paper", settings=[*settings, "recipe.batch_size=8"])
    subject = replace(make_bench_model("tiny", CPU, batch=8, steps=3, defense="trades"), experiment=wanted)
    # The same noise: both are keyed by seed 0, image and round.
    theirs, _ = _written_out(subject, _trades(subject.budget, wanted.defense.beta))(1)()
    ours, _ = _ours(subject, "fp32", "eager")(1)()
    assert ((theirs - ours).abs() > 1e-5).double().mean() < 0.01
    assert (ours - subject.x).abs().max() > 2.9 * subject.budget.step_size


def test_a_second_call_of_our_step_has_the_whole_batch_too() -> None:
    step = _ours(make_bench_model("tiny", CPU, batch=8, steps=1), "fp32", "folded")(1)
    assert [len(step()[0]) for _ in range(2)] == [8, 8]


def test_the_ceiling_counts_the_networks_own_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ceilings, "_PRODUCTS", (512,))
    monkeypatch.setattr(ceilings, "_rate", lambda device, work, amount: work() is not None and float(amount))
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 8, 3, stride=2, padding=1))
    found = ceilings.network_ceiling(model, torch.rand(2, 3, 8, 8), torch.float32)
    # Images x positions x channels out x (channels in x kernel), a multiply-add is two.
    counts = {"3x8x8 to 16x8x8": 2 * 2 * 64 * 16 * 27, "16x8x8 to 8x4x4": 2 * 2 * 16 * 8 * 144}
    own = {f"3x3 convolution {name} {way}": n for name, n in counts.items() for way in ("forward", "backward")}
    products = {"product 512": 2 * 512**3}
    assert {name: float(f"{n:.4g}") for name, n in (own | products).items()} == found["rates"]
    assert found["by"] == "product 512" and found["tflop_per_second"] == found["rates"]["product 512"]


def test_the_page_says_what_is_stored() -> None:
    stored = measurements()
    assert stored
    assert PAGE.read_text(encoding="utf-8") == page(stored)
