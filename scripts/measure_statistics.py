"""BatchNorm's statistics of a run's stored weights, measured anew as a training measures those of an average.

    python scripts/measure_statistics.py RUN --into results/gpu/a-2026-11-26

RUN needs its checkpoints/last.safetensors; it is not changed. A run is written with the same weights, new statistics,
and `statistics` in its tag; its statistics.json says where they come from.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

from advdpnp.api import environment, make_task, resolve_device
from advdpnp.experiments import Experiment, from_config
from advdpnp.runs import Json, Run, write_bytes, write_json
from advdpnp.training.averaging import STATISTICS_IMAGES, measure_statistics
from advdpnp.training.step import statistics_batches

COPIED = ("train.jsonl", "environment.json")


def remeasured(source: Run, into: Path, name: str, data_root: Path | None = None) -> Run:
    """Write the run with statistics measured anew.

    Args:
        source: whose last weights are read.
        into: folder of runs.
        name: what is added to the tag.
        data_root: folder of the data files.
    Raises:
        ValueError: the new run is there already. FileNotFoundError: there are no weights.
    """
    stored = from_config(source.config())
    wanted = replace(stored, tag="-".join(filter(None, (stored.tag, name))))
    out, device = Run(wanted.folder(into)), resolve_device("cpu")
    if (out.folder / "config.json").exists():
        raise ValueError(f"{out.folder} is there already: give another --into or --name, or remove it")
    weights, epoch = source.read_weights("last")
    task = make_task(stored, device, data_root)
    task.model.load_state_dict(weights)
    measure_statistics(task.model, statistics_batches(task, epoch - 1))
    out.create_or_verify(wanted.config())
    out.write_weights("last", task.model.state_dict(), epoch)
    for file in COPIED:
        write_bytes(out.folder / file, (source.folder / file).read_bytes())
    write_json(out.folder / "statistics.json", _origin(source, stored) | {"environment": environment(device)})
    return out


def _origin(source: Run, stored: Experiment) -> Json:
    train_images = stored.recipe.train_images or stored.data.train_size - stored.recipe.holdout
    return {
        "weights_of": stored.folder(Path()).as_posix(),
        "weights_sha256": hashlib.sha256(source.weights_path("last").read_bytes()).hexdigest(),
        "images_at_least": min(STATISTICS_IMAGES, train_images),
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run with its checkpoints")
    parser.add_argument("--into", type=Path, required=True, help="folder of runs")
    parser.add_argument("--name", default="statistics", help="added to the tag")
    parser.add_argument("--data-root", type=Path, help="folder of the data files")
    arguments = parser.parse_args()
    try:
        print(remeasured(Run(arguments.run), arguments.into, arguments.name, arguments.data_root).folder)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
