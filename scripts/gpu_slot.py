"""A GPU for a limited time: pack data, run three unattended calls, collect what came back.

    python3 scripts/gpu_slot.py pack --data-root DATA              CIFAR-10 into .carry/1 and .carry/2
    python3 scripts/gpu_slot.py call 1 --carry .carry/1 --work /tmp/slot --out OUT    does it work, how fast is it
    python3 scripts/gpu_slot.py call 2 --carry .carry/2 --work /tmp/slot --out OUT    train, measure, search
    python3 scripts/gpu_slot.py call 3 --work /tmp/slot --out OUT                     weights
    python3 scripts/gpu_slot.py collect BACK-1 BACK-2 BACK-3 --into results/gpu/a-DATE
    python3 scripts/gpu_slot.py go-on ...                          a piece of a training in several slots
    python3 scripts/gpu_slot.py rehearse                           all of it on a CPU, tiny

Status 0: done. Status 1: something is missing, and named. Status 2: it cannot run.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

from gpu.processes import REFUSED, log_line, next_job  # noqa: E402
from gpu.scale import Scale, chosen  # noqa: E402
from gpu.slot import Places, Slot  # noqa: E402


def call(arguments: argparse.Namespace) -> int:
    """One of the three calls."""
    from gpu.calls import CALLS

    slot = _slot(arguments, arguments.number)
    try:
        CALLS[arguments.number - 1](slot)
    finally:
        misfits = slot.close()
    return 1 if misfits else 0


def go_on(arguments: argparse.Namespace) -> int:
    """A piece of a training."""
    from gpu.piece import run_piece

    # The longest of the calls.
    slot = _slot(arguments, 2)
    well = False
    try:
        well = run_piece(slot, arguments.arm, arguments.epochs, arguments.momentum, arguments.stop_after)
    finally:
        misfits = slot.close()
    return 0 if well and not misfits else 1


def _slot(arguments: argparse.Namespace, number: int) -> Slot:
    commit = arguments.commit or os.environ.get("ADVDPNP_COMMIT", "") or _carried_commit(arguments.carry)
    return Slot(_places(arguments), arguments.scale, number, arguments.seconds, arguments.left, commit)


def _carried_commit(carry: Path | None) -> str:
    path = carry / "pieces.json" if carry is not None else None
    return json.loads(path.read_text())["commit"] if path is not None and path.is_file() else ""


def _places(arguments: argparse.Namespace) -> Places:
    return Places(arguments.work, arguments.out, arguments.carry)


def worker(arguments: argparse.Namespace) -> int:
    """A process for one stage, which imports everything before it is told which."""
    from gpu.context import Context
    from gpu.stages import STAGES

    # Whoever starts commands in the background may have had Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    job = next_job()
    if job is None:
        return REFUSED
    print(f"== {job['name']}", flush=True)
    places = Places(Path(job["work"]), Path(job["out"]), Path(job["carry"]) if job["carry"] else None)
    deadline = min(time.time() + job["seconds"], job["deadline"])
    context = Context(job["name"], places, chosen(job["scale"]), deadline, job["options"])
    return STAGES[job["what"]](context)


def pack(arguments: argparse.Namespace) -> int:
    """Data into pieces."""
    from advdpnp.data import data_root
    from gpu.pack import main as pack_main

    return pack_main(arguments.data, data_root(arguments.data_root), ROOT, arguments.out)


def collect(arguments: argparse.Namespace) -> int:
    """What came back into results."""
    from gpu.collect import collect as collect_folders

    report = collect_folders(arguments.folders, arguments.into)
    print("\n".join([*report["kept"], *(f"refused: {text}" for text in report["refused"])]))
    return 1 if report["refused"] else 0


def rehearse(arguments: argparse.Namespace) -> int:
    """Everything, tiny."""
    from gpu.rehearse import rehearse as run_rehearsal

    return run_rehearsal(arguments.folder)


def _scale(name: str) -> Scale:
    try:
        return chosen(name)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--work", type=Path, required=True, help="folder outside the checkout, kept from call to call")
    places.add_argument("--out", type=Path, required=True, help="folder that comes back")
    places.add_argument("--carry", type=Path, help="packed data, or a state, that came with this call")
    places.add_argument(
        "--scale",
        type=_scale,
        default="real",
        help="real, pair: AT and Adv-DPNP, D:oc,pcl: other arms for row D, tiny for a rehearsal, full: whole recipe",
    )

    timed = argparse.ArgumentParser(add_help=False)
    timed.add_argument("--seconds", type=float, help="how long this call may take")
    timed.add_argument("--left", type=float, help="seconds that the machine is still had for, of 15 minutes, if known")
    timed.add_argument("--commit", default="", help="of the checkout; else $ADVDPNP_COMMIT, else what the pack says")

    one = commands.add_parser("call", parents=[places, timed], help="one of the three calls")
    one.add_argument("number", type=int, choices=(1, 2, 3))
    one.set_defaults(run=call)

    piece = commands.add_parser("go-on", parents=[places, timed], help="a piece of a training in several slots")
    piece.add_argument("--arm", default="", help="what is trained; without it, data or a state is only brought")
    piece.add_argument("--epochs", type=int, default=110, help="of the whole recipe")
    piece.add_argument("--stop-after", type=int, help="epochs after which this piece ends, if time does not end it")
    piece.add_argument("--momentum", choices=("int8", "zero"), default="int8", help="as what it leaves")
    piece.set_defaults(run=go_on)

    commands.add_parser("worker").set_defaults(run=worker)

    packing = commands.add_parser("pack", help="CIFAR files into pieces for two calls")
    packing.add_argument("--data", default="cifar10", choices=("cifar10",))
    packing.add_argument("--data-root", type=Path, help="folder of the data files")
    packing.add_argument("--out", type=Path, default=ROOT / ".carry")
    packing.set_defaults(run=pack)

    collecting = commands.add_parser("collect", help="what came back, checked, into results")
    collecting.add_argument("folders", type=Path, nargs="+", help="what came back, in the order of the calls")
    collecting.add_argument("--into", type=Path, required=True, help="such as results/gpu/a-2026-01-31")
    collecting.set_defaults(run=collect)

    rehearsal = commands.add_parser("rehearse", help="everything on a CPU, tiny")
    rehearsal.add_argument("--folder", type=Path, help="where; by default a temporary folder")
    rehearsal.set_defaults(run=rehearse)
    return whole


def main(command_line: list[str]) -> int:
    """Run a command; errors of the user end it with one line."""
    arguments = parser().parse_args(command_line)
    try:
        return int(arguments.run(arguments))
    except (ValueError, OSError) as error:
        log_line(f"{type(error).__name__}: {error}")
        return REFUSED


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
