"""What the command line and Python share: train, load, evaluate and report by name or by run folder."""

import math
import platform
import subprocess
import sys
import warnings
from pathlib import Path

import torch

from advdpnp import attacks, data, runs
from advdpnp.evaluation import CHUNK, Evaluation, Listener, attacked_samples, embedding_arrays, paired_test
from advdpnp.evaluation import evaluate as run_evaluation
from advdpnp.experiments import Experiment, experiment, from_config
from advdpnp.models.classifier import Classifier
from advdpnp.progress import Silent
from advdpnp.runs import Json, Run
from advdpnp.training import Observer, Task, fit

# Facts of the environment on which bitwise resume depends.
_BITWISE = ("torch", "device", "threads", "instructions")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def environment(device: torch.device) -> Json:
    """Versions, device, threads, commit and command: what a result file needs to be believed."""
    from advdpnp import __version__

    on_gpu = device.type == "cuda"
    return {
        "advdpnp": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "commit": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def resolve_device(name: str | None = None) -> torch.device:
    """A device by name; by default the GPU where there is one. ValueError if it cannot be used."""
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda, but torch sees no GPU here: use --device cpu")
    return device


def use_tf32(allowed: bool) -> None:
    """Whether GPU products of fp32 numbers may round them to 10 bits; torch's own default allows it in convolutions."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def _check_environment(run: Run, now: Json) -> None:
    """Write environment.json, or warn if a resumed run meets another environment."""
    path = run.folder / "environment.json"
    if not path.exists():
        runs.write_json(path, now)
        return
    stored = runs.read_json(path)
    changed = [f"{key} {stored.get(key)} -> {now[key]}" for key in _BITWISE if stored.get(key) != now[key]]
    if changed:
        warnings.warn(
            f"resumed in another environment ({', '.join(changed)}): weights may differ in the last bits", stacklevel=3
        )


def make_task(wanted: Experiment, device: torch.device, data_root: Path | None = None) -> Task:
    """Network and images of an experiment, on the device."""
    recipe = wanted.recipe
    images = data.load(wanted.data, "train", data_root)
    held = data.stratified(images.labels, recipe.holdout, "holdout") if recipe.holdout else None
    rest = torch.arange(len(images))
    if held is not None:
        rest = rest[~torch.isin(rest, held)]
    if recipe.train_images:
        rest = rest[data.stratified(images.labels[rest], recipe.train_images, "train-images")]
    return Task(
        model=wanted.build().to(device),
        defense=wanted.defense,
        recipe=recipe,
        train=images.select(rest).to(device),
        holdout=None if held is None else images.select(held).to(device),
        seed=wanted.seed,
    )


def train(
    what: Experiment | str,
    out: Path | str = "runs",
    *,
    device: str | None = None,
    data_root: Path | None = None,
    resume: bool = False,
    observer: Observer | None = None,
    checkpoint_seconds: float = 60.0,
) -> Run:
    """Train an experiment into its run folder.

    Args:
        what: an experiment, or its name, such as "digits/tiny/adv-dpnp".
        out: folder of all runs.
        device: torch device; by default the GPU where there is one.
        data_root: folder of the data files; see `advdpnp.data.data_root`.
        resume: continue an interrupted run; one that is finished stays as it is.
        observer: told of every step and epoch.
        checkpoint_seconds: how much work a kill may cost.
    Raises:
        ValueError: the folder holds another configuration, or this one without `resume`.
    """
    wanted = experiment(what) if isinstance(what, str) else what
    on = resolve_device(device)
    run = Run(wanted.folder(Path(out)))
    if (run.folder / "config.json").exists() and not resume:
        run.claim(wanted.config())
        raise ValueError(f"{run.folder} exists: add --resume to continue it, or --name to start another beside it")
    use_tf32(wanted.recipe.precision == "tf32")
    task = make_task(wanted, on, data_root)
    run.claim(wanted.config())
    run.sweep()
    _check_environment(run, environment(on))
    fit(task, run, observer or Silent(), resume, checkpoint_seconds)
    return run


def load(folder: Path | str, checkpoint: str = "last", device: str | None = None) -> Classifier:
    """The trained classifier of a run, in eval mode, images in [0, 1] -> logits.

    Args:
        folder: the run's folder.
        checkpoint: "last" or "best" (by held-out robust accuracy).
        device: torch device.
    Raises:
        FileNotFoundError: no run there, or that checkpoint is not written yet. ValueError: damaged or foreign file.
    """
    model, _ = _load(Run(Path(folder)), checkpoint, resolve_device(device))
    return model


def _load(run: Run, checkpoint: str, device: torch.device) -> tuple[Classifier, int]:
    if checkpoint not in ("last", "best"):
        raise ValueError(f"checkpoint must be last or best; got {checkpoint!r}")
    model = from_config(run.config()).build()
    weights, epoch = run.read_weights(checkpoint)
    model.load_state_dict(weights)
    return model.to(device).eval(), epoch


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
    protocol = attacks.suite(suite, done.spec.eps, math.prod(done.spec.image_shape))
    model, epoch = _load(run, checkpoint, on)
    images = data.load(done.data, "test", data_root).to(on)
    facts = {
        "data": done.data,
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
    model, _ = _load(run, "last", on)
    images = data.load(done.data, "test", data_root).to(on)
    attack = attacks.PGD(eps=done.spec.eps)
    names = done.spec.class_names
    run.write_arrays("samples.npz", attacked_samples(model, images, names, attack, samples, CHUNK))
    if model.class_centers().shape[1] == 2:
        arrays = embedding_arrays(model, images, names, attack, min(len(images), 2000), CHUNK)
        run.write_arrays("embedding.npz", arrays)
