"""SIGKILL at random moments of a training, an evaluation and a report, each gone on with to its end."""

import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from advdpnp.metrics import unpack
from advdpnp.runs import Json, Run, read_json
from reliable.processes import killed_after, started, status_of

TRAINING = (
    "digits/tiny/adv-dpnp", "--threads", 1, "--checkpoint-seconds", 0, "--set", "recipe.epochs=2",
    "--set", "recipe.train_images=320", "--set", "recipe.batch_size=32", "--set", "recipe.attack.steps=3",
)  # fmt: skip
ATTACKS = (
    "apgd-ce:eps=0.14,steps=20", "apgd-t:eps=0.14,steps=20,targets=3", "fab-t:eps=0.14,steps=20,targets=3",
    "square:eps=0.14,steps=100",
)  # fmt: skip
EVALUATION = ("--threads", 1, "--suite", "killed", *(word for attack in ATTACKS for word in ("--attack", attack)))
# A whole piece of work is killed about so many times.
PIECES = 5
# Clock times, and norms of whichever attempt came first, are no verdicts.
_TIMES = ("seconds", "largest_norm", "mean_norm")


def trained(out: Path) -> Run:
    """A run that nobody disturbed."""
    if status := status_of(started("train", *TRAINING, "--out", out)):
        raise RuntimeError(f"training ended with {status}")
    return Run(out / "digits/tiny/adv-dpnp/seed-0")


def _until_finished(
    begin: Callable[[bool], int], seconds: float, chance: random.Random, left: int
) -> tuple[int, float]:
    """Kill and go on until the work is done, at most `left` times; how many kills, and seconds of all."""
    kills, began = 0, time.monotonic()
    process = begin(False)
    while kills < left and killed_after(process, chance.uniform(0, 2 * seconds / PIECES)):
        kills += 1
        process = begin(True)
    else:
        if kills == left and (status := status_of(process)):
            raise RuntimeError(f"after {kills} kills it ended with {status}")
    return kills, time.monotonic() - began


def _repeated(
    kills: int,
    begin: Callable[[bool], int],
    again: Callable[[], None],
    alike: Callable[[], Json],
    chance: random.Random,
) -> Json:
    """Work that is killed so many times in all, from the beginning each time that it was finished."""
    began = time.monotonic()
    if status := status_of(begin(False)):
        raise RuntimeError(f"undisturbed it ended with {status}")
    usual, done, rounds = time.monotonic() - began, 0, list[Json]()
    while done < kills:
        again()
        count, _ = _until_finished(begin, usual, chance, kills - done)
        done += count
        rounds.append({"kills": count, **alike()})
    return {"kills": done, "finished": len(rounds), "seconds_undisturbed": round(usual, 2), "rounds": rounds}


def kill_trainings(work: Path, kills: int, seed: int) -> Json:
    """Weights after kills against those of an undisturbed training, bit for bit."""
    whole, out = trained(work / "whole"), work / "killed"
    run = Run(out / "digits/tiny/adv-dpnp/seed-0")

    def alike() -> Json:
        same = [run.weights_path(one).read_bytes() == whole.weights_path(one).read_bytes() for one in ("last", "best")]
        left = [path.name for path in run.folder.rglob(".*")]
        return {"identical": all(same), "left_behind": left, "epochs": len(run.epochs())}

    def begin(resume: bool) -> int:
        return started("train", *TRAINING, "--out", out, *(["--resume"] if resume else []))

    return _repeated(kills, begin, lambda: shutil.rmtree(out), alike, random.Random(seed))


def _verdicts(result: Json) -> Json:
    rows = [{key: value for key, value in row.items() if key not in _TIMES} for row in result["attacks"]]
    return {name: result[name] for name in ("clean_verdicts", "worst_case_accuracy")} | {"attacks": rows}


def different(first: Json, second: Json) -> int:
    """How many verdicts differ, clean and under each attack; -1 where anything else does."""
    one, other = _verdicts(first), _verdicts(second)
    pairs: list[tuple[Any, Any]] = [(one.pop("clean_verdicts"), other.pop("clean_verdicts"))]
    for row, like in zip(one["attacks"], other["attacks"], strict=True):
        pairs.append((row.pop("verdicts"), like.pop("verdicts")))
    count = sum(int((unpack(a, first["n"]) != unpack(b, first["n"])).sum()) for a, b in pairs)
    return count if count or one == other else -1


def kill_evaluations(work: Path, kills: int, seed: int, images: int) -> Json:
    """Verdicts after kills against those of an undisturbed evaluation."""
    run = trained(work / "evaluated")
    path = run.eval_path("killed.json")
    limit = ("--limit", images)
    if status := status_of(started("evaluate", run.folder, *EVALUATION, *limit)):
        raise RuntimeError(f"evaluation ended with {status}")
    whole = read_json(path)

    def alike() -> Json:
        left = [file.name for file in run.eval_path("").glob(".*")]
        return {"verdict_differences": different(whole, read_json(path)), "left_behind": left}

    def begin(resume: bool) -> int:
        return started("evaluate", run.folder, *EVALUATION, *limit, *(["--resume"] if resume else []))

    found = _repeated(kills, begin, path.unlink, alike, random.Random(seed))
    return found | {"images": images, "verdicts": images * (len(ATTACKS) + 1)}


def kill_reports(work: Path, kills: int, seed: int) -> Json:
    """Pages after kills against those of an undisturbed report, byte for byte; whole files at every moment."""
    run, out = trained(work / "reported"), work / "page"
    if status := status_of(started("evaluate", run.folder, "--attack", "fgsm", "--suite", "look", "--limit", 100)):
        raise RuntimeError(f"evaluation ended with {status}")
    status_of(started("report", run.folder, "--out", work / "whole-page"))
    whole, torn = _files(work / "whole-page"), 0

    def begin(again: bool) -> int:
        nonlocal torn
        # What a kill has left: each file is whole, or not there.
        torn += sum(whole.get(name) != content for name, content in _files(out).items())
        return started("report", run.folder, "--out", out)

    def alike() -> Json:
        left = [path.name for path in out.rglob(".*")]
        return {"identical": _files(out) == whole, "left_behind": left}

    found = _repeated(kills, begin, lambda: shutil.rmtree(out), alike, random.Random(seed))
    return found | {"files": len(whole), "torn_files": torn}


def _files(folder: Path) -> dict[str, bytes]:
    """Files that have a name of their own; temporary ones begin with a dot."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
