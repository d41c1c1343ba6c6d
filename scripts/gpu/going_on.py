"""Training that goes on elsewhere, from a state that came back: weights as they are, momentum in 8 bits or none."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from advdpnp.experiments import from_config
from advdpnp.runs import Json, Run, read_json, write_json
from gpu.weights import PART_BYTES, read_parts, write_parts

MomentumKind = Literal["int8", "zero"]
MANIFEST = "going-on.json"
_LEVELS = 127


def quantize(momentum: Tensor) -> tuple[Tensor, float]:
    """A tensor as int8 and its scale: m is about scale q, off by at most scale / 2."""
    largest = float(momentum.abs().max()) if momentum.numel() else 0.0
    scale = largest / _LEVELS
    if scale == 0.0:
        return torch.zeros_like(momentum, dtype=torch.int8), 0.0
    return (momentum.double() / scale).round().to(torch.int8), scale


def _momenta(state: Json) -> dict[str, Tensor]:
    """Momentum buffers, by the number of their parameter."""
    buffers = {number: entry.get("momentum_buffer") for number, entry in state["optimizer"]["state"].items()}
    return {str(number): buffer for number, buffer in buffers.items() if buffer is not None}


def write_going_on(run: Run, out: Path, momentum: MomentumKind = "int8", limit: int = PART_BYTES) -> Json:
    """Write a run's state, as it is between two epochs, in parts of at most `limit` bytes, with their SHA-256.

    Args:
        run: with a stored state.
        out: folder; going-on.json, weights-KofM.safetensors and momentum-KofM.safetensors are written to it.
        momentum: "int8", one scale for each tensor, or "zero": none.
        limit: bytes of a part.
    Returns:
        The content of going-on.json.
    Raises:
        ValueError: the state is not between two epochs, or holds what does not travel.
    """
    if momentum not in get_args(MomentumKind):
        raise ValueError(f"momentum travels as {' or '.join(get_args(MomentumKind))}; got {momentum!r}")
    state = run.read_state()
    if state["step"]:
        raise ValueError(
            f"{run.state_path} is in the middle of an epoch (step {state['step']}): train on to its end, and stop there"
        )
    if state["average"]["values"] or state["best"]:
        raise ValueError(f"{run.folder} has averaged or best weights, which do not travel: use neither of them")
    sums = {"weights": write_parts(state["model"], out, "weights", limit)}
    scales: dict[str, float] = {}
    if momentum == "int8":
        quantized = {number: quantize(buffer) for number, buffer in _momenta(state).items()}
        scales = {number: scale for number, (_, scale) in quantized.items()}
        sums["momentum"] = write_parts({number: q for number, (q, _) in quantized.items()}, out, "momentum", limit)
    manifest: Json = {
        "schema": 1,
        "config": run.config(),
        "environment": _environment(run),
        "epoch": state["epoch"],
        "terms": state["terms"],
        "train": run.epochs()[: state["epoch"]],
        "groups": [{**group, "lr": float(group["lr"])} for group in state["optimizer"]["param_groups"]],
        "momentum": momentum,
        "scales": scales,
        "files": sums,
        "not_bitwise": _not_bitwise(momentum, state["epoch"]),
        "before": read_json(run.folder / MANIFEST)["pieces"] if (run.folder / MANIFEST).exists() else [],
    }
    write_json(out / MANIFEST, manifest)
    return manifest


def _environment(run: Run) -> Json:
    path = run.folder / "environment.json"
    return read_json(path) if path.exists() else {}


def _not_bitwise(momentum: MomentumKind, epoch: int) -> str:
    how = "rounded to 8 bits with one scale for each tensor" if momentum == "int8" else "set to zero"
    return f"after epoch {epoch} the momentum was {how}; weights, statistics and place in the schedule are exact"


def read_going_on(folder: Path, out: Path) -> Run:
    """Make a run that `advdpnp train --resume` goes on with, from what `write_going_on` wrote.

    Args:
        folder: with going-on.json and the parts that it names.
        out: folder of all runs; the run must not be there yet.
    Returns:
        The run; its going-on.json says what is not bitwise.
    Raises:
        ValueError: a part is missing or damaged, or the run is there already.
    """
    manifest = read_json(folder / MANIFEST)
    run = Run(from_config(manifest["config"]).folder(out))
    if (run.folder / "config.json").exists():
        raise ValueError(f"{run.folder} is there already: give another folder for the runs, or remove it")
    model = read_parts(folder, manifest["files"]["weights"])
    momenta = _read_momenta(folder, manifest)
    run.create_or_verify(manifest["config"])
    for name, content in (
        ("environment.json", manifest["environment"]),
        (MANIFEST, {"pieces": [*manifest["before"], manifest["not_bitwise"]]}),
    ):
        write_json(run.folder / name, content)
    for line in manifest["train"]:
        run.append_epoch(line)
    run.write_state(_state(manifest, model, momenta))
    return run


def _read_momenta(folder: Path, manifest: Json) -> dict[str, Tensor]:
    if manifest["momentum"] == "zero":
        return {}
    quantized = read_parts(folder, manifest["files"]["momentum"])
    return {number: q.float() * manifest["scales"][number] for number, q in quantized.items()}


def _state(manifest: Json, model: Mapping[str, Tensor], momenta: Mapping[str, Tensor]) -> Json:
    """What `Training.restore` reads."""
    buffers = {int(number): {"momentum_buffer": momentum} for number, momentum in momenta.items()}
    return {
        "epoch": manifest["epoch"],
        "step": 0,
        "seconds": 0.0,
        "model": dict(model),
        "optimizer": {"state": buffers, "param_groups": manifest["groups"]},
        "average": {"count": 0, "values": {}},
        "terms": manifest["terms"],
        "sums": None,
        "best": None,
    }
