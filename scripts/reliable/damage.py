"""Damaged files of a run and of an export: each is refused by whoever reads it, or it changes nothing that is read."""

import hashlib
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from advdpnp import api
from advdpnp.audit_files import read_audit
from advdpnp.data import KnownImages
from advdpnp.data.folder.known import KnownImage
from advdpnp.evaluation.state import EvaluationState
from advdpnp.explaining.files import VALUES
from advdpnp.exporting.folder import SUMS
from advdpnp.illustrations import EMBEDDING, PROJECTION, SAMPLES, illustration_path, stored_illustration
from advdpnp.loggers.logger import LogPlace
from advdpnp.ood_results import ood_path, read_ood, stored_ood
from advdpnp.predicting import read_training_set
from advdpnp.report.arrays import Embedding, ProjectedFeatures, Samples, read_arrays
from advdpnp.report.run_files import Reading, read_config, read_environment, read_epochs
from advdpnp.report.similarity import stored_similarity
from advdpnp.result_files import read_stored
from advdpnp.results import PARTIAL
from advdpnp.runs import EXPORT_MANIFEST, EXPORTED_WEIGHTS, SIMILARITY, Json, Run, read_json, write_json
from advdpnp.sweeping.records import Records

Read = Callable[[Run], Any]
SECTOR = 4096
# Of one attack, unfinished.
PARTIAL_PROTOCOL = {"n": 100}
NEIGHBORS, EXPLAINED = "neighbors-last.npz", "explanation"


