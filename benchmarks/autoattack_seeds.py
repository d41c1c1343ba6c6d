"""Standard AutoAttack with our own random numbers against the official code with its own, over several seeds.

    PYTHONPATH=tests OMP_NUM_THREADS=1 python benchmarks/autoattack_seeds.py

Image by image the two codes agree where ours replays the official draws (benchmarks/autoattack_official.py). What
`advdpnp evaluate` reports rests on noise that is keyed by image, which this compares as what it is: other seeds. The
networks are the fixtures of the tests, the real data are under $ADVDPNP_DATA, and the official code is the package
pyautoattack 0.2.0. One file for each data set and norm is written to results/autoattack-seeds after every run; the same
command goes on from there.
"""

import argparse
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev

import torch
from torch import Tensor

from advdpnp import data
from advdpnp.attacks import AutoAttack, Suite
from advdpnp.bench.ceilings import describe_machine
from advdpnp.callbacks import Silent
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.metrics import mcnemar, pack, unpack
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json, read_json, write_json
from advdpnp.stored_values import differences
from advdpnp.threat import Norm, eps_text
from attacks import robust
from reference.official_autoattack import official

OUT = Path(__file__).parents[1] / "results" / "autoattack-seeds"
SIDES = ("official", "ours")
# The digits have 360 test images only; which split it is does not matter to the comparison.
SUBJECTS = {
    "digits": ("digits/tiny/at", "tiny-at-digits", "train"),
    "mnist": ("mnist/resnet8/at", "resnet8-at-mnist", "test"),
    "cifar10": ("cifar10/resnet8/at", "resnet8-at-cifar10", "test"),
}
# Batch of the official code, its default; and seconds after which it is given up.
BATCH, PATIENCE = 250, 6 * 3600


def verdict(side: str, model: Classifier, images: data.Images, attack: AutoAttack, seed: int) -> Tensor:
    """(n,) bool, True where the image withstands standard AutoAttack."""
    n = len(images)
    if side == "ours":
        suite = Suite("autoattack", "standard AutoAttack", (attack,), features=None)
        result = evaluate(model, images, Evaluation(suite=suite, n=n, facts={}, seed=seed), Silent())
        return unpack(result["attacks"][0]["verdicts"], n)
    x, y = images.batch(torch.arange(n))
    how = {"seed": seed, "batch_size": BATCH, "timeout": PATIENCE}
    return official(model, x, y, "standard", attack.norm, attack.eps, **how)[0]


def chance_of_sum(differences: list[int]) -> float:
    """One-sided sign-flip test, exact: how likely a sum is at least this one, if each sign is a fair coin's."""
    chances = Counter({0: 1.0})
    for step in filter(None, differences):
        flipped: Counter[int] = Counter()
        for total, chance in chances.items():
            flipped[total + step] += chance / 2
            flipped[total - step] += chance / 2
        chances = flipped
    return min(1.0, sum(chance for total, chance in chances.items() if total >= sum(differences)))


def comparison(runs: dict[str, Json], n: int) -> Json:
    """What the verdicts of the seeds that both sides have say of a difference."""
    seeds = [seed for seed in runs["ours"] if seed in runs["official"]]
    verdicts = {side: torch.stack([unpack(runs[side][seed]["verdicts"], n) for seed in seeds]) for side in SIDES}
    ours, theirs = verdicts["ours"], verdicts["official"]
    counts = {side: rows.sum(dim=1).tolist() for side, rows in verdicts.items()}
    pairs = zip(seeds, ours, theirs)
    return {
        **{side: _spread(counts[side]) for side in SIDES},
        "mean_difference": fmean(counts["ours"]) - fmean(counts["official"]),
        "largest_difference": max(abs(a - b) for a in counts["ours"] for b in counts["official"]),
        "seeds": {
            seed: {"only_ours": int((a & ~b).sum()), "only_official": int((b & ~a).sum()), "p": mcnemar(a, b)}
            for seed, a, b in pairs
        },
        # Over images, each with what its verdicts of all seeds differ in: seeds of one image are not independent.
        "p_ours_higher": chance_of_sum((ours.sum(dim=0) - theirs.sum(dim=0)).tolist()),
    }


def _spread(counts: list[int]) -> Json:
    spread = stdev(counts) if len(counts) > 1 else None
    return {"mean": fmean(counts), "spread": spread, "count": len(counts), "robust": counts}


def opened(path: Path, head: Json) -> Json:
    """The results so far, if they are of the same images."""
    if not path.exists():
        return {**head, "runs": {side: {} for side in SIDES}}
    stored = read_json(path)
    if found := list(differences({key: stored.get(key) for key in head}, head)):
        raise SystemExit(f"{path.name} is another comparison ({'; '.join(found)}): remove it, or give another --out")
    return stored


def run(name: str, norm: Norm, count: int, seeds: int, out: Path) -> None:
    experiment, fixture, split = SUBJECTS[name]
    model, images = robust.network(experiment, fixture), data.load(name, split).select(torch.arange(count))
    attack = AutoAttack(eps=robust.EPS[name][norm], norm=norm)
    head = {"schema": 1, "data": name, "split": split, "norm": norm, "eps": eps_text(attack.eps), "images": count}
    path = out / f"{name}-{norm}.json"
    results = opened(path, head)
    for seed in map(str, range(seeds)):
        for side in SIDES:
            if seed in results["runs"][side]:
                continue
            began = time.monotonic()
            found = verdict(side, model, images, attack, int(seed))
            results["runs"][side][seed] = {"robust": int(found.sum()), "verdicts": pack(found)}
            write_json(path, results)
            minutes = (time.monotonic() - began) / 60
            print(f"{name} {norm} seed {seed}: {side} {int(found.sum())} of {count}; {minutes:.1f} min", flush=True)
    results["comparison"] = comparison(results["runs"], count)
    results["machine"] = describe_machine(torch.device("cpu")) | {"pyautoattack": version("pyautoattack")}
    write_json(path, results)
    told = results["comparison"]
    print(f"ours - official: {told['mean_difference']:+.2f} images, p (ours higher) {told['p_ours_higher']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", choices=SUBJECTS, default="digits")
    parser.add_argument("--norm", choices=("linf", "l2"), default="linf")
    parser.add_argument("--images", type=int, default=1000, help="the first ones")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the results")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    run(chosen.data, chosen.norm, chosen.images, chosen.seeds, chosen.out)


if __name__ == "__main__":
    main()
