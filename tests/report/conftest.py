"""Synthetic run folders, written as the file layout says and by no code of the package."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report.browser import Opened, Opener, browsers

Json = dict[str, Any]
MakeRun = Callable[..., Path]

# The name of a run that must stay a name.
SCRIPT = "<script>alert(1)"
ATTACKS = (("fgsm", "0.1", 1, "0.1"), ("pgd", "0.1", 40, "0.0063"), ("cw", "0.1", 30, "0.01"))


def wilson(p: float, n: int) -> list[float]:
    """The 95 % score interval in its textbook form."""
    z = 1.959963984540054
    middle, half = p + z * z / (2 * n), z * ((p * (1 - p) + z * z / (4 * n)) / n) ** 0.5
    return [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]


def attack(name: str, eps: str, steps: int, step_size: str, accuracy: float, n: int, norm: str = "linf") -> Json:
    return {
        "name": name,
        "norm": norm,
        "eps": eps,
        "steps": steps,
        "step_size": step_size,
        "restarts": 1,
        "random_start": name == "pgd",
        "robust_accuracy": accuracy,
        "interval95": wilson(accuracy, n),
        "seconds": 1.5,
        "mean_cross_entropy": 1.0,
        "verdicts": "",
    }


def evaluation(suite: str, data: str, n: int, clean: float, attacks: list[Json]) -> Json:
    worst = min([clean, *(record["robust_accuracy"] for record in attacks)]) - 0.01
    return {
        "schema": 1,
        "suite": suite,
        "data": data,
        "n": n,
        "indices": f"0-{n - 1}",
        "checkpoint": "last",
        "epoch": 20,
        "holdout": 144,
        "precision": "fp32",
        "chunk": 128,
        "clean_accuracy": clean,
        "clean_interval95": wilson(clean, n),
        "clean_verdicts": "",
        "attacks": attacks,
        "worst_case_accuracy": max(worst, 0.0),
        "worst_case_interval95": wilson(max(worst, 0.0), n),
    }


def geometry(scale: float) -> Json:
    side = {
        "fdr_eq8": 4.321 * scale,
        "fdr_trace_ratio": 0.4567 * scale,
        "fdr_trace_ratio_per_class": 0.04567 * scale,
        "afs": 0.2345 * scale,
        "scr": None if scale > 2 else 1.6789,
    }
    centers = {"scr_floor": 1.478, "mean_separation_degrees": 95.32, "min_separation_degrees": 94.51}
    pairs = {"mean_pairwise_angle_degrees": 96.1}
    return {"clean": side, "adversarial": {**side, "attack": "pgd-40 linf 0.1"}, **centers, **pairs}


def epoch(number: int, epochs: int, terms: tuple[str, ...]) -> Json:
    loss = {name: (place + 1) * 0.9**number for place, name in enumerate(terms)}
    return {
        "epoch": number,
        "epochs": epochs,
        "steps": 12,
        "lr": 0.1,
        "seconds": 1.2,
        "loss": {"total": sum(loss.values()), **loss},
        "centers": {
            "norm_mean": 40.0,
            "norm_min": 40.0,
            "norm_max": 40.0,
            "angle_mean_degrees": min(95.0 + 0.01 * number, 96.0),
            "angle_min_degrees": min(80.0 + 0.5 * number, 95.0),
        },
        "holdout": {"n": 144, "clean_accuracy": 1 - 0.9**number, "robust_accuracy": 0.7 * (1 - 0.9**number)},
    }


def pictures(seed: int) -> tuple[Json, Json]:
    random = np.random.default_rng(seed)
    names, labels = np.array(list("0123456789")), np.arange(6)
    clean = random.random((6, 1, 8, 8), dtype=np.float32)
    adversarial = np.clip(clean + 0.1 * np.sign(random.random(clean.shape) - 0.5), 0, 1).astype(np.float32)
    shared = {"class_names": names, "attack": np.array("pgd-40 linf 0.1")}
    samples = {
        "clean": clean,
        "adversarial": adversarial,
        "labels": labels,
        "clean_predictions": labels,
        "adversarial_predictions": np.array([0, 1, 2, 3, 9, 9]),
    }
    angle = np.arange(10) * 2 * np.pi / 10
    centers = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    truth = np.arange(60) % 10
    embedding = {
        "clean": centers[truth] + random.normal(0, 0.3, (60, 2)),
        "adversarial": centers[truth] + random.normal(0, 1.0, (60, 2)),
        "labels": truth,
        "centers": centers,
    }
    return samples | shared, embedding | shared


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")


def change_json(path: Path, **values: Any) -> None:
    """Set values in a stored object."""
    write_json(path, json.loads(path.read_text()) | values)


def make_run_under(root: Path) -> MakeRun:
    """A function that writes a run folder and returns its path; keyword arguments say what is in it."""

    def make(
        defense: str = "at",
        *,
        data: str = "digits",
        backbone: str = "tiny",
        seed: int = 0,
        tag: str = "",
        recipe: str = "default",
        n: int = 360,
        clean: float = 0.9,
        robust: tuple[float, ...] = (0.7, 0.6, 0.5),
        attacks: tuple[tuple[Any, ...], ...] = ATTACKS,
        suite: str | None = "demo",
        everything: bool = False,
        terms: tuple[str, ...] = ("ce_clean", "dnp"),
    ) -> Path:
        variant = f"{defense}+{tag}" if tag else defense
        folder = root / "runs" / data / backbone / variant / f"seed-{seed}"
        # The attack of training as the paper has it, and on digits as the recipe has it.
        eps, step_size, steps = {"digits": (0.1, 0.025, 10), "mnist": (0.3, 0.01, 40)}.get(data, (8 / 255, 2 / 255, 10))
        inner = {"eps": eps, "steps": steps, "step_size": step_size, "start": "uniform", "mode": "eval"}
        holdout = 144 if recipe == "default" else 0
        settings = {
            "name": recipe,
            "epochs": 110,
            "batch_size": 128,
            "attack": inner,
            "holdout": holdout,
            "train_images": 0,
        }
        config = {"schema": 1, "data": data, "backbone": backbone, "defense": {"name": defense, "alpha": 40.0}}
        write_json(folder / "config.json", {**config, "recipe": settings, "seed": seed, "tag": tag})
        if suite:
            rows = [attack(*described, accuracy, n) for described, accuracy in zip(attacks, robust, strict=True)]
            result = evaluation(suite, data, n, clean, rows)
            write_json(folder / "eval" / f"{suite}.json", result | ({"geometry": geometry(1.0)} if everything else {}))
        if everything:
            versions = {"advdpnp": "0.1.0", "torch": "2.13.0", "python": "3.11.7", "device": "cpu", "threads": 2}
            command = f"advdpnp train {data}/{backbone}/{defense} --seed {seed}"
            origin = {"commit": "0123456789abcdef", "dirty": False, "command": command}
            write_json(folder / "environment.json", versions | origin)
            lines = [json.dumps(epoch(number, 5, terms)) + "\n" for number in range(1, 6)]
            (folder / "train.jsonl").write_text("".join(lines))
            radii = ("0.025", "0.05", "0.1", "0.2")
            curve = [attack("pgd", eps, 20, "0.01", clean * (1 - 3 * float(eps)), n) for eps in radii]
            write_json(folder / "eval" / "curve.json", evaluation("curve", data, n, clean, curve))
            samples, embedding = pictures(seed)
            np.savez_compressed(folder / "eval" / "samples.npz", **samples)
            np.savez_compressed(folder / "eval" / "embedding.npz", **embedding)
        return folder

    return make


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """`make_run_under` the test's own folder."""
    return make_run_under(tmp_path)


