"""Every search of standard AutoAttack against the official code, image for image, with the full budgets.

    PYTHONPATH=tests OMP_NUM_THREADS=1 python benchmarks/autoattack_official.py

Each search runs alone on the same images, ours with the draws of the official code. The networks are the fixtures of
the tests; the real data are under $ADVDPNP_DATA, and the official code is the package pyautoattack 0.2.0. One file for
each data set and norm is written to results/autoattack-official after every search; the same command goes on from
there.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from advdpnp.attacks.autoattack import AutoAttack
from advdpnp.attacks.stepwise import StepwiseAttack
from advdpnp.bench.ceilings import describe_machine
from advdpnp.data.readers import data_root
from advdpnp.metrics import pack
from advdpnp.runs import Json, read_json, write_json
from advdpnp.stored_values import differences
from advdpnp.threat import Norm, eps_text
from attacks import robust
from reference.batch_generator import BatchGeneratorNoise
from reference.official_autoattack import official_each, same

OUT = Path(__file__).parents[1] / "results" / "autoattack-official"
SEED = 0
ATTACKS = tuple(search.name for search in AutoAttack().attacks_to_run)
# Seconds after which the official code is given up.
PATIENCE = 4 * 3600


def subject_of(data: str, images: int) -> robust.AttackTarget:
    if data == "digits":
        return robust.digits(images)
    return robust.REAL[data](data_root(None), images)


def verdict(search: StepwiseAttack[Any], subject: robust.AttackTarget) -> Tensor:
    """(B,) bool, True where the image withstands ours."""
    model, x, y = subject
    x_adv = search(model, x, y, noise=BatchGeneratorNoise(SEED, len(x)))
    with torch.no_grad():
        return model(x_adv).argmax(dim=1) == y


def compare(search: StepwiseAttack[Any], subject: robust.AttackTarget) -> Json:
    ours = verdict(search, subject)
    asked = same(search, SEED)
    ((theirs, _),) = official_each(*subject, [asked], PATIENCE)
    row = judged(ours, theirs) | {"budget": asked["budget"], "machine": machine()}
    if search.name == "fab-t" and row["differing"]:
        # Is it rounding alone? Our projection is exact, as theirs is, but adds up in another order.
        with official_projection():
            row["with_official_projection"] = judged(verdict(search, subject), theirs)
    return row


def judged(ours: Tensor, theirs: Tensor) -> Json:
    return {
        "differing": (ours != theirs).nonzero().squeeze(1).tolist(),
        "robust": {"ours": int(ours.sum()), "official": int(theirs.sum())},
        "verdicts": {"ours": pack(ours), "official": pack(theirs)},
    }


@contextmanager
def official_projection() -> Iterator[None]:
    """FAB with the official code's projection in the place of ours."""
    from pyautoattack.fab_projections import projection_l2, projection_linf

    def project(points: Tensor, w: Tensor, b: Tensor, norm: Norm) -> Tensor:
        theirs = projection_linf if norm == "linf" else projection_l2
        found: Tensor = theirs(points.flatten(0, 1), w.repeat(2, 1), b.repeat(2))
        return found.view_as(points)

    with patch("advdpnp.attacks.fab.to_hyperplane", project):
        yield


def machine() -> Json:
    described = describe_machine(torch.device("cpu"))
    kept = {key: described[key] for key in ("torch", "cpu", "instructions", "threads", "advdpnp", "commit", "dirty")}
    return {**kept, "pyautoattack": version("pyautoattack")}


def opened(path: Path, head: Json) -> Json:
    """The results so far, if they are of the same images."""
    if not path.exists():
        return {**head, "attacks": {}}
    stored = read_json(path)
    if found := list(differences({key: stored.get(key) for key in head}, head)):
        raise SystemExit(f"{path.name} is another comparison ({'; '.join(found)}): remove it, or give another --out")
    return stored


def run(data: str, norm: Norm, attacks: list[str], images: int, out: Path) -> None:
    subject, eps = subject_of(data, images), robust.EPS[data][norm]
    path = out / f"{data}-{norm}.json"
    head = {"schema": 1, "data": data, "norm": norm, "eps": eps_text(eps), "images": len(subject[2]), "seed": SEED}
    results = opened(path, head)
    for search in AutoAttack(eps=eps, norm=norm).attacks_to_run:
        if search.name not in attacks or search.name in results["attacks"]:
            continue
        began = time.monotonic()
        row = results["attacks"][search.name] = compare(search, subject)
        write_json(path, results)
        minutes = (time.monotonic() - began) / 60
        print(
            f"{data} {norm} {search.name}: {row['robust']}, {len(row['differing'])} differ; {minutes:.1f} min",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=robust.EPS, default=["digits", "mnist", "cifar10"])
    parser.add_argument("--norms", nargs="+", choices=("linf", "l2"), default=["linf", "l2"])
    parser.add_argument("--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS))
    parser.add_argument("--images", type=int, default=200, help="the first ones of the test set")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for data in chosen.data:
        for norm in chosen.norms:
            run(data, norm, chosen.attacks, chosen.images, chosen.out)


if __name__ == "__main__":
    main()
