"""The measurement: every group's sides in turn, into one JSON file, complete after every run, so that it goes on."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from advdpnp.bench.ceilings import describe_machine
from advdpnp.bench.timing import one_line, timed
from advdpnp.bench.variants import BenchModel, attack_gflop, update_gflop
from advdpnp.experiments import experiment
from advdpnp.runs import Json, read_json, write_json
from peers.attacks import apgd_sides, pgd_sides
from peers.searches import check_data, search_groups
from peers.side import Group, Output, Side
from peers.steps import at_sides, naive_side, our_sides, trades_sides
from peers.subject import CPU, ceilings, settled

PACKAGES = ("torchattacks", "adversarial-robustness-toolbox", "foolbox", "adv-lib", "pyautoattack")
# Of the machine, what must be the same for a measurement to go on.
_SAME = ("cpu", "cpu_family_model", "cpu_instructions", "torch", "threads", "packages")
_SMOOTHING = 0.6
WORKS = ("attack", "apgd", "at-step", "trades-step", "adv-dpnp-step")


@dataclass(frozen=True)
class Protocol:
    """What is measured, and how often.

    Args:
        networks: (backbone, batch, rounds) of attacks and training steps.
        searches: networks of `peers.searches.SUBJECTS`, for AutoAttack.
        search_images: of each of them.
        search_repeats: rounds of AutoAttack.
        steps: iterations of the attack.
        training_steps: that make a network fit to be attacked.
        precisions: ours.
        compiled: whether our compiled engine has rows too.
    """

    networks: tuple[tuple[str, int, int], ...]
    searches: tuple[str, ...]
    search_images: int = 200
    search_repeats: int = 3
    steps: int = 10
    training_steps: int = 60
    precisions: tuple[str, ...] = ("fp32", "bf16")
    compiled: bool = True


FULL = Protocol((("resnet8", 128, 5), ("resnet18", 32, 3)), ("digits", "cnn", "resnet8"))
CI = Protocol((("resnet8", 64, 3),), ("digits",), compiled=False)


def plan(protocol: Protocol) -> list[tuple[tuple[str, ...], Callable[[], list[Group]]]]:
    """Names of groups that are made together, and what makes them."""
    parts: list[tuple[tuple[str, ...], Callable[[], list[Group]]]] = []
    for backbone, batch, repeats in protocol.networks:
        names = tuple(f"{backbone}/{work}" for work in WORKS)
        parts.append((names[:4], lambda of=(backbone, batch, repeats): _on_linear_head(protocol, *of)))
        parts.append((names[4:], lambda of=(backbone, batch, repeats): _on_prototypes(protocol, *of)))
    for name in protocol.searches:
        make = (name,), protocol.search_images, protocol.search_repeats, protocol.precisions
        parts.append(((f"{name}/autoattack",), lambda make=make: search_groups(*make)))
    return parts


def measure(protocol: Protocol, out: Path, only: Sequence[str], tell: Callable[[str], None]) -> Json:
    """Measure what `out` does not have yet; each run is stored at once.

    Args:
        protocol: what.
        out: JSON file; an unfinished one of the same protocol and machine is gone on with, a finished one is replaced.
        only: names of groups; empty for all.
        tell: called with a line after every run.
    Raises:
        ValueError: the file is unfinished and of another protocol or machine; no such group. FileNotFoundError: images
            of a group are missing, before anything is measured.
    """
    parts = plan(protocol)
    known = [name for names, _ in parts for name in names]
    if unknown := set(only) - set(known):
        raise ValueError(f"no group {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    check_data(name for name in protocol.searches if not only or f"{name}/autoattack" in only)
    result = _begin(protocol, out, known)

    def save() -> None:
        result["finished"] = all(result["groups"].get(name, {}).get("finished", False) for name in known)
        write_json(out, result)

    for names, make in parts:
        wanted = [name for name in names if not only or name in only]
        if all(result["groups"].get(name, {}).get("finished", False) for name in wanted):
            continue
        for group in make():
            if group.name in wanted:
                GroupTiming(group, result["groups"].setdefault(group.name, {}), save, tell).run()
    save()
    return result


@dataclass(frozen=True)
class GroupTiming:
    """One group into its entry of the result.

    Args:
        group: what is measured.
        entry: filled in place.
        save: called after every change.
        tell: called with a line after every run.
    """

    group: Group
    entry: Json
    save: Callable[[], None]
    tell: Callable[[str], None]

    def run(self) -> None:
        """Warm up the sides that lack rounds, then time them in turn."""
        group, entry = self.group, self.entry
        entry |= {"title": group.title, "images": group.images, "gflop_per_image": group.gflop}
        rows = entry.setdefault("sides", {side.name: {"precision": side.precision} for side in group.sides})
        if group.ceilings is not None and "ceilings" not in entry:
            entry["ceilings"] = group.ceilings()
            self.save()
        for row in rows.values():
            row.pop("error", None)
        ready = {
            side.name: work
            for side in group.sides
            if len(rows[side.name].get("seconds", ())) < group.repeats and (work := self._prepared(side)) is not None
        }
        for number in range(group.repeats):
            for name, work in ready.items():
                if len(rows[name].get("seconds", ())) <= number and "error" not in rows[name]:
                    self._time(name, work, number)
        entry["finished"] = not any("error" in row for row in rows.values())
        self.save()

    def _prepared(self, side: Side) -> Callable[[int], Callable[[], Output]] | None:
        row, began = self.entry["sides"][side.name], time.process_time()
        try:
            ready = side.prepare()
            ready(0)()
        # A library fails in its own way, and the others are measured.
        except Exception as error:
            row["error"] = one_line(error)
            self.tell(f"{self.group.name}, {side.name}: {row['error']}")
            self.save()
            return None
        row["warm_up_seconds"] = round(time.process_time() - began, 3)
        return ready

    def _time(self, name: str, ready: Callable[[int], Callable[[], Output]], number: int) -> None:
        row, kept = self.entry["sides"][name], []
        try:
            work = ready(number + 1)
            seconds, wall = timed(CPU, lambda: kept.append(work()))
        except Exception as error:
            row["error"] = one_line(error)
        else:
            found = {"seconds": round(seconds, 6), "wall_seconds": round(wall, 6)}
            found |= strength(self.group.judge, kept[0]) | {"load_average": _load()}
            for key, value in found.items():
                row.setdefault(key, []).append(value)
            if name in self.group.parts:
                attacks = {attack: round(value, 3) for attack, value in self.group.parts[name].items()}
                row.setdefault("attacks", []).append(attacks)
        self.save()
        self.tell(f"{self.group.name}, {name}: " + (row.get("error") or f"{row['seconds'][-1]:.4g} s"))


@torch.no_grad()
def strength(judge: nn.Module, output: Output) -> Json:
    """How strong images are to the fp32 network: robust accuracy, and where there are images mean cross-entropy."""
    if isinstance(output, torch.Tensor):
        return {"robust_accuracy": output.double().mean().item()}
    x_adv, y = output
    logits = judge(x_adv)
    loss = nn.functional.cross_entropy(logits.double(), y).item()
    return {"robust_accuracy": (logits.argmax(1) == y).double().mean().item(), "mean_loss": round(loss, 6)}


def _begin(protocol: Protocol, out: Path, known: list[str]) -> Json:
    machine = describe_machine(CPU) | {"packages": {name: _version(name) for name in PACKAGES}}
    session = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "load_average": _load()}
    session |= {key: machine.pop(key) for key in ("commit", "dirty", "command") if key in machine}
    machine.pop("load_average", None)
    wanted = {"schema": 1, "protocol": _plain(asdict(protocol)), "machine": machine}
    if not out.exists() or (found := read_json(out)).get("finished", True):
        return wanted | {"sessions": [session], "groups": {}, "finished": False}
    theirs, ours = (
        {"protocol": read["protocol"]} | {key: read["machine"].get(key) for key in _SAME} for read in (found, wanted)
    )
    if theirs != ours:
        differing = ", ".join(key for key in ours if theirs[key] != ours[key])
        raise ValueError(f"{out} is unfinished and differs in {differing}: delete it to begin anew, or choose --out")
    found["sessions"].append(session)
    return found


def _plain(value: Any) -> Any:
    """Tuples as the lists that JSON makes of them."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _load() -> float:
    return round(float(Path("/proc/loadavg").read_text().split()[0]), 2) if Path("/proc/loadavg").exists() else -1.0


