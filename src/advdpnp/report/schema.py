"""Kinds of the values in stored files: what is asked before a report computes with them."""

from collections.abc import Mapping
from types import NoneType
from typing import Any

_CONFIG = {"data": (str, dict), "backbone": str, "seed": int, "tag": str}
_EVALUATION = {
    "suite": str,
    "data": str,
    "n": int,
    "indices": str,
    "checkpoint": str,
    "precision": str,
    "chunk": int,
    "clean_accuracy": (int, float),
    "worst_case_accuracy": (int, float),
    "attacks": list,
}
# What older results lack.
_SINCE = {
    "epoch": (int, NoneType),
    "environment": dict,
    "geometry": (dict, NoneType),
    "warnings": list,
    "search_precision": str,
    "weights": str,
    "seeds": (dict, NoneType),
}
_ATTACK = {
    "name": str,
    "eps": str,
    "norm": str,
    "steps": (int, NoneType),
    "step_size": (str, NoneType),
    "restarts": int,
    "random_start": bool,
    "robust_accuracy": (int, float),
    "seconds": (int, float),
}


def _check(stored: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        value = stored[name]
        if not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}")
        if name.endswith("accuracy") and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value!r}, no fraction in [0, 1]")


def check_config(config: Mapping[str, Any]) -> None:
    """KeyError, TypeError or ValueError unless config.json holds what names a run."""
    _check(config, _CONFIG)
    if isinstance(config["data"], dict):
        _check(config["data"], {"name": str})


def check_evaluation(stored: Mapping[str, Any]) -> None:
    """KeyError, TypeError or ValueError unless eval/<suite>.json holds what tables are made of."""
    _check(stored, _EVALUATION)
    _check(stored, {name: kind for name, kind in _SINCE.items() if name in stored})
    if stored["n"] < 1:
        raise ValueError(f"n is {stored['n']}")
    for record in stored["attacks"]:
        _check(record, _ATTACK)
