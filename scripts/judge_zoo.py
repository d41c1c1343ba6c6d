"""What the masking audit says of the networks of its zoo (tests/auditing), into one JSON file.

    python scripts/judge_zoo.py results/audit-zoo/fakes-64.json --only fakes
    python scripts/judge_zoo.py results/audit-zoo/honest-64.json --only honest
    python scripts/judge_zoo.py results/audit-zoo/honest-32.json --images 32 --skip 200 --seed 1 --only honest

A network that the file holds already is not judged again, so an interrupted run goes on. Networks whose data are not
there (MNIST) are left out, and named.
"""

import argparse
import math
import sys
import time
from pathlib import Path

import advdpnp
from advdpnp.api import environment, resolve_device
from advdpnp.runs import Json, read_json, write_json

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from auditing import fakes_gradients, fakes_inputs, fakes_logits, fakes_state, honest
from auditing.bases import base, images
from auditing.zoo import FAKES, HONEST, Specimen

# Importing these fills the zoo.
FILES = (fakes_gradients, fakes_inputs, fakes_logits, fakes_state, honest)


def judged(specimen: Specimen, protocol: Json) -> Json:
    """The audit of one network: verdict, numbers, and what each check counted where it counted anything."""
    x, y = images(specimen.base, protocol["skip"] + protocol["images"])
    x, y = x[protocol["skip"] :], y[protocol["skip"] :]
    began = time.process_time()
    found = advdpnp.audit(
        specimen.build(base(specimen.base)), x, y, eps=specimen.eps, norm=specimen.norm, seed=protocol["seed"]
    )
    return {
        "name": specimen.name,
        "honest": specimen in HONEST,
        "trained": specimen.base,
        "norm": specimen.norm,
        "eps": specimen.eps,
        "verdict": found.verdict,
        "right": found.verdict in specimen.accepted,
        "accepted": list(specimen.accepted),
        "numbers": _scalars(found.numbers),
        "signs": {one.name: one.verdict for one in found.checks if one.verdict not in ("passed", "not measured")},
        "counted": {one.name: _scalars(one.numbers) for one in found.checks if one.numbers},
        "cpu_seconds": round(time.process_time() - began, 1),
        "commit": environment(resolve_device("cpu"))["commit"],
    }


def _scalars(numbers: Json) -> Json:
    """Counts and shares, without the lists behind them, and None for what is no number, as JSON has none of these."""
    kept = {name: value for name, value in numbers.items() if isinstance(value, int | float | str)}
    return {name: _rounded(value) if isinstance(value, float) else value for name, value in kept.items()}


def _rounded(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def summary(networks: list[Json]) -> Json:
    """How many were judged, and right."""
    kinds = {"fakes": [one for one in networks if not one["honest"]], "honest": [o for o in networks if o["honest"]]}
    return {kind: {"judged": len(found), "right": sum(o["right"] for o in found)} for kind, found in kinds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--skip", type=int, default=0, help="leave out so many images at the beginning")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("fakes", "honest"))
    options = parser.parse_args()
    protocol = {"images": options.images, "skip": options.skip, "seed": options.seed}
    stored = read_json(options.out) if options.out.is_file() else {"protocol": protocol, "networks": []}
    if stored["protocol"] != protocol:
        raise SystemExit(f"{options.out} is of {stored['protocol']}, not {protocol}: choose another file")
    zoo = {"fakes": FAKES, "honest": HONEST, None: FAKES + HONEST}[options.only]
    known = {one["name"] for one in stored["networks"]}
    for specimen in zoo:
        if specimen.name in known:
            continue
        try:
            one = judged(specimen, protocol)
        except FileNotFoundError as missing:
            print(f"{specimen.name} is left out: {missing}", file=sys.stderr)
            continue
        stored["networks"].append(one)
        print(f"{'right' if one['right'] else 'WRONG'}  {one['name']}: {one['verdict']}", flush=True)
        stored |= {"summary": summary(stored["networks"]), "environment": environment(resolve_device("cpu"))}
        write_json(options.out, stored)


if __name__ == "__main__":
    main()
