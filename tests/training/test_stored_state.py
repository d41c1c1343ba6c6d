"""A stored state that somebody made: what is none of this training is refused in one line, at once."""

import copy
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import api
from advdpnp.experiments import Experiment, experiment
from advdpnp.runs import Json, Run
from advdpnp.training.step import Training

NAME, SETTINGS = "digits/tiny/adv-dpnp", ("recipe.epochs=3", "recipe.train_images=32", "recipe.batch_size=16")
WHAT = experiment(NAME, settings=SETTINGS)
TENSOR = torch.zeros(3)


@pytest.fixture(scope="module")
def training() -> Training:
    return begun(WHAT)


def begun(what: Experiment) -> Training:
    """After one step."""
    made = Training(api.make_task(what, torch.device("cpu"), None))
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
    "an accuracy above 1": lambda state: state.update(best=(2.0, 0.5, 1)),
    "best of the future": lambda state: state.update(best=(0.5, 0.5, 3)),
    "numbers too large for a float": lambda state: state.update(seconds=10**400),
    "numbers too large to be written": lambda state: state.update(seconds=10**5000),
    "a list of them": lambda state: state.update(best=[10**5000]),
    "an entry of a later version": lambda state: state.update(helper=TENSOR),
    "a step after the last epoch": lambda state: state.update(epoch=3),
    "a sparse tensor": lambda state: state["model"].update(
        {name: tensor.to_sparse() for name, tensor in state["model"].items() if tensor.dim() > 1}),
    "a tensor without data": lambda state: state["model"].update(
        {name: tensor.to("meta") for name, tensor in state["model"].items()}),
    "sparse momentum": lambda state: momentum(state).update(
        momentum_buffer=momentum(state)["momentum_buffer"].to_sparse()),
    "a tensor for a setting": lambda state: state["optimizer"]["param_groups"][0].update(weight_decay=TENSOR),
    "tensors for parameters": lambda state: state["optimizer"]["param_groups"][0].update(params=[TENSOR]),
    "many parameters": lambda state: state["optimizer"]["param_groups"][0].update(params=[*range(100_000)]),
    "a setting less": lambda state: state["optimizer"]["param_groups"][0].pop("weight_decay"),
    "an average where nothing is averaged": lambda state: state.update(
        average={"count": 1, "values": dict([next(iter(state["model"].items()))])}),
}  # fmt: skip


@pytest.mark.parametrize("change", STATES.values(), ids=STATES)
def test_a_state_that_is_none_of_this_training_is_refused(change: Callable[[Json], Any], training: Training) -> None:
    state = copy.deepcopy(training.state())
    change(state)
    before = copy.deepcopy(training.state())
    with pytest.raises(ValueError, match=r"^checkpoints/state\.pt is damaged .*: remove it") as error:
        training.restore(state)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
    assert all(torch.equal(tensor, before["model"][name]) for name, tensor in training.state()["model"].items())


def test_its_own_state_is_restored(training: Training) -> None:
    training.restore(copy.deepcopy(training.state()))


def test_an_average_lacks_nothing() -> None:
    made = begun(experiment(NAME, settings=(*SETTINGS, "recipe.averaging.kind=ema")))
    made.restore(copy.deepcopy(made.state()))
    for change in (
        lambda state: state.pop("average"),
        lambda state: state["average"]["values"].popitem(),
        lambda state: state["average"].update(values={}),
        lambda state: state["average"].update(count=0),
    ):
        state = copy.deepcopy(made.state())
        change(state)
        with pytest.raises(ValueError, match=r"^checkpoints/state\.pt is damaged .*average"):
            made.restore(state)


def test_losses_of_another_training_are_refused_at_the_first_step() -> None:
    made = begun(WHAT)
    state = made.state() | {"terms": ["other"], "sums": torch.zeros(1, dtype=torch.float64)}
    made.restore(copy.deepcopy(state))
    with pytest.raises(ValueError, match=r"^checkpoints/state\.pt is damaged .*'other'.*: remove it"):
        made.advance(torch.arange(32))


def test_momentum_of_some_parameters_alone_is_refused_at_the_first_step() -> None:
    made = begun(WHAT)
    state = copy.deepcopy(made.state())
    del state["optimizer"]["state"][0]
    made.restore(state)
    with pytest.raises(ValueError, match=r"^checkpoints/state\.pt is damaged .*no momentum of 1 of"):
        made.advance(torch.arange(32))


def test_tensors_that_lie_in_one_another_are_copied() -> None:
    # Steps change momentum in place: written through one element of memory, it ended the process.
    made = begun(WHAT)
    state = copy.deepcopy(made.state())
    buffer = momentum(state)["momentum_buffer"]
    momentum(state).update(momentum_buffer=torch.zeros(1).expand(buffer.shape))
    made.restore(state)
    (restored,) = (held["momentum_buffer"] for held in [next(iter(made.optimizer.state.values()))])
    assert restored.untyped_storage().nbytes() == restored.numel() * restored.element_size()


@pytest.mark.parametrize("config", [{"seed": torch.zeros(2)}, {"seed": 10**5000}, None, "x" * 100_000])
def test_a_configuration_that_is_none_is_one_short_line(config: Any, tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create_or_verify(WHAT.config())
    run.state_path.parent.mkdir()
    torch.save({"config": config}, run.state_path)
    with pytest.raises(ValueError, match=r"state\.pt is (damaged|a checkpoint of another experiment)") as error:
        run.read_state()
    assert len(str(error.value)) < 500


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.state_path.parent.mkdir()
    os.mkfifo(run.state_path)
    with pytest.raises(ValueError, match="pipe"):
        run.read_state()


def test_no_advice_to_run_the_code_of_a_state(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.state_path.parent.mkdir()
    for content in (b"PK\x05\x06" + bytes(18), b"hello", b""):
        run.state_path.write_bytes(content)
        with pytest.raises(ValueError, match=r"state\.pt is damaged .*: remove it") as error:
            run.read_state()
        assert "weights_only" not in str(error.value)


def test_a_checkpoint_that_holds_no_state_is_one_line(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.create_or_verify(WHAT.config())
    for content in ([1, 2], {"epoch": 1}, 3):
        run.state_path.parent.mkdir(exist_ok=True)
        torch.save(content, run.state_path)
        with pytest.raises(ValueError, match=r"state\.pt is damaged .*: remove it") as error:
            run.read_state()
        assert "\n" not in str(error.value)
