"""Train Adv-DPNP on images of your own that are tensors: here three kinds of noisy stripes, 16 x 16 in color.

The run folder that it writes (default: runs/stripes) is resumable and holds checkpoints and one log line per epoch.
"""

import sys
from pathlib import Path

import torch
from torch import Tensor

from advdpnp import AdvDPNP, build_backbone
from advdpnp.attacks import suite
from advdpnp.data import Augmentation, Images, stratified
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.experiments.config import encode
from advdpnp.progress import Lines, result_text
from advdpnp.runs import Run
from advdpnp.training import InnerAttack, Recipe, Task, fit

CLASSES = 3
SIDE = 16
EPS = 16 / 255


def stripes(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Your images: (N, channels, H, W) uint8, and labels (N,) int64. The class is the direction of the stripes."""
    labels = torch.arange(count) % CLASSES
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    directions = torch.stack([rows, columns, rows + columns])[labels]
    shift = torch.rand(count, 3, 1, 1, generator=generator) * 6.28
    waves = 0.5 + 0.25 * torch.sin(directions[:, None] + shift)
    noisy = waves + 0.1 * torch.randn(waves.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).to(torch.uint8), labels


def make_task(train: Images, recipe: Recipe, seed: int) -> Task:
    """Network, defense and images; the held-out ones choose the `best` weights."""
    held = stratified(train.labels, recipe.holdout, "holdout")
    rest = torch.arange(len(train))
    rest = rest[~torch.isin(rest, held)]
    torch.manual_seed(seed)
    defense = AdvDPNP(alpha=10.0)
    model = defense.build(build_backbone("tiny", (3, SIDE, SIDE)), CLASSES)
    return Task(model, defense, recipe, train.select(rest), train.select(held), seed)


def main(folder: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = Images(*stripes(600, generator)), Images(*stripes(150, generator))
    recipe = Recipe(
        name="default",
        attack=InnerAttack(eps=EPS, step_size=EPS / 4, steps=5),
        augmentation=Augmentation(),
        epochs=6,
        holdout=60,
    )
    task = make_task(train, recipe, seed=0)
    run = Run(folder)
    # Any facts will do: a later start in the same folder with other ones is refused, and names them.
    config = {"data": "stripes", "defense": encode(task.defense), "recipe": encode(recipe), "seed": task.seed}
    run.create_or_verify(config)
    fit(task, run, Lines(), resume=True)

    weights, epoch = run.read_weights("best")
    task.model.load_state_dict(weights)
    wanted = Evaluation(suite("pgd20", EPS), n=len(test), facts={"data": "stripes", "checkpoint": f"best, {epoch}"})
    print(result_text(evaluate(task.model.eval(), test, wanted, Lines())))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/stripes"))
