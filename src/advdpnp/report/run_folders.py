"""Which folders of runs a report is on, whole or broken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from advdpnp.runs import RUN_TRACES, list_runs


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """The folders of all runs at or under paths that a user gave, each once, in order.

    Among them are those of runs that lack their configuration; a path that holds no run stands for itself, so that
    whoever reads it says what it is instead.
    """
    return list(dict.fromkeys(folder for path in paths for folder in _below(path) or [path]))


def _below(path: Path) -> list[Path]:
    return sorted({*list_runs(path), *_without_config(path)})


def _without_config(path: Path) -> Iterator[Path]:
    # A renamed folder is known by what only a run has.
    logs, weights = path.rglob("train.jsonl"), path.rglob("checkpoints/*.safetensors")
    renamed = (*(file.parent for file in logs), *(file.parent.parent for file in weights))
    for folder in (*path.rglob("seed-*"), *renamed):
        whole = (folder / "config.json").is_file()
        if not whole and folder.is_dir() and any((folder / name).exists() for name in RUN_TRACES):
            yield folder