def _on_linear_head(protocol: Protocol, backbone: str, batch: int, repeats: int) -> list[Group]:
    """Attacks, and the steps of AT and TRADES."""
    at = settled(backbone, "at", batch, protocol.steps, protocol.training_steps)
    trades_experiment = experiment(f"cifar10/{backbone}/trades", "paper")
    attack = replace(trades_experiment.recipe.attack, steps=protocol.steps)
    recipe = replace(at.experiment.recipe, attack=attack)
    # Its attack climbs on what differs from the clean answer, which a network that is sure of it hides.
    unsure = settled(backbone, "at", batch, protocol.steps, protocol.training_steps, _SMOOTHING)
    trades = BenchModel(replace(trades_experiment, recipe=recipe), unsure.model, unsure.images)
    lean, of = attack_gflop(at)["lean"], f"{backbone}, batch {batch}"
    precisions, measured = protocol.precisions, lambda: ceilings(at, protocol.precisions)

    def group(work: str, title: str, sides: tuple[Side, ...], gflop: float | None) -> Group:
        shares, judge = measured if gflop is not None else None, (trades if work == "trades-step" else at).model
        return Group(f"{backbone}/{work}", f"{title}, {of}", batch, repeats, sides, judge, gflop, shares)

    pgd = f"PGD-{protocol.steps}"
    return [
        group("attack", pgd, pgd_sides(at, precisions, protocol.compiled), lean),
        group("apgd", "APGD", apgd_sides(at, precisions), None),
        group("at-step", f"AT step, {pgd}", at_sides(at, precisions), lean + update_gflop(at)),
        group("trades-step", f"TRADES step, {pgd}", trades_sides(trades, precisions), lean + update_gflop(trades)),
    ]


def _on_prototypes(protocol: Protocol, backbone: str, batch: int, repeats: int) -> list[Group]:
    """The step of Adv-DPNP."""
    subject = settled(backbone, "adv-dpnp", batch, protocol.steps, protocol.training_steps)
    sides = naive_side(subject), *our_sides(subject, protocol.precisions, protocol.compiled)
    gflop = attack_gflop(subject)["lean"] + update_gflop(subject)
    title = f"Adv-DPNP step, PGD-{protocol.steps}, {backbone}, batch {batch}"
    measured = lambda: ceilings(subject, protocol.precisions)  # noqa: E731
    return [
        Group(f"{backbone}/adv-dpnp-step", title, batch, repeats, sides, subject.model, gflop, measured),
    ]