@pytest.fixture(scope="session")
def full_runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs that hold everything, to be read only."""
    make = make_run_under(tmp_path_factory.mktemp("full"))
    return [make("adv-dpnp", everything=True), make("at", everything=True, clean=0.8)]


@pytest.fixture(scope="session")
def opener() -> Iterator[Opener]:
    """Opens files in a browser, see `report.browser`."""
    yield from browsers()


@pytest.fixture(scope="session")
def page_file(full_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of AT with two seeds, TRADES with a name that is a script, ST and Adv-DPNP; AutoAttack on two of them."""
    from advdpnp.report import write_report

    make = make_run_under(tmp_path_factory.mktemp("page"))
    others = [
        make("at", seed=1, clean=0.82, robust=(0.72, 0.62, 0.52)),
        make("trades", tag=SCRIPT, clean=0.7, robust=(0.65, 0.6, 0.55)),
        make("st", clean=0.99, robust=(0.3, 0.0, 0.0)),
    ]
    autoattack = (("autoattack", "0.1", None, None),)
    make("at", seed=1, clean=0.82, suite="autoattack", attacks=autoattack, robust=(0.41,))
    make("trades", tag=SCRIPT, clean=0.7, suite="autoattack", attacks=autoattack, robust=(0.54,))
    return write_report([*full_runs, *others], tmp_path_factory.mktemp("out"))


@pytest.fixture
def open_page(opener: Opener, page_file: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the page; nothing may be said on the console, thrown, or asked of a network."""
    opened: list[Opened] = []

    def open_it(width: int = 1280, **options: Any) -> Opened:
        opened.append(opener(page_file, width, **options))
        return opened[-1]

    yield open_it
    for one in opened:
        assert one.said == [] and one.asked == []
        one.close()
