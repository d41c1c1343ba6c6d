"""docs/performance.md, written from the stored measurements."""

from pathlib import Path

from advdpnp.runs import Json, read_json
from peers.text import floors_table, tables
from peers.verdicts import ACCURACY_BOUND, LOSS_BOUND

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
STORED = ROOT / "benchmarks" / "results"


def stored() -> dict[Path, Json]:
    """The measurements of benchmarks/results, by file."""
    return {path: read_json(path) for path in sorted(STORED.glob("peers-*.json"))}


def write_page() -> Path:
    """Write the page anew."""
    PAGE.write_text(page(stored()), encoding="utf-8")
    return PAGE


def page(results: dict[Path, Json]) -> str:
    """The whole page."""
    return "\n\n".join([_head(), *(_section(path, result) for path, result in results.items())]) + "\n"


def _head() -> str:
    return f"""# Performance

How fast the package is beside others that do the same work. Every number on this page comes from a stored measurement;
`PYTHONPATH=benchmarks:tests python -m peers --page` writes the page, and a test compares it with the files.

```bash
make bench                  # everything: hours on one core; stopped, it goes on where it was
make bench ARGS=--ci        # resnet8, batch 64, three rounds; AutoAttack on the digits: some minutes
```

The first call makes an environment of its own, `.bench-venv`, with the versions in `benchmarks/peers/requirements.txt`; torch
is that of `.venv`. The status is 1 where a floor does not hold.

- **Equal work**: the same network, images, radius, step size, iterations and kind of start, on one thread of one process.
  The sides of a table take turns, round by round, after a warm-up; seconds are the process's processor time. A ratio is
  the median of those of the rounds.
- **Equal strength**: the fp32 network judges every side's images. Where robust accuracy differs by more than
  {100 * ACCURACY_BOUND:g} points, or the mean loss by more than {LOSS_BOUND:.0%} of itself, beyond two standard errors of the rounds, the difference stands in the place of the ratio.
- **Ours** is what one gets by default: the engine `folded`, in fp32 or bf16. `compiled` has rows of its own. Our steps make
  their batch and check their losses too, which the others do not.
- **Share of the ceiling**: operations that the work needs (convolutions and matrix products; in the attack the gradient of
  the images alone), the same number for every side, over what the fastest of several matrix products and of the network's own
  convolutions reaches in the same run.
- **The others**: torchattacks, foolbox and adv-lib are called as their documentation says; so is ART's trainer, whose step
  includes its way through NumPy. `TRADES algorithm` and `Rice/Pang loop` are the published algorithms written out in plain
  PyTorch, with what their authors' releases do: the clean images go through the network again in each iteration, or
  `backward()` computes the gradients of all weights in the attack. For adv-lib empty modules stand in for visdom and torchvision,
  which its attacks do not use.
- Networks are trained for a few steps on synthetic images, so that robust accuracy is neither 0 nor 1; AutoAttack runs on
  networks and test images of real data.

![Measured values beside floors and targets](pictures/performance.svg)"""


def _section(path: Path, result: Json) -> str:
    machine, protocol = result["machine"], result["protocol"]
    loads = [
        load
        for group in result["groups"].values()
        for row in group["sides"].values()
        for load in row.get("load_average", ())
    ]
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    unfinished = "" if result["finished"] else " **Not everything has been measured yet.**"
    return f"""## {", ".join(name for name, *_ in protocol["networks"])} on {machine["cpu"]}

Family/model {machine["cpu_family_model"]} ({", ".join(machine["cpu_instructions"])}), torch {machine["torch"]}, one thread; load average
{min(loads):.1f} to {max(loads):.1f} while it ran ([JSON](../benchmarks/results/{path.name})). {versions}.{unfinished}

{floors_table(result)}

{tables(result)}"""
