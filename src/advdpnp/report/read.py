"""Stored results of a run, read from its folder and checked as they are read."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from advdpnp.report.schema import check_config, check_evaluation
from advdpnp.report.stored import Accuracy, AttackKey, Embedding, Run, Samples, Suite, data_name, radius

SCHEMA = 1

MEAN_SEPARATION, PAIRWISE = "mean_separation_degrees", "mean_pairwise_angle_degrees"

# Settings of attacks that results name where they depart from the defaults, in words.
SETTINGS = {
    "kappa": "κ = {:g}",
    "targets": "{:g} targets",
    "rho": "ρ = {:g}",
    "multi_eps": "radii 3ε, 2ε and ε",
    "alpha_max": "α at most {:g}",
    "eta": "η = {:g}",
    "beta": "β = {:g}",
    "p_init": "p = {:g}",
}

T = TypeVar("T")


Arrays = TypeVar("Arrays", Samples, Embedding)


def _checked(path: Path, cure: str, read: Callable[[], T]) -> T:
    try:
        return read()
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, EOFError, zipfile.BadZipFile) as error:
        problem = f"no {error}" if isinstance(error, KeyError) else f"{error}"
        raise ValueError(f"{path} is damaged or not a result of advdpnp ({problem}): {cure}") from error


def _accuracy(value: float, interval: list[float], unevaluated: int = 0) -> Accuracy:
    low, high = interval
    return Accuracy(float(value), float(low), float(high), int(unevaluated))


def _attack(record: dict[str, Any]) -> tuple[AttackKey, Accuracy]:
    radius(record["eps"])
    names = ("name", "norm", "eps", "steps", "step_size", "restarts", "random_start")
    settings = tuple(words.format(record[name]) for name, words in SETTINGS.items() if name in record)
    key = AttackKey(**{name: record[name] for name in names}, settings=settings)
    return key, _accuracy(record["robust_accuracy"], record["interval95"], record.get("unevaluated", 0))


def _notes(attacks: dict[AttackKey, Accuracy], stored: dict[str, Any]) -> list[str]:
    """What attacks say of themselves, and how many images they left without a verdict."""
    said = [text for record in stored["attacks"] for text in record.get("notes", ())]
    left = {key: accuracy.unevaluated for key, accuracy in attacks.items() if accuracy.unevaluated}
    return said + [
        f"{key.label} {key.budget}: {count} of {stored['n']} images unevaluated, without a finite gradient to follow; "
        "they do not count as robust, and the interval reaches up to them"
        for key, count in left.items()
    ]


def _known_schema(stored: dict[str, Any]) -> dict[str, Any]:
    if stored["schema"] != SCHEMA:
        raise ValueError(f"schema {stored['schema']}, this version reads {SCHEMA}")
    return stored


def _geometry(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    """Geometry in which MeanSep is that of Eq. 11: earlier versions stored the mean over all pairs in its place."""
    if stored is None or PAIRWISE in stored or MEAN_SEPARATION not in stored:
        return stored
    return {PAIRWISE if name == MEAN_SEPARATION else name: value for name, value in stored.items()}


def _suite(path: Path) -> Suite:
    def read() -> Suite:
        stored = _known_schema(json.loads(path.read_text()))
        check_evaluation(stored)
        attacks = dict(map(_attack, stored["attacks"]))
        return Suite(
            name=stored["suite"],
            data=stored["data"],
            n=stored["n"],
            indices=stored["indices"],
            checkpoint=stored["checkpoint"],
            epoch=stored.get("epoch"),
            precision=stored["precision"],
            chunk=stored["chunk"],
            seconds=sum(record["seconds"] for record in stored["attacks"]),
            environment=stored.get("environment", {}),
            clean=_accuracy(stored["clean_accuracy"], stored["clean_interval95"]),
            attacks=attacks,
            worst_case=_accuracy(
                stored["worst_case_accuracy"],
                stored["worst_case_interval95"],
                stored.get("worst_case_unevaluated", 0),
            ),
            geometry=_geometry(stored.get("geometry")),
            warnings=list(stored.get("warnings", [])),
            search_precision=stored.get("search_precision", "fp32"),
            weights=stored.get("weights", ""),
            notes=_notes(attacks, stored),
            seeds=stored.get("seeds"),
            path=path,
        )

    return _checked(path, "evaluate the run again", read)


def _config(path: Path) -> dict[str, Any]:
    def read() -> dict[str, Any]:
        config = _known_schema(json.loads(path.read_text()))
        check_config(config)
        if "foreign" in config:
            config["foreign"]["model"], config["foreign"]["weights"], config["foreign"]["sha256"]
            return config
        config["defense"]["name"], config["recipe"]["name"], config["recipe"]["attack"]["eps"]
        return config

    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent} is not a run folder: expected config.json in it; "
            "give folders such as runs/digits/tiny/adv-dpnp/seed-0"
        )
    return _checked(path, "train the run again", read)


def _environment(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    return _checked(path, "delete it and train with --resume", lambda: dict(json.loads(path.read_text())))


def _epochs(path: Path) -> list[dict[str, Any]]:
    def read() -> list[dict[str, Any]]:
        text = path.read_text()
        # A kill during training may cut the last line short; only lines that end were written whole.
        epochs = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        for epoch in epochs:
            epoch["epoch"], epoch["seconds"], epoch["loss"]["total"], epoch["holdout"]
        return epochs

    return _checked(path, "resume the training", read) if path.is_file() else []


def _arrays(path: Path, kind: type[Arrays]) -> Arrays | None:
    import numpy as np

    def read() -> Arrays:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names, attack = [str(name) for name in stored["class_names"]], str(stored["attack"])
            arrays = {
                field.name: stored[field.name] for field in fields(kind) if field.name not in ("class_names", "attack")
            }
            return kind(**arrays, class_names=names, attack=attack)

    return _checked(path, "evaluate the run again", read) if path.is_file() else None


def _evaluations(folder: Path, data: str) -> list[Suite]:
    """The finished evaluations in a folder, in the order of their names, each suite once for each test set."""
    found: dict[tuple[str, str], Suite] = {}
    for path in sorted(folder.glob("*.json")):
        if path.name.endswith(".partial.json"):
            continue
        suite = _suite(path)
        name = suite.name + ("" if suite.data == data else "@" + suite.data.replace("/", "-"))
        first = found.get((suite.name, suite.data))
        kept = suite if first is None or path.stem == name else first
        found[suite.name, suite.data] = kept
        if first is not None:
            other = first if kept is suite else suite
            # A copy would count as one more seed.
            warnings.warn(f"{other.path} is left out: suite {name} is read from {kept.path.name}", stacklevel=2)
    return list(found.values())


def read_run(folder: Path) -> Run:
    """Everything stored in a run folder.

    Args:
        folder: runs/<data>/<backbone>/<defense>[+tag]/seed-<n>.
    Returns:
        The run; what was not measured is None or empty.
    Raises:
        FileNotFoundError: the folder has no config.json.
        ValueError: a file is damaged, lacks a field, or has another schema.
    """
    config, evaluations = _config(folder / "config.json"), folder / "eval"
    data = data_name(config)
    suites = _evaluations(evaluations, data)
    # Of the run's own test set; on another one it is a table.
    curve = next((suite for suite in suites if (suite.name, suite.data) == ("curve", data)), None)
    return Run(
        folder=folder,
        config=config,
        environment=_environment(folder / "environment.json"),
        epochs=_epochs(folder / "train.jsonl"),
        suites=[suite for suite in suites if suite is not curve],
        curve=curve,
        samples=_arrays(evaluations / "samples.npz", Samples),
        embedding=_arrays(evaluations / "embedding.npz", Embedding),
    )


def read_runs(folders: list[Path]) -> list[Run]:
    """Runs in the order of tables: by data, backbone, method, tag and seed.

    Raises:
        FileNotFoundError, ValueError: as `read_run`; ValueError also if there are no folders.
    """
    if not folders:
        raise ValueError("a report needs at least one run folder; got none: train and evaluate a run first")
    runs = sorted(map(read_run, folders), key=lambda run: run.order)
    for first, second in pairwise(runs):
        if first.order == second.order:
            raise ValueError(
                f"{first.folder} and {second.folder} are the same method, tag and seed: give one of them, "
                "or train one again with --name TAG"
            )
    return runs
