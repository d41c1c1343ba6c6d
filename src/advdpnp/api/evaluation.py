"""From a run to measured numbers."""

import math
from pathlib import Path

from advdpnp import attacks, data, runs
from advdpnp.api.environment import environment, resolve_device, use_tf32
from advdpnp.api.loading import load_checkpoint
from advdpnp.evaluation import CHUNK, Evaluation, Listener, attacked_samples, embedding_arrays, paired_test
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.experiments import from_config
from advdpnp.progress import Silent
from advdpnp.runs import Json, Run


def evaluate(
    folder: Path | str,
    suite: str = "quick",
    *,
    limit: int | None = None,
    checkpoint: str = "last",
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Json:
    """Attack a run's classifier on the test set; writes and returns eval/<suite>.json.

    Args:
        folder: the run's folder.
        suite: name of a protocol, see `advdpnp list suites`.
        limit: the first so many test images; all by default.
        checkpoint: "last" or "best".
        device: torch device.
        data_root: folder of the data files.
        resume: continue an interrupted evaluation.
        listener: told of every attack and chunk.
    """
    run, on = Run(Path(folder)), resolve_device(device)
    done = from_config(run.config())
    use_tf32(False)
    protocol = attacks.suite(suite, done.data.eps, math.prod(done.data.image_shape))
    model, epoch = load_checkpoint(run, checkpoint, on)
    images = data.load(done.data, "test", data_root).to(on)
    facts = {
        "data": done.data.name,
        "checkpoint": checkpoint,
        "epoch": epoch,
        "recipe": done.recipe.name,
        "holdout": done.recipe.holdout,
        "precision": "fp32",
    }
    partial = run.eval_path(f"{suite}.partial.json")
    n = len(images) if limit is None else limit
    wanted = Evaluation(suite=protocol, n=n, facts=facts, partial=partial, resume=resume)
    result = run_evaluation(model, images, wanted, listener or Silent())
    result["environment"] = environment(on)
    runs.write_json(run.eval_path(f"{suite}.json"), result)
    partial.unlink()
    return result


def compare(first: Path | str, second: Path | str, suite: str = "quick") -> list[Json]:
    """Paired test of two runs that were evaluated with `suite`; see `advdpnp.evaluation.paired_test`."""
    return paired_test(Run(Path(first)).result(suite), Run(Path(second)).result(suite))


def illustrate(
    folder: Path | str, *, device: str | None = None, data_root: Path | None = None, samples: int = 10
) -> None:
    """Write what the report draws: eval/samples.npz, and eval/embedding.npz where the embedding is 2-D."""
    run, on = Run(Path(folder)), resolve_device(device)
    done = from_config(run.config())
    model, _ = load_checkpoint(run, "last", on)
    images = data.load(done.data, "test", data_root).to(on)
    attack = attacks.PGD(eps=done.data.eps)
    names = done.data.class_names
    run.write_arrays("samples.npz", attacked_samples(model, images, names, attack, samples, CHUNK))
    if model.class_centers().shape[1] == 2:
        arrays = embedding_arrays(model, images, names, attack, min(len(images), 2000), CHUNK)
        run.write_arrays("embedding.npz", arrays)
