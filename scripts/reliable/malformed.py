"""Values that make no sense, in files that are whole: each ends a command with one line and status 2."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from advdpnp.runs import Json, Run
from advdpnp.weights_file import read_weights, weights_bytes
from reliable.processes import said

# By the type that a value should have.
ODD: tuple[Any, ...] = (None, True, -1, 0.5, "x", "../../x", "\x00", "x" * 100_000, [], [[]], {}, {"x": {}}, 10**400)


def _rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    """Change stored JSON as whoever edits it by hand, without its checksum."""
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    path.write_text(json.dumps(change(content)))


def places(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values are: every key, and the first item of every list."""
    if isinstance(content, dict):
        return [place for key, inner in content.items() for place in [(*path, key), *places(inner, (*path, key))]]
    return [(*path, 0), *places(content[0], (*path, 0))] if isinstance(content, list) and content else []


def with_value(content: Any, place: tuple[Any, ...], value: Any) -> Any:
    """The same content with another value at a place, changed itself."""
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    return content


def _without(content: Any, place: tuple[Any, ...]) -> Any:
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    del inside[place[-1]]
    return content


def _changes(path: Path, most: int) -> list[tuple[str, Callable[[Any], Any]]]:
    """Changes of a JSON file: (what, change)."""
    content = json.loads(path.read_text())
    content.pop("sha256", None)
    there = places(content)
    step = max(1, len(there) * (len(ODD) + 1) // most)
    found: list[tuple[str, Callable[[Any], Any]]] = [
        ("nested deeply", lambda _: json.loads("[" * 500 + "]" * 500)),
        ("no object", lambda _: []),
        ("nothing in it", lambda _: {}),
        ("more in it", lambda content: {**content, "further": 1}),
        ("of a later schema", lambda content: {**content, "schema": 99}),
        ("of an earlier schema", lambda content: {**content, "schema": 0}),
    ]
    every: list[tuple[str, Callable[[Any], Any]]] = []
    for place in there:
        name = ".".join(map(str, place))
        every.append((f"no {name}", lambda content, place=place: _without(content, place)))
        for value in ODD:
            shown = repr(value)[:20] if not isinstance(value, int) or value < 10**6 else "a number of 400 digits"
            every.append(
                (f"{name} = {shown}", lambda content, place=place, value=value: with_value(content, place, value))
            )
    return [*found, *every[::step]]


def malformed(run: Run, work: Path, most: int) -> list[Json]:
    """What becomes of malformed values, by kind of file: refused with status 2 and one line, or taken.

    `missed` are tracebacks, other statuses, and more than one line; there must be none.
    """
    other = run.eval_path("look.json")
    commands: dict[str, tuple[Path, tuple[object, ...]]] = {
        "config.json": (run.folder / "config.json", ("evaluate", run.folder, "--suite", "clean", "--limit", 8)),
        "a result": (other, ("compare", run.folder, run.folder, "--suite", "look")),
        "a result, exported": (other, ("export", run.folder, "--out", work / "out", "--force", "--images", 8)),
        "environment.json": (
            run.folder / "environment.json",
            ("export", run.folder, "--out", work / "out", "--force", "--images", 8),
        ),
        "an unfinished evaluation": (
            run.eval_path("left.partial.json"),
            ("evaluate", run.folder, "--attack", "fgsm", "--suite", "left", "--limit", 100, "--resume"),
        ),
    }
    rows = list[Json]()
    for name, (path, command) in commands.items():
        content = path.read_bytes()
        outcomes = list[tuple[str, str]]()
        for what, change in _changes(path, most):
            path.write_bytes(content)
            _rewritten(path, change)
            outcomes.append((what, _outcome(command, path)))
        path.write_bytes(content)
        rows.append(row(name, outcomes))
    return [*rows, row("weights", _weights(run)), row("state.pt", _states(run))]


def row(name: str, outcomes: list[tuple[str, str]]) -> Json:
    """Counts of outcomes of one kind of file, and what was missed."""
    missed = [f"{what}: {outcome}" for what, outcome in outcomes if outcome not in ("refused", "taken")]
    counts = {kind: sum(outcome == kind for _, outcome in outcomes) for kind in ("refused", "taken")}
    return {"file": name, "tried": len(outcomes), **counts, "missed": missed}


def _outcome(command: tuple[object, ...], path: Path) -> str:
    try:
        status, _, told = said(*command, "--threads", 1)
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:120]
    lines = [line for line in told.splitlines() if line.startswith("advdpnp: ")]
    if status == 0:
        return "taken"
    return "refused" if status == 2 and len(lines) == 1 else f"status {status}, {len(lines)} lines"


def _weights(run: Run) -> list[tuple[str, str]]:
    path, outcomes = run.weights_path("last"), list[tuple[str, str]]()
    content = path.read_bytes()
    mapped, facts, _ = read_weights(path)
    # The file itself is the memory of what is read from it.
    weights = {name: tensor.clone() for name, tensor in mapped.items()}
    # torch makes up for a missing counter of batches, which no answer depends on.
    first = next(name for name in weights if not name.endswith("num_batches_tracked"))
    changes: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "a tensor less": ({k: v for k, v in weights.items() if k != first}, facts),
        "a tensor more": (weights | {"more": torch.zeros(3)}, facts),
        "another shape": (weights | {first: torch.zeros(3)}, facts),
        "no tensors": ({}, facts),
        "no epoch": (weights, {"config": facts["config"]}),
        "an epoch that is none": (weights, facts | {"epoch": "x"}),
        "no config": (weights, {"epoch": 1}),
        "a config that is none": (weights, facts | {"config": 3}),
        "a config of another": (weights, facts | {"config": facts["config"] | {"seed": 99}}),
        "no facts": (weights, {}),
    }
    for what, (tensors, told) in changes.items():
        path.write_bytes(weights_bytes(tensors, told))
        outcomes.append((what, _outcome(("evaluate", run.folder, "--suite", "clean", "--limit", 8), path)))
    path.write_bytes(content)
    return outcomes


def _states(run: Run) -> list[tuple[str, str]]:
    """Every entry of the state away, or of another kind."""
    path, outcomes = run.state_path, list[tuple[str, str]]()
    content = path.read_bytes()
    command = (
        "train", "digits/tiny/adv-dpnp", "--out", run.folder.parents[3], "--resume", "--set", "recipe.epochs=2",
        "--set", "recipe.train_images=64", "--set", "recipe.holdout=40", "--set", "recipe.attack.steps=1",
    )  # fmt: skip
    names = sorted(run.read_state())
    changes: list[tuple[str, Callable[[Json], Json]]] = []
    for name in names:
        changes.append((f"no {name}", lambda state, name=name: {k: v for k, v in state.items() if k != name}))
        for value in (None, "x", -1, [1, 2], {"x": 3}):
            changes.append((f"{name} = {value!r}", lambda state, name=name, value=value: state | {name: value}))
    for what, change in changes:
        path.write_bytes(content)
        torch.save(change(run.read_state()), path)
        outcomes.append((what, _outcome(command, path)))
        path.write_bytes(content)
    return outcomes
