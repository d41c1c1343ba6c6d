"""A piece of a training that goes on from machine to machine: a state in, epochs, a state out."""

from pathlib import Path

from advdpnp.bench.timing import one_line
from advdpnp.runs import Run
from gpu.calls import IN_TIME, STALL, UNPACK
from gpu.context import Context
from gpu.going_on import MANIFEST, read_going_on, write_going_on
from gpu.pack import MANIFEST as PIECES
from gpu.processes import DONE, FAILED
from gpu.slot import Slot

# For the state to be written, after the last epoch.
STATE = 30.0


def run_piece(slot: Slot, label: str, epochs: int, momentum: str, stop_after: int | None = None) -> bool:
    """Bring what was carried, data or a state; with an arm, train it to the end or until the time is up, and leave a
    state.

    Args:
        slot: the call.
        label: of the arm; "" brings only.
        epochs: of the whole recipe.
        momentum: as what it leaves: "int8" or "zero".
        stop_after: epochs after which this piece ends; None leaves that to the time.
    Returns:
        Whether everything went as it should.
    """
    carry, ended = slot.places.carry, []
    if carry is not None and (carry / PIECES).is_file():
        ended += slot.run([slot.stage("unpack", "unpack", UNPACK)])
    if carry is not None and (carry / MANIFEST).is_file():
        ended += slot.run([slot.stage("state-in", "state-in", UNPACK, options={"arm": label})])
    if label and all(outcome["ended"] == "done" for outcome in ended):
        ended.append(_train(slot, label, epochs, stop_after))
        ended += slot.run(
            [slot.stage("state-out", "state-out", STATE, options={"arm": label, "momentum": momentum})], last=True
        )
    return all(outcome["ended"] in ("done", "out of time") for outcome in ended)


def _train(slot: Slot, label: str, epochs: int, stop_after: int | None) -> dict[str, object]:
    outcome: dict[str, object] = {}
    for attempt, engine in enumerate(slot.scale.engines):
        options = {
            "arm": label,
            "engine": engine,
            "batch": slot.scale.batches[0],
            "epochs": epochs,
            "benchmark": True,
            "whole_epochs": True,
            "stop_after": stop_after,
        }
        name = f"train-{label}" + (f".{attempt + 1}" if attempt else "")
        (outcome,) = slot.run([slot.stage(name, "train", slot.left - STATE, stall=STALL, options=options)])
        if outcome["ended"] in IN_TIME:
            break
    return outcome


def state_in_stage(context: Context) -> int:
    """Make a run of the state that was carried."""
    carry = context.places.carry
    assert carry is not None
    try:
        run = read_going_on(carry, context.places.runs / context.options["arm"])
    except (ValueError, KeyError, OSError) as error:
        context.keep(error=one_line(error))
        return FAILED
    notes = Path(run.folder / MANIFEST).read_text()
    print(f"{run.folder} goes on, not bitwise: {notes}", flush=True)
    context.keep(epoch=len(run.epochs()), notes=notes)
    return DONE


def state_out_stage(context: Context) -> int:
    """Write the state that the run has."""
    try:
        run = Run(context.run_folder(context.options["arm"]))
        manifest = write_going_on(run, context.places.out, context.options["momentum"])
    except (ValueError, KeyError, OSError) as error:
        context.keep(error=one_line(error))
        return FAILED
    print(manifest["not_bitwise"], flush=True)
    context.keep(epoch=manifest["epoch"], files=manifest["files"], not_bitwise=manifest["not_bitwise"])
    return DONE
