"""Is a stored state one of this training? What is none would fail, or train something else, much later."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from advdpnp.runs import Json

_KEYS = ("epoch", "step", "seconds", "model", "optimizer", "terms", "sums", "best")
# What a schedule sets anew in each step.
_SCHEDULED = ("lr", "momentum", "params")


def check_state(state: Json, fresh: Json, epochs: int, steps: int) -> None:
    """Raise ValueError unless a stored state is what `Training.state` returns at some step of this training.

    Args:
        state: what was stored.
        fresh: the state before the first step, and "parameters", those of the optimizer in their order.
        epochs, steps: of the whole training, and of an epoch.
    """
    try:
        _check(state, fresh, epochs, steps)
    except ValueError as error:
        raise ValueError(
            f"checkpoints/state.pt is damaged or of another training ({error}): remove it to start this run again from "
            "its beginning"
        ) from None


def _check(state: Json, fresh: Json, epochs: int, steps: int) -> None:
    for name in _KEYS:
        if name not in state:
            raise ValueError(f"no {name!r}")
    _check_count("epoch", state["epoch"], epochs)
    _check_count("step", state["step"], steps)
    if not _is_number(state["seconds"]) or state["seconds"] < 0:
        raise ValueError(f"seconds must be a number from 0; got {state['seconds']!r}")
    _check_tensors("model", state["model"], fresh["model"])
    if missing := fresh["model"].keys() - state["model"].keys():
        raise ValueError(f"model has no {min(missing)!r}")
    _check_optimizer(state["optimizer"], fresh)
    # Earlier versions stored none.
    if "average" in state:
        _check_average(state["average"], fresh["model"])
    _check_sums(state["terms"], state["sums"], state["step"])
    best = state["best"]
    if best is not None and not (isinstance(best, list | tuple) and len(best) == 3 and all(map(_is_number, best))):
        raise ValueError(f"best must be two accuracies and an epoch; got {best!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_count(name: str, value: Any, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ValueError(f"{name} must be from 0 to {most}; got {value!r}")


def _check_tensors(name: str, stored: Any, known: Mapping[str, Tensor]) -> None:
    """Tensors of these names, shapes and types, all finite."""
    if not isinstance(stored, Mapping):
        raise ValueError(f"{name} must be tensors by name; got {type(stored).__name__}")
    for key, tensor in stored.items():
        if key not in known:
            raise ValueError(f"{name} has {key!r}, which this network has not")
        _check_like(f"{name} {key}", tensor, known[key])


def _check_like(name: str, tensor: Any, like: Tensor, finite: bool = True) -> None:
    found = (tuple(tensor.shape), tensor.dtype) if isinstance(tensor, Tensor) else type(tensor).__name__
    wanted = tuple(like.shape), like.dtype
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
        if group.get("params") != own["params"]:
            raise ValueError(
                f"optimizer has the parameters {group.get('params')!r} in a group; expected {own['params']}"
            )
        for name in own.keys() & group.keys() - {*_SCHEDULED}:
            if group[name] != own[name]:
                raise ValueError(f"optimizer has {name} {group[name]!r}; expected {own[name]!r}")
    places = {place for group in known for place in group["params"]}
    if not isinstance(stored["state"], Mapping) or not stored["state"].keys() <= places:
        raise ValueError("optimizer has momentum of other parameters")
    for place, held in stored["state"].items():
        if not isinstance(held, Mapping) or not held.keys() <= {"momentum_buffer"}:
            raise ValueError(f"optimizer has no momentum of parameter {place}")
        if (buffer := held.get("momentum_buffer")) is not None:
            _check_like(f"momentum of parameter {place}", buffer, fresh["parameters"][place], finite=False)


def _check_average(stored: Any, known: Mapping[str, Tensor]) -> None:
    if not isinstance(stored, Mapping) or not {"count", "values"} <= stored.keys():
        raise ValueError("average must have count and values")
    _check_count("count of the average", stored["count"], 2**63 - 1)
    _check_tensors("average", stored["values"], known)


def _check_sums(terms: Any, sums: Any, step: int) -> None:
    if not isinstance(terms, list | tuple) or not all(isinstance(term, str) for term in terms):
        raise ValueError("terms must be names of losses")
    if (sums is None) != (step == 0):
        raise ValueError(f"sums must be there from the first step on; got step {step} and {type(sums).__name__}")
    if sums is not None:
        _check_like("sums", sums, torch.zeros(len(terms), dtype=torch.float64))