def made(work: Path) -> tuple[Run, Run]:
    """A run that holds every kind of file, and an export of it."""
    what = "digits/tiny/adv-dpnp"
    settings = ("recipe.epochs=2", "recipe.train_images=64", "recipe.holdout=40", "recipe.attack.steps=1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = api.train(api_experiment(what, settings), work / "damaged", device="cpu")
        api.evaluate(run.folder, ["fgsm"], suite_name="look", limit=100, device="cpu")
        api.evaluate(run.folder, ["fgsm"], suite_name="look", limit=100, shard="1/2", device="cpu")
        # Measures geometry, and with it the class centers.
        api.evaluate(run.folder, "pgd20", limit=16, device="cpu")
        api.illustrate(run.folder, attack="fgsm", limit=100, device="cpu")
        api.ood(run.folder, ["uniform-noise"], limit=40, attack="pgd:steps=1", device="cpu")
        api.audit(run.folder, limit=20, device="cpu")
        api.export(run.folder, work / "exported", ("safetensors", "torch-export"), images=20)
        # Stores the embeddings of the training images.
        api.explain(run.folder, "test:0", out=run.folder / EXPLAINED, device="cpu")
    _make_what_is_rare(run)
    partial = EvaluationState(run.eval_path("left.partial.json"), PARTIAL_PROTOCOL, resume=False)
    right = torch.arange(100) % 3 > 0
    partial.pass_progress("fgsm").add(right, ~right, torch.rand(100), 0.5)
    partial.save(now=True)
    return run, Run(work / "exported")


def _make_what_is_rare(run: Run) -> None:
    """Files that no run of this kind has, with what such a file holds."""
    points = np.random.default_rng(0).normal(size=(100, 2)).astype(np.float32)
    plane = {"clean": points, "adversarial": points + 1, "labels": np.arange(100) % 10, "centers": points[:10]}
    names = {"class_names": np.array([*map(str, range(10))]), "attack": np.array("fgsm")}
    run.write_arrays(EMBEDDING, plane | names)
    write_json(run.loggers_path, {"tensorboard": vars(LogPlace("tensorboard", 2))})
    images = tuple(KnownImage(f"cat/{number}.png", f"{number:064x}", number % 2) for number in range(20))
    write_json(run.folder / "images.json", KnownImages("0" * 64, images[:16], images[16:]).as_json())
    write_json(_partial_ood(run), read_json(ood_path(run)))
    Records(run.folder, "train").fail("no space left on device")


def _partial_ood(run: Run) -> Path:
    return ood_path(run).with_name(f"ood{PARTIAL}")


def _neighbors(run: Run) -> Any:
    """What is damaged is left aside, and computed again."""
    found = read_training_set(run, "last", tuple(map(str, range(10))))
    if found is None:
        raise ValueError(f"{run.eval_path(NEIGHBORS)} is not read")
    return found


def _failure(run: Run) -> str:
    """A line of a sweep's table."""
    records = Records(run.folder, "train")
    if records.failure_path.name in (told := records.failure()):
        raise ValueError(told)
    return told


def api_experiment(name: str, settings: tuple[str, ...]) -> Any:
    from advdpnp.experiments import experiment

    return experiment(name, settings=settings)


def _log(run: Run) -> Any:
    """As the report reads it, where what cannot be read is named; and as a resumed training does."""
    reading = Reading()
    found = read_epochs(run, reading)
    for one in reading.unread:
        raise ValueError(one.reason)
    if len(run.epochs()) != len(found):
        raise AssertionError
    # A line of which a kill has left a part is repeated.
    return found


def _sums(run: Run) -> None:
    """What `sha256sum -c SHA256SUMS` does."""
    for line in (run.folder / SUMS).read_text().splitlines():
        wanted, _, name = line.partition("  ")
        if hashlib.sha256((run.folder / name).read_bytes()).hexdigest() != wanted:
            raise ValueError(f"{name}: FAILED")


# Every kind of file: its path, and what reads it.
KINDS: dict[str, tuple[Callable[[Run], Path], Read]] = {
    "config.json": (lambda run: run.folder / "config.json", lambda run: (run.config(), read_config(run.folder))),
    "environment.json": (
        lambda run: run.folder / "environment.json",
        lambda run: read_environment(run.folder / "environment.json"),
    ),
    "train.jsonl": (lambda run: run.log_path, _log),
    "state.pt": (lambda run: run.state_path, lambda run: run.read_state()),
    "last.safetensors": (lambda run: run.weights_path("last"), lambda run: run.read_weights("last")),
    "best.safetensors": (lambda run: run.weights_path("best"), lambda run: run.read_weights("best")),
    "a result": (lambda run: run.eval_path("look.json"), lambda run: read_stored(run.eval_path("look.json"))),
    "a shard": (
        lambda run: run.eval_path("shards/look.1-of-2.json"),
        lambda run: read_stored(run.eval_path("shards/look.1-of-2.json")),
    ),
    "an unfinished evaluation": (
        lambda run: run.eval_path("left.partial.json"),
        lambda run: vars(EvaluationState(run.eval_path("left.partial.json"), PARTIAL_PROTOCOL, True))["_content"],
    ),
    "illustration.json": (illustration_path, stored_illustration),
    "samples.npz": (lambda run: run.eval_path(SAMPLES), lambda run: read_arrays(run.eval_path(SAMPLES), Samples)),
    "embedding.npz": (
        lambda run: run.eval_path(EMBEDDING),
        lambda run: read_arrays(run.eval_path(EMBEDDING), Embedding),
    ),
    "projection.npz": (
        lambda run: run.eval_path(PROJECTION),
        lambda run: read_arrays(run.eval_path(PROJECTION), ProjectedFeatures),
    ),
    "centers.npz": (lambda run: run.eval_path(SIMILARITY), stored_similarity),
    "ood.json": (ood_path, stored_ood),
    "an unfinished ood": (_partial_ood, lambda run: read_ood(read_json(_partial_ood(run)))),
    "neighbors-last.npz": (lambda run: run.eval_path(NEIGHBORS), _neighbors),
    "loggers.json": (lambda run: run.loggers_path, lambda run: read_json(run.loggers_path)),
    "images.json": (
        lambda run: run.folder / "images.json",
        lambda run: KnownImages.read(read_json(run.folder / "images.json")),
    ),
    "explain.json": (
        lambda run: run.folder / EXPLAINED / VALUES,
        lambda run: read_json(run.folder / EXPLAINED / VALUES),
    ),
    "a failure in a sweep": (lambda run: Records(run.folder, "train").failure_path, _failure),
    "audit.json": (lambda run: run.eval_path("audit.json"), lambda run: read_audit(run.eval_path("audit.json"))),
}  # fmt: skip
EXPORTED: dict[str, tuple[Callable[[Run], Path], Read]] = {
    "export.json": (lambda run: run.folder / EXPORT_MANIFEST, lambda run: read_json(run.folder / EXPORT_MANIFEST)),
    "exported config.json": (lambda run: run.folder / "config.json", lambda run: run.config()),
    "exported weights": (lambda run: run.folder / EXPORTED_WEIGHTS, lambda run: run.read_weights("last")),
    "exported program": (lambda run: run.folder / "model.pt2", _sums),
    "model card": (lambda run: run.folder / "README.md", _sums),
}


def damages(content: bytes, chance: random.Random, flips: int) -> Iterator[tuple[str, bytes]]:
    """A file damaged in several ways: (how, content)."""
    places = {round(place * (len(content) - 1) / max(flips - 1, 1)) for place in range(flips)}
    for place in sorted(places):
        bit = 1 << chance.randrange(8)
        yield "a bit turned over", content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    for share in (0.0, 0.3, 0.6, 0.9):
        begin = int(share * len(content))
        size = min(SECTOR, max(len(content) // 4, 1))
        rest = content[begin + size :]
        yield "a sector zeroed", content[:begin] + bytes(len(content) - begin - len(rest)) + rest
    for share in (0.0, 0.25, 0.5, 0.75, 0.99):
        yield "cut short", content[: int(share * len(content))]
    half = len(content) // 2
    yield "halves exchanged", content[half:] + content[:half]
    yield "of another kind", b"<html>404</html>"


def damage(run: Run, kinds: dict[str, tuple[Callable[[Run], Path], Read]], flips: int, seed: int) -> list[Json]:
    """What becomes of damaged files, by kind: how many refused in one line that names the file, and how many harmless.

    Harmless is a damage after which the very same is read. `missed` are the others, which must be none.
    """
    rows = list[Json]()
    for name, (path_of, read) in kinds.items():
        path = path_of(run)
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there: nothing would be known of {name}")
        content, chance = path.read_bytes(), random.Random(f"{seed} {name}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = fingerprint(read(run))
            found = {"refused": 0, "harmless": 0}
            missed = list[str]()
            for how, damaged in damages(content, chance, flips):
                if damaged == content:
                    continue
                path.write_bytes(damaged)
                outcome = _outcome(run, read, whole, path)
                if outcome in found:
                    found[outcome] += 1
                else:
                    missed.append(f"{how}: {outcome}")
        path.write_bytes(content)
        rows.append({"file": name, "bytes": len(content), "tried": sum(found.values()) + len(missed), **found}
                    | {"missed": missed})  # fmt: skip
    return rows


def _outcome(run: Run, read: Read, whole: str, path: Path) -> str:
    try:
        again = fingerprint(read(run))
    except (ValueError, OSError) as error:
        text = str(error)
        return "refused" if path.name in text and "\n" not in text else f"not named: {text[:120]}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:120]
    return "harmless" if again == whole else "read as something else"


def fingerprint(value: Any) -> str:
    """SHA-256 of all that a value holds, with types and shapes of arrays."""
    total = hashlib.sha256()
    for part in _parts(value):
        total.update(part)
    return total.hexdigest()


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        yield f"{value.dtype} {value.shape}".encode()
        yield value.tobytes()
    elif isinstance(value, dict):
        yield b"{"
        for key in sorted(value, key=repr):
            yield repr(key).encode()
            yield from _parts(value[key])
        yield b"}"
    elif isinstance(value, list | tuple):
        yield b"["
        for inner in value:
            yield from _parts(inner)
        yield b"]"
    elif hasattr(value, "__dict__"):
        yield type(value).__name__.encode()
        yield from _parts(vars(value))
    else:
        yield repr(value).encode()
