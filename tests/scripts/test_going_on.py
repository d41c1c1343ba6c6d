"""A training in two pieces: what travels is exact but for the momentum, and says so."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from advdpnp import api
from advdpnp.callbacks import Silent
from advdpnp.experiments import Experiment, experiment
from advdpnp.runs import Json, Run, read_json
from advdpnp.training import StopTraining
from gpu.going_on import MANIFEST, MomentumKind, quantize, read_going_on, write_going_on

SETTINGS = (
    "recipe.epochs=3", "recipe.train_images=64", "recipe.batch_size=32", "recipe.attack.steps=2",
    "recipe.milestones=0.5,0.9",
)  # fmt: skip


class StopAfter(Silent):
    def __init__(self, epoch: int = 0, step: int = 0) -> None:
        self.epoch, self.step = epoch, step

    def on_step(self, epoch: int, step: int, steps: int, epochs: int) -> None:
        if epoch * steps + step == self.step:
            raise StopTraining

    def on_epoch(self, line: Json) -> None:
        if line["epoch"] == self.epoch:
            raise StopTraining


def wanted(*more: str) -> Experiment:
    return experiment("digits/tiny/adv-dpnp", "paper", settings=(*SETTINGS, *more))


def stopped(folder: Path, *more: str, epoch: int = 0, step: int = 0) -> Run:
    """A run that ended after an epoch or a step."""
    with pytest.raises(StopTraining):
        api.train(wanted(*more), folder, callback=StopAfter(epoch, step))
    return Run(wanted(*more).folder(folder))


def tensors(state: Json) -> dict[str, Tensor]:
    return dict(state["model"])


def momenta(state: Json) -> dict[int, Tensor]:
    return {number: entry["momentum_buffer"] for number, entry in state["optimizer"]["state"].items()}


@pytest.mark.parametrize("momentum", ["int8", "zero"])
def test_two_pieces_make_one_training(momentum: MomentumKind, tmp_path: Path) -> None:
    first = stopped(tmp_path / "one", epoch=2)
    manifest = write_going_on(first, tmp_path / "back", momentum)
    second = read_going_on(tmp_path / "back", tmp_path / "two")
    before, after = first.read_state(), second.read_state()
    assert all(torch.equal(value, tensors(after)[name]) for name, value in tensors(before).items())
    assert (after["epoch"], after["step"], second.epochs()) == (2, 0, first.epochs())
    if momentum == "zero":
        assert momenta(after) == {} and "set to zero" in manifest["not_bitwise"]
    else:
        for number, buffer in momenta(before).items():
            largest = float(buffer.abs().max())
            assert float((momenta(after)[number] - buffer).abs().max()) <= largest / 254 * (1 + 1e-5)
    api.train(wanted(), tmp_path / "two", resume=True)
    assert len(second.epochs()) == 3 and second.weights_path("last").is_file()
    assert read_json(second.folder / MANIFEST) == {"pieces": [manifest["not_bitwise"]]}
    # The schedule went on: a rate of 0.1, then 0.01 from step 3 of 6 on.
    assert [line["lr"] for line in second.epochs()] == pytest.approx([0.1, 0.01, 0.001], rel=1e-6)


def test_with_its_own_momentum_a_piece_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = api.train(wanted(), tmp_path / "whole")
    first = stopped(tmp_path / "one", epoch=1)
    write_going_on(first, tmp_path / "back")
    second = read_going_on(tmp_path / "back", tmp_path / "two")
    # Momentum is all that is not exact: with the true one put back, the end is the same.
    second.write_state(second.read_state() | {"optimizer": first.read_state()["optimizer"]})
    api.train(wanted(), tmp_path / "two", resume=True)
    pair = [run.read_weights("last")[0] for run in (whole, second)]
    assert all(torch.equal(pair[0][name], pair[1][name]) for name in pair[0])


def test_the_momentum_s_scale_is_a_127th_of_the_largest() -> None:
    q, scale = quantize(torch.tensor([0.0, 127.0, -63.4, 0.6]))
    assert scale == 1.0 and q.tolist() == [0, 127, -63, 1]
    assert quantize(torch.zeros(3))[1] == 0.0
    assert quantize(torch.zeros(0))[1] == 0.0


def test_a_flipped_byte_or_a_missing_part_makes_no_run(tmp_path: Path) -> None:
    write_going_on(stopped(tmp_path / "one", epoch=1), tmp_path / "back")
    for path in sorted((tmp_path / "back").glob("*.safetensors")):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ValueError, match="damaged"):
            read_going_on(tmp_path / "back", tmp_path / "two")
        path.unlink()
        with pytest.raises(ValueError, match="missing"):
            read_going_on(tmp_path / "back", tmp_path / "two")
        path.write_bytes(content)
    assert not (tmp_path / "two").exists()
    read_going_on(tmp_path / "back", tmp_path / "two")
    with pytest.raises(ValueError, match="there already"):
        read_going_on(tmp_path / "back", tmp_path / "two")


def test_what_does_not_travel_is_refused(tmp_path: Path) -> None:
    middle = stopped(tmp_path / "middle", step=3)
    with pytest.raises(ValueError, match=r"middle of an epoch \(step 1\)"):
        write_going_on(middle, tmp_path / "back")
    averaged = stopped(tmp_path / "averaged", "recipe.averaging.kind=ema", epoch=1)
    with pytest.raises(ValueError, match="averaged"):
        write_going_on(averaged, tmp_path / "back")


def test_pieces_are_counted_over_several_machines(tmp_path: Path) -> None:
    write_going_on(stopped(tmp_path / "one", epoch=1), tmp_path / "back-1")
    read_going_on(tmp_path / "back-1", tmp_path / "two")
    with pytest.raises(StopTraining):
        api.train(wanted(), tmp_path / "two", resume=True, callback=StopAfter(epoch=2))
    write_going_on(Run(wanted().folder(tmp_path / "two")), tmp_path / "back-2", "zero")
    third = read_going_on(tmp_path / "back-2", tmp_path / "three")
    pieces = read_json(third.folder / MANIFEST)["pieces"]
    assert [piece.partition(" the")[0] for piece in pieces] == ["after epoch 1", "after epoch 2"]
