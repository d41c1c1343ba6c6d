"""What came back, into results/: what is whole is kept in the layout of run folders, what is broken is named."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from advdpnp.bench.timing import one_line
from advdpnp.runs import Json, Run, read_json, write_bytes, write_json
from gpu.checks import check_evaluation, check_training
from gpu.gathered import SCHEMA
from gpu.weights import read_parts


def collect(folders: Sequence[Path], out: Path) -> Json:
    """Read the folders that came back, in the order of the calls, and write what is whole.

    Args:
        folders: each with the slot.json of a call, and weights.
        out: such as results/gpu/a-2026-01-31; it must not be there yet. Weights go to a folder beside it.
    Returns:
        What was kept, and what was refused and why; also written as collected.json.
    Raises:
        ValueError: none of the folders has a slot.json that can be read, or `out` is there already.
    """
    if out.exists():
        raise ValueError(f"{out} is there already: give another folder, or remove it")
    refused: list[str] = []
    slot = _last_readable(folders, refused)
    kept: list[str] = []
    for label, arm in slot["arms"].items():
        if arm:
            kept += _keep_arm(label, arm, out, refused)
    kept += _keep_weights(slot, folders, out, refused)
    write_json(out / "slot.json", {name: slot[name] for name in slot if name != "arms"})
    for number, folder in enumerate(folders, start=1):
        if (folder / "log.txt").is_file():
            write_bytes(out / f"log-{number}.txt", (folder / "log.txt").read_bytes())
    report: Json = {"schema": 1, "commit": slot["commit"], "kept": kept, "refused": refused}
    write_json(out / "collected.json", report)
    return report


def _last_readable(folders: Sequence[Path], refused: "list[str]") -> Json:
    """The last call's object; each holds what the ones before it had."""
    for folder in reversed(folders):
        try:
            slot = read_json(folder / "slot.json")
            if slot.get("schema") != SCHEMA:
                raise ValueError(f"{folder / 'slot.json'} has schema {slot.get('schema')}, not {SCHEMA}")
            return slot
        except (ValueError, FileNotFoundError) as error:
            refused.append(f"{folder.name}: {one_line(error)}")
    raise ValueError(f"nothing can be read: {'; '.join(refused)}")


def _keep_arm(label: str, arm: Json, out: Path, refused: "list[str]") -> "list[str]":
    """One arm's run without checkpoints; its training first, since results mean nothing without it."""
    try:
        check_training(arm["config"], arm["train"], arm["trained"])
    except (ValueError, KeyError, TypeError) as error:
        refused.append(f"{label}: {one_line(error)}")
        return []
    run, kept = Run(out / arm["folder"]), [f"{label}: {len(arm['train'])} epochs"]
    write_json(run.folder / "config.json", arm["config"])
    write_json(run.folder / "environment.json", arm["environment"])
    if arm["going_on"]:
        write_json(run.folder / "going-on.json", arm["going_on"])
    write_bytes(run.folder / "train.jsonl", "".join(json.dumps(line) + "\n" for line in arm["train"]).encode())
    for name, result in arm["eval"].items():
        try:
            check_evaluation(result)
        except (ValueError, KeyError, TypeError) as error:
            refused.append(f"{label}, {name}: {one_line(error)}")
            continue
        write_json(run.eval_path(f"{name}.json"), result)
        kept.append(f"{label}, {name}: {result['n']} images")
    # What was cut short says what it had found by then, but is no result.
    refused += [f"{label}, {name}: cut short" for name in arm["partial"]]
    return kept


def _keep_weights(slot: Json, folders: Sequence[Path], out: Path, refused: "list[str]") -> "list[str]":
    """Weights joined and in fp32, as runs of their own, which git leaves out: results are not of rounded weights."""
    kept = []
    for label, entry in slot["weights"].items():
        arm = slot["arms"].get(label) or {}
        folder = next((f for f in folders if all((f / name).is_file() for name in entry["files"])), folders[-1])
        try:
            weights = read_parts(folder, entry["files"])
            if not all(bool(w.isfinite().all()) for w in weights.values() if w.is_floating_point()):
                raise ValueError("weights are not finite")
            if entry["epoch"] != len(arm["train"]):
                raise ValueError(f"weights of epoch {entry['epoch']}, but {len(arm['train'])} epochs were trained")
        except (ValueError, KeyError) as error:
            refused.append(f"{label}, weights: {one_line(error)}")
            continue
        trained = Run(out / arm["folder"]).folder
        if not (trained / "config.json").exists():
            refused.append(f"{label}, weights: its training was refused")
            continue
        run = Run(out.with_name(f"{out.name}-weights") / arm["folder"])
        for name in ("config.json", "environment.json", "train.jsonl"):
            write_bytes(run.folder / name, (trained / name).read_bytes())
        full = {name: w.float() if w.dtype == torch.bfloat16 else w for name, w in weights.items()}
        run.write_weights("last", full, entry["epoch"])
        kept.append(f"{label}, weights: rounded to {entry['precision']}")
    return kept
