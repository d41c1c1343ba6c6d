"""A stored state that somebody made: what is none of this training is refused in one line, at once."""

import copy
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import api
from advdpnp.experiments import experiment
from advdpnp.runs import Json, Run
from advdpnp.training.step import Training

WHAT = experiment(
    "digits/tiny/adv-dpnp", settings=("recipe.epochs=3", "recipe.train_images=32", "recipe.batch_size=16")
)
TENSOR = torch.zeros(3)


@pytest.fixture(scope="module")
def training() -> Training:
    made = Training(api.make_task(WHAT, torch.device("cpu"), None))
    made.advance(torch.arange(32))
    return made


def momentum(state: Json) -> Json:
    held: Json = state["optimizer"]["state"][0]
    return held


STATES: dict[str, Callable[[Json], Any]] = {
    **{f"no {name}": lambda state, name=name: state.pop(name) for name in (
        "epoch", "step", "seconds", "model", "optimizer", "terms", "sums", "best")},
    **{f"a text for {name}": lambda state, name=name: state.update({name: "x"}) for name in (
        "epoch", "step", "seconds", "model", "optimizer", "average", "sums", "best")},
    "an epoch below 0": lambda state: state.update(epoch=-1),
    "an epoch of the future": lambda state: state.update(epoch=4),
    "half an epoch": lambda state: state.update(epoch=0.5),
    "true for an epoch": lambda state: state.update(epoch=True),
    "a step below 0": lambda state: state.update(step=-1),
    "more steps than there are": lambda state: state.update(step=3),
    "seconds that are none": lambda state: state.update(seconds=math.nan),
    "no weights": lambda state: state.update(model={}),
    "a tensor less": lambda state: state["model"].popitem(),
    "a tensor more": lambda state: state["model"].update(more=TENSOR),
    "another shape": lambda state: state["model"].update({next(iter(state["model"])): TENSOR}),
    "another type": lambda state: state["model"].update(
        {name: tensor.double() for name, tensor in state["model"].items() if tensor.is_floating_point()}),
    "a number for a tensor": lambda state: state["model"].update({next(iter(state["model"])): 3}),
    "weights that are NaN": lambda state: state["model"].update(
        {name: tensor * math.nan for name, tensor in state["model"].items() if tensor.is_floating_point()}),
    "no groups": lambda state: state["optimizer"].update(param_groups=[]),
    "groups that are none": lambda state: state["optimizer"].update(param_groups=[3]),
    "other parameters": lambda state: state["optimizer"]["param_groups"][0].update(params=[7]),
    "another weight decay": lambda state: state["optimizer"]["param_groups"][0].update(weight_decay=0.5),
    "momentum of no parameter": lambda state: state["optimizer"]["state"].update({99: {}}),
    "momentum that is none": lambda state: state["optimizer"]["state"].update({0: 3}),
    "momentum of another shape": lambda state: momentum(state).update(momentum_buffer=TENSOR),
    "an average of another network": lambda state: state.update(average={"count": 1, "values": {"x": TENSOR}}),
    "null for an average": lambda state: state.update(average=None),
    "an average without a count": lambda state: state.update(average={"values": {}}),
    "sums of other losses": lambda state: state.update(sums=torch.zeros(9, dtype=torch.float64)),
    "sums that are NaN": lambda state: state.update(sums=state["sums"] * math.nan),
    "sums before a step": lambda state: state.update(step=0),
    "numbers for names": lambda state: state.update(terms=[1, 2]),
    "best of two": lambda state: state.update(best=(0.5, 0.5)),
    "best that is NaN": lambda state: state.update(best=(math.nan, 0.5, 1)),
}  # fmt: skip


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_a_state_that_is_none_of_this_training_is_refused(change: Callable[[Json], Any], training: Training) -> None:
    state = copy.deepcopy(training.state())
    change(state)
    before = copy.deepcopy(training.state())
    with pytest.raises(ValueError, match=r"^checkpoints/state\.pt is damaged .*: remove it") as error:
        training.restore(state)
    assert "\n" not in str(error.value)
    assert all(torch.equal(tensor, before["model"][name]) for name, tensor in training.state()["model"].items())


def test_its_own_state_is_restored(training: Training) -> None:
    training.restore(copy.deepcopy(training.state()))


def test_a_checkpoint_that_holds_no_state_is_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create_or_verify(WHAT.config())
    for content in ([1, 2], {"epoch": 1}, 3):
        run.state_path.parent.mkdir(exist_ok=True)
        torch.save(content, run.state_path)
        with pytest.raises(ValueError, match=r"state\.pt is damaged .*: remove it") as error:
            run.read_state()
        assert "\n" not in str(error.value)
