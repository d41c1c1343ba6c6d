"""Is a stored state one of this training? What is none would fail, or train something else, much later."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from advdpnp.ranges import brief
from advdpnp.runs import Json
from advdpnp.stored_values import check_value

_KEYS = ("epoch", "step", "seconds", "model", "optimizer", "terms", "sums", "best")
# What a schedule sets anew in each step.
_SCHEDULED = ("lr", "momentum", "params")
# Beside these: earlier versions stored no average, and the configuration is the run's to check.
_FURTHER = ("average", "config")


def check_state(state: Json, fresh: Json, epochs: int, steps: int) -> None:
    """Raise ValueError unless a stored state is what `Training.state` returns at some step of this training.

    Args:
        state: what was stored.
        fresh: the state before the first step; "parameters", those of the optimizer in their order, and "averaged",
            names of what is averaged, none where nothing is.
        epochs, steps: of the whole training, and of an epoch.
    """
    try:
        _check(state, fresh, epochs, steps)
    except (TypeError, ValueError) as error:
        raise damaged(error) from None


def same_terms(stored: Sequence[str], found: Sequence[str], sums: Tensor) -> Tensor:
    """The sums (T,) of an epoch's terms so far; ValueError where its next step has terms of other names."""
    if list(stored) != list(found):
        raise damaged(f"its losses are {brief(list(stored))}, and those of this training {brief(list(found))}")
    return sums


def damaged(problem: object) -> ValueError:
    """What is said of a state that is none of this training."""
    return ValueError(
        f"checkpoints/state.pt is damaged or of another training ({problem}): remove it to start this run again from "
        "its beginning"
    )


def _check(state: Json, fresh: Json, epochs: int, steps: int) -> None:
    for name in _KEYS:
        if name not in state:
            raise ValueError(f"no {name!r}")
    if further := state.keys() - {*_KEYS, *_FURTHER}:
        raise ValueError(f"it has {brief(min(further, key=str))}, which this version does not know")
    _check_count("epoch", state["epoch"], epochs)
    _check_count("step", state["step"], steps if state["epoch"] < epochs else 0)
    check_value("seconds", state["seconds"], float)
    if state["seconds"] < 0:
        raise ValueError(f"seconds must be a number from 0; got {state['seconds']!r}")
    _check_tensors("model", state["model"], fresh["model"])
    if missing := fresh["model"].keys() - state["model"].keys():
        raise ValueError(f"model has no {min(missing)!r}")
    _check_optimizer(state["optimizer"], fresh)
    if "average" in state:
        _check_average(state["average"], fresh["model"], fresh["averaged"])
    elif fresh["averaged"]:
        raise ValueError("no 'average'")
    _check_sums(state["terms"], state["sums"], state["step"])
    if state["best"] is not None:
        _check_best(state["best"], state["epoch"])


def _check_best(best: Any, epochs: int) -> None:
    if not isinstance(best, list | tuple) or len(best) != 3:
        raise ValueError(f"best must be two accuracies and an epoch; got {brief(best)}")
    *accuracies, epoch = best
    for accuracy in accuracies:
        check_value("an accuracy of the best", accuracy, float)
        if not 0 <= accuracy <= 1:
            raise ValueError(f"an accuracy of the best must be in [0, 1]; got {brief(accuracy)}")
    _check_count("the epoch of the best", epoch, epochs)


def _check_count(name: str, value: Any, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{name} must be from 0 to {most}; got {brief(value)}")


def _check_tensors(name: str, stored: Any, known: Mapping[str, Tensor]) -> None:
    """Tensors of these names, shapes and types, all finite."""
    if not isinstance(stored, Mapping):
        raise ValueError(f"{name} must be tensors by name; got {type(stored).__name__}")
    for key, tensor in stored.items():
        if key not in known:
            raise ValueError(f"{name} has {brief(key)}, which this network has not")
        _check_like(f"{name} {key}", tensor, known[key])


def _check_like(name: str, tensor: Any, like: Tensor, finite: bool = True) -> None:
    if not isinstance(tensor, Tensor) or tensor.is_nested or tensor.layout != torch.strided or tensor.is_meta:
        raise ValueError(f"{name} must be a plain tensor; got {brief(tensor)}")
    found, wanted = (tuple(tensor.shape), tensor.dtype), (tuple(like.shape), like.dtype)
    if found != wanted:
        raise ValueError(f"{name} must be a tensor of {wanted}; got {found}")
    if finite and tensor.is_floating_point() and not tensor.isfinite().all():
        raise ValueError(f"{name} has numbers that are not finite")


def _check_optimizer(stored: Any, fresh: Json) -> None:
    if not isinstance(stored, Mapping) or not {"state", "param_groups"} <= stored.keys():
        raise ValueError("optimizer must have state and param_groups")
    groups, known = stored["param_groups"], fresh["optimizer"]["param_groups"]
    if not isinstance(groups, list) or len(groups) != len(known) or not all(isinstance(one, dict) for one in groups):
        raise ValueError(f"optimizer must have {len(known)} groups of parameters")
    for group, own in zip(groups, known, strict=True):
        check_value("params of a group", group.get("params"), list[int])
        if group["params"] != own["params"]:
            raise ValueError(
                f"optimizer has the parameters {brief(group['params'])} in a group; expected {brief(own['params'])}"
            )
        if missing := {"lr", "momentum", "weight_decay"} - group.keys():
            raise ValueError(f"optimizer has no {min(missing)} in a group")
        for name in own.keys() & group.keys() - {*_SCHEDULED}:
            if type(group[name]) is not type(own[name]) or group[name] != own[name]:
                raise ValueError(f"optimizer has {name} {brief(group[name])}; expected {brief(own[name])}")
    places = {place for group in known for place in group["params"]}
    if not isinstance(stored["state"], Mapping) or not stored["state"].keys() <= places:
        raise ValueError("optimizer has momentum of other parameters")
    for place, held in stored["state"].items():
        if not isinstance(held, Mapping) or not held.keys() <= {"momentum_buffer"}:
            raise ValueError(f"optimizer has no momentum of parameter {place}")
        # Without momentum there is none.
        if (buffer := held.get("momentum_buffer")) is not None:
            _check_like(f"momentum of parameter {place}", buffer, fresh["parameters"][place], finite=False)


def _check_average(stored: Any, known: Mapping[str, Tensor], averaged: Collection[str]) -> None:
    if not isinstance(stored, Mapping) or stored.keys() != {"count", "values"}:
        raise ValueError("average must have count and values")
    _check_count("count of the average", stored["count"], 2**63 - 1)
    _check_tensors("average", stored["values"], known)
    # Before it begins there are no values, and their count is 0.
    wanted = averaged if stored["count"] else ()
    if (missing := {*wanted} - stored["values"].keys()) or (stored["values"] and not wanted):
        raise ValueError(f"average has {'no ' + min(missing) if missing else 'values, and nothing is averaged'}")


def _check_sums(terms: Any, sums: Any, step: int) -> None:
    if not isinstance(terms, list | tuple) or not all(isinstance(term, str) for term in terms):
        raise ValueError("terms must be names of losses")
    if (sums is None) != (step == 0):
        raise ValueError(f"sums must be there from the first step on; got step {step} and {type(sums).__name__}")
    if sums is not None:
        _check_like("sums", sums, torch.zeros(len(terms), dtype=torch.float64))
