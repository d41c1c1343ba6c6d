"""An averaged network of a run with BatchNorm's statistics as stored, and with statistics measured in several ways.

    OMP_NUM_THREADS=1 python benchmarks/average_statistics.py RUN --out results/average-statistics/NAME.json

RUN needs its checkpoints: last.safetensors, and state.pt for the network that was averaged. Accuracies are of the first
test images: clean, and under the recipe's own attack.
"""

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from advdpnp import data
from advdpnp.api import environment, make_task, resolve_device
from advdpnp.data import Images
from advdpnp.experiments import from_config
from advdpnp.models.classifier import Classifier
from advdpnp.runs import Json, Run, write_json
from advdpnp.training import Task
from advdpnp.training.averaging import batch_norms, measure_statistics
from advdpnp.training.crafting import Crafter
from advdpnp.training.step import make_batch, statistics_batches
from advdpnp.training.validation import holdout_accuracy


def adversarial_batches(task: Task, epoch: int, count: int) -> list[Tensor]:
    """Training batches as the update of the training sees them, crafted against the network as it is."""
    craft = Crafter(task.model.eval(), task.defense, task.recipe, (task.batch_size, *task.train.pixels.shape[1:]))
    order = torch.arange(count * task.batch_size)
    batches = (make_batch(task, index, epoch, 0) for index in order.split(task.batch_size))
    return [craft(batch) for batch in batches]


def variances(model: Classifier) -> dict[str, Tensor]:
    """BatchNorm's running variances by layer."""
    return {path: layer.running_var.clone() for path, layer in batch_norms(model).items()}  # type: ignore[union-attr]


def log_ratios(one: dict[str, Tensor], other: dict[str, Tensor]) -> dict[str, float]:
    """The mean over channels of ln(one / other), by layer."""
    return {path: round(float((one[path] / other[path]).log().mean()), 4) for path in one}


def largest(ratios: dict[str, float]) -> float:
    """The largest size of a layer's mean."""
    return max(abs(value) for value in ratios.values())


def initial_share(steps: int, decay: float, momentum: float = 0.1) -> float:
    """What an EMA of running variances still holds of the 1 that they begin with: of step t it is (1 - momentum)^t."""
    left = 1 - momentum
    later = sum((1 - decay) * decay ** (steps - t) * left**t for t in range(2, steps + 1))
    return decay ** (steps - 1) * left + later


def compare(run: Run, remade: Run | None, clean: int, attacked: int, few: int, adversarial: int) -> Json:
    """Args:
    run: with its checkpoints, by a version that averaged statistics like weights, with an EMA from the first step on.
    remade: the same with statistics measured anew, by scripts/measure_statistics.py; None to measure them.
    clean, attacked: first test images whose accuracy is measured, and robust accuracy; 0 for none.
    few: batches of the smaller measurement.
    adversarial: batches of adversarial images, and of the same images unchanged; 0 for none.
    """
    stored = from_config(run.config())
    stored = replace(stored, recipe=replace(stored.recipe, engine="folded"))
    task = make_task(stored, resolve_device("cpu"))
    test = data.load(stored.data, "test", None)
    weights, epoch = run.read_weights("last")
    task.model.load_state_dict(weights)
    old = variances(task.model)
    found: Json = {"stored": _accuracy(task, test, clean, attacked)}
    print("stored", found["stored"], flush=True)
    averaging = stored.recipe.averaging
    share = initial_share(stored.recipe.epochs * task.steps_per_epoch, averaging.decay)
    for layer in batch_norms(task.model).values():
        # Variances that were rounded to bf16 may fall below nothing.
        layer.running_var.sub_(share).clamp_(min=1e-3)  # type: ignore[union-attr]
    found["without_the_initial_variance"] = _accuracy(task, test, clean, attacked)
    print("without the initial variance", found["without_the_initial_variance"], flush=True)

    def measured(name: str, images: Iterable[Tensor]) -> dict[str, Tensor]:
        measure_statistics(task.model, images)
        found[name] = _accuracy(task, test, clean, attacked)
        print(name, found[name], flush=True)
        return variances(task.model)

    def clean_batches() -> Iterator[Tensor]:
        return statistics_batches(task, epoch - 1)

    few_images = measured("few_images", islice(clean_batches(), few))
    if remade is None:
        anew = measured("measured_anew", clean_batches())
    else:
        task.model.load_state_dict(remade.read_weights("last")[0])
        found["measured_anew"], anew = _accuracy(task, test, clean, attacked), variances(task.model)
        print("measured anew", found["measured_anew"], flush=True)
    ratios: Json = {"stored": log_ratios(old, anew), "few_images": largest(log_ratios(few_images, anew))}
    if adversarial:
        crafted = adversarial_batches(task, epoch - 1, adversarial)
        ratios["adversarial_images"] = log_ratios(measured("adversarial_images", crafted), anew)
    if run.state_path.exists():
        task.model.load_state_dict(run.read_state()["model"])
        found["not_averaged"] = _accuracy(task, test, clean, attacked)
        print("not averaged", found["not_averaged"], flush=True)
    return {
        "schema": 1,
        "run": stored.folder(Path()).as_posix(),
        "images": {"clean": clean, "attacked": attacked},
        "batch_size": task.batch_size,
        "batches": {"few": few, "adversarial": adversarial},
        "share_of_the_initial_variance": share,
        "accuracy": found,
        "log_variance_ratio": ratios,
        "measured_variance_median": {path: float(f"{float(value.median()):.4g}") for path, value in anew.items()},
        "environment": environment(resolve_device("cpu")),
    }


def _accuracy(task: Task, test: Images, clean: int, attacked: int) -> Json:
    model, right, loss = task.model.eval(), 0, 0.0
    for index in torch.arange(clean).split(250):
        x, y = test.batch(index)
        with torch.no_grad():
            logits = model(x)
        right += int((logits.argmax(dim=1) == y).sum())
        loss += float(torch.nn.functional.cross_entropy(logits, y, reduction="sum"))
    found = {"clean_accuracy": right / clean, "clean_cross_entropy": loss / clean}
    if attacked:
        some = test.select(torch.arange(attacked))
        found |= {"robust_accuracy": holdout_accuracy(model, some, task.recipe.attack, 128)["robust_accuracy"]}
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--remade", type=Path, help="the run that scripts/measure_statistics.py made of it")
    parser.add_argument("--clean", type=int, default=1000, help="test images for clean accuracy")
    parser.add_argument("--attacked", type=int, default=0, help="test images for robust accuracy")
    parser.add_argument("--few", type=int, default=10, help="batches of the smaller measurement")
    parser.add_argument("--adversarial", type=int, default=0, help="batches of adversarial images")
    arguments = parser.parse_args()
    remade = Run(arguments.remade) if arguments.remade else None
    counts = (arguments.clean, arguments.attacked, arguments.few, arguments.adversarial)
    write_json(arguments.out, compare(Run(arguments.run), remade, *counts))


if __name__ == "__main__":
    main()
