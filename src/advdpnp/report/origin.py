"""How the numbers of a run were made: seed, recipe, attack, software, time, commands, configuration."""

from __future__ import annotations

import json
from typing import Any

from advdpnp.report.figures import color
from advdpnp.report.stored import Run, Suite
from advdpnp.report.tables import percent


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _software(environment: dict[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {environment[name]}" for name in ("advdpnp", "torch", "python") if name in environment
    )
    where = f"{environment.get('device', '?')}, {environment.get('threads', '?')} threads"
    commit = str(environment.get("commit", ""))[:10] or "unknown"
    changed = ", with uncommitted changes" if environment.get("dirty") else ""
    return f"{versions}; {where}; commit {commit}{changed}" if environment else "not recorded"


def _training(run: Run) -> list[tuple[str, str]]:
    recipe, attack = run.config["recipe"], run.config["recipe"]["attack"]
    seconds = sum(line["seconds"] for line in run.epochs)
    done = (
        f"{len(run.epochs)} of {recipe.get('epochs', '?')} epochs in {_duration(seconds)}"
        if run.epochs
        else "not recorded"
    )
    inner = f"{attack.get('steps', '?')} steps, ε = {attack['eps']:.4g}, BatchNorm in {attack.get('mode', '?')} mode"
    return [
        ("seed", str(run.seed)),
        ("recipe", f"{run.recipe}; {recipe.get('holdout') or 'no'} training images held out"),
        ("attack of training", inner),
        ("training", done),
        ("trained with", _software(run.environment)),
    ]


def _foreign(run: Run, source: dict[str, Any]) -> list[tuple[str, str]]:
    given = ", ".join(f"{name}={value}" for name, value in source.get("arguments", {}).items())
    mean, std = (", ".join(f"{value:g}" for value in source.get(name, ())) for name in ("mean", "std"))
    return [
        ("network", f"{source['model']}({given})"),
        ("weights", f"{source['weights'] or 'as built'}, SHA-256 {source['sha256'][:16]}…"),
        ("normalization", f"mean {mean}, std {std}" if mean else "none, or its own"),
        ("first measured with", _software(run.environment)),
    ]


def _over_seeds(suite: Suite) -> str:
    worst = (suite.seeds or {})["worst_case"]
    mean, spread = (percent(worst[name], suite.n) for name in ("mean", "spread"))
    return f"worst case {mean} % on average, spread {spread}; the tables have the first seed"


def origin(run: Run) -> dict[str, Any]:
    """How the numbers of a run were made: pairs of name and text, the commands, and the whole configuration."""
    facts = _foreign(run, run.foreign) if run.foreign else _training(run)
    commands = [run.environment["command"]] if "command" in run.environment else []
    for suite in [*run.suites, *([run.curve] if run.curve else [])]:
        weights = suite.checkpoint if suite.epoch is None else f"{suite.checkpoint} checkpoint (epoch {suite.epoch})"
        searched = f" (searched in {suite.search_precision})" if suite.search_precision != "fp32" else ""
        measured = f"{weights}, images {suite.indices}, {suite.precision}{searched}, "
        facts.append(
            (f"suite {suite.name}", f"{measured}chunks of {suite.chunk}, {_duration(suite.seconds)} of attacks")
        )
        if suite.environment and _software(suite.environment) != _software(run.environment):
            facts.append((f"{suite.name} measured with", _software(suite.environment)))
        facts += [(f"{suite.name}: warning", text) for text in suite.warnings]
        if suite.seeds:
            facts.append((f"{suite.name}: {suite.seeds['count']} seeds of the attacks", _over_seeds(suite)))
        commands += [suite.environment["command"]] if "command" in suite.environment else []
    return {
        "name": f"{run.name} ({run.place})",
        "color": color(run.defense),
        "facts": facts,
        "commands": list(dict.fromkeys(commands)),
        "config": json.dumps(run.config, indent=1, ensure_ascii=False),
    }
