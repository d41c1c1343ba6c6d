"""Naive code first, then one optimization after another: variants of the same attack, or step, on the same images."""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from advdpnp import noise
from advdpnp.attacks.compiled_ascent import CompiledAscent
from advdpnp.attacks.projected_ascent import Budget, ascend, cross_entropy
from advdpnp.bench.timing import Variant, Work
from advdpnp.cuda_graphs import cuda_graph
from advdpnp.data import Images
from advdpnp.defenses.base import Batch
from advdpnp.experiments import Experiment, experiment
from advdpnp.models.classifier import Classifier
from advdpnp.models.folding import fold_batchnorm
from advdpnp.models.packed_convolution import pack_convolutions
from advdpnp.noise import IndexNoise, Noise
from advdpnp.runs import Json
from advdpnp.training import Task
from advdpnp.training.recipe import Engine, Recipe
from advdpnp.training.step import Training, make_batch

_SETTLING_STEPS, _SETTLING_BATCH = 8, 16
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class BenchModel:
    """The network and the images that every variant works on.

    Args:
        experiment: Adv-DPNP on CIFAR-10's shapes; batch size and steps of the attack are the benchmark's.
        model: a few steps from its initialization, so that its gradients and BatchNorm statistics are not degenerate.
        images: one batch.
    """

    experiment: Experiment
    model: Classifier
    images: Images

    def task(self, precision: str = "fp32", engine: Engine = "eager") -> Task:
        """Training of a fresh copy of the network."""
        recipe = replace(self.experiment.recipe, precision=precision, engine=engine)  # type: ignore[arg-type]
        return self._task(copy.deepcopy(self.model), recipe)

    def _task(self, model: Classifier, recipe: Recipe) -> Task:
        return Task(model, self.experiment.defense, recipe, self.images, None, 0)

    @property
    def budget(self) -> Budget:
        return self.experiment.recipe.attack.budget()

    @property
    def index(self) -> Tensor:
        return torch.arange(len(self.images), device=self.images.labels.device)

    @property
    def batch(self) -> Batch:
        """One augmented batch."""
        return make_batch(self._task(self.model, self.experiment.recipe), self.index, 0, 0)

    @property
    def x(self) -> Tensor:
        """(B, channels, H, W), the images of the batch, channels_last."""
        return self.batch.x


def make_bench_model(name: str, device: torch.device, batch: int, steps: int, defense: str = "adv-dpnp") -> BenchModel:
    """The network called `name` as the defense builds it, after a few training steps on synthetic images.

    A network that the defense needs has its initial weights: timing needs no trained one.
    """
    # A small rate: the same batch is trained on again and again, and the numbers shall stay finite.
    settings = [f"recipe.batch_size={batch}", f"recipe.attack.steps={steps}", "recipe.lr=0.01"]
    wanted = experiment(f"cifar10/{name}/{defense}", "paper", settings=settings)
    images = synthetic_images(batch, wanted.data.image_shape, wanted.data.num_classes, device)
    model = wanted.build().to(device)
    if wanted.needs is not None:
        wanted.defense.install(model, wanted.needs.build().state_dict())
    short = replace(wanted.recipe.attack, steps=1)
    recipe = replace(wanted.recipe, attack=short, batch_size=min(batch, _SETTLING_BATCH))
    task = Task(model, wanted.defense, recipe, images, None, 0)
    training = Training(task)
    task.defense.between_epochs(model, 0)
    model.train()
    order = torch.arange(len(images), device=device)
    for step in range(_SETTLING_STEPS):
        training.step = step % (len(images) // task.batch_size)
        training.advance(order)
    task.defense.between_epochs(model, 1)
    model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return BenchModel(wanted, model.eval(), images)


def synthetic_images(n: int, shape: tuple[int, ...], classes: int, device: torch.device) -> Images:
    """Bytes with a random template for each class, and noise: timing needs no data set."""
    templates = 96 + 64 * noise.uniform(0, "bench/template", 0, torch.arange(classes), shape)
    return noisy_templates(n, templates, device)


def noisy_templates(n: int, templates: Tensor, device: torch.device) -> Images:
    """Bytes: the template of each image's class, (C, channels, H, W) in [32, 223], and noise."""
    index, shape = torch.arange(n), tuple(templates.shape[1:])
    labels = index % len(templates)
    pixels = templates[labels] + 64 * (noise.uniform(0, "bench/image", 0, index, shape) - 0.5)
    return Images(pixels.to(torch.uint8), labels).to(device)


def attack_variants(subject: BenchModel, precisions: tuple[str, ...]) -> list[Variant]:
    """The inner attack alone, from the naive loop to one CUDA graph."""
    x, y, budget = subject.x, subject.images.labels, subject.budget
    draws = IndexNoise(0, subject.index)
    nchw = x.contiguous()

    def crafted(attack: functools.partial[Tensor], model: nn.Module, images: Tensor) -> Work:
        return lambda: attack(model, cross_entropy, images, (y,), budget=budget, noise=draws, stream="attack")

    plain = functools.partial(ascend)

    def naive() -> Work:
        model = copy.deepcopy(subject.model)
        return lambda: naive_attack(model, nchw, y, budget, draws)

    def channels_last() -> Work:
        model = copy.deepcopy(subject.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return crafted(plain, model, x)

    def folded_nchw() -> Work:
        model = fold_batchnorm(subject.model).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return crafted(plain, model, nchw)

    def frozen(precision: str, how: str) -> Work:
        model = fold_batchnorm(subject.model, _DTYPES[precision])
        if how == "folded":
            pack_convolutions(model)
            return crafted(plain, model, x)
        fast = CompiledAscent(tuple(x.shape), cuda_graph if how == "attack_graph" else None)
        return crafted(functools.partial(fast), model, x)

    work = attack_gflop(subject)
    variants = [
        Variant("naive", "fp32", work["naive"], naive),
        Variant("input_gradient", "fp32", work["lean"], lambda: crafted(plain, copy.deepcopy(subject.model), nchw)),
        Variant("channels_last", "fp32", work["lean"], channels_last),
        Variant("folded_nchw", "fp32", work["lean"], folded_nchw),
    ]
    for precision in precisions:
        for how in ("folded", "compiled", "attack_graph"):
            make = functools.partial(frozen, precision, how)
            variants.append(Variant(_named(precision, how), precision, work["lean"], make, how == "attack_graph"))
    return variants


def step_variants(subject: BenchModel, precisions: tuple[str, ...]) -> list[Variant]:
    """A whole training step of the defense: the naive loop, then the package's own with each engine."""
    work = attack_gflop(subject)
    update = update_gflop(subject)
    variants = [Variant("naive", "fp32", work["naive"] + update, functools.partial(_naive_step, subject))]
    for precision in precisions:
        for engine in get_args(Engine):
            make = functools.partial(_training_step, subject, precision, engine)
            name, gflop = _named(precision, engine), work["lean"] + update
            if engine == "step":
                variants.append(Variant(f"{name}_cudnn_benchmark", precision, gflop, make, True, benchmark_cudnn=True))
            variants.append(Variant(name, precision, gflop, make, engine in ("graph", "step")))
    return variants


def naive_attack(model: nn.Module, x: Tensor, y: Tensor, budget: Budget, draws: Noise) -> Tensor:
    """PGD as it is often written: `backward()` of the mean loss, the gradients of all parameters included."""
    x_adv = budget.begin(x, draws, "attack")
    for _ in range(budget.steps):
        x_adv = x_adv.detach().requires_grad_(True)
        torch.autograd.backward(cross_entropy(model(x_adv), (y,), ()).mean())
        assert x_adv.grad is not None
        x_adv = budget.threat.project(x_adv.detach() + budget.step_size * budget.threat.step(x_adv.grad), x)
    return x_adv.detach()


def started(task: Task) -> Training:
    """The package's own training, ready for its first step."""
    training = Training(task)
    task.defense.between_epochs(task.model, 0)
    task.model.train()
    return training


def attack_gflop(subject: BenchModel) -> dict[str, float]:
    """Counted 10^9 operations per image of the attack: "naive" with all gradients, "lean" with the images' alone."""
    n = min(2, len(subject.images))
    x, y = subject.x[:n], subject.images.labels[:n]
    budget, draws = replace(subject.budget, steps=1), IndexNoise(0, subject.index[:n])
    model = copy.deepcopy(subject.model)
    scale = subject.budget.steps / n / 1e9
    return {
        "naive": scale * count_flops(lambda: naive_attack(model, x, y, budget, draws)),
        "lean": scale * count_flops(lambda: ascend(model, cross_entropy, x, (y,), budget=budget, noise=draws)),
    }


def update_gflop(subject: BenchModel) -> float:
    """Counted 10^9 operations per image of the losses and their backward pass."""
    n = min(2, len(subject.images))
    task = subject.task()
    batch = make_batch(task, subject.index[:n], 0, 0)
    task.model.train()

    def update() -> None:
        torch.autograd.backward(torch.stack(list(task.defense.loss(task.model, batch, batch.x).values())).sum())

    return count_flops(update) / n / 1e9


def count_flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products that `work` runs eagerly, backward included.

    A multiply-add is two.
    """
    counter = _Counter()  # type: ignore[no-untyped-call]
    with counter:
        work()
    return int(counter.count)


@torch.no_grad()
def compare_iterates(subject: BenchModel, iterates: dict[str, Tensor], table: Json) -> None:
    """Compare every variant's adversarial images with those of "input_gradient", and classify them in fp32."""
    reference = iterates.get("input_gradient")
    for name, x_adv in iterates.items():
        logits, y = subject.model(x_adv), subject.images.labels
        entry = table[name]
        entry["robust_accuracy"] = (logits.argmax(1) == y).double().mean().item()
        entry["mean_loss"] = cross_entropy(logits, (y,), ()).mean().item()
        if reference is not None:
            difference = (x_adv - reference).abs()
            entry["largest_difference"] = difference.max().item()
            entry["differing_pixels"] = (difference > 1e-5).double().mean().item()


def _named(precision: str, name: str) -> str:
    return name if precision == "fp32" else f"{precision}_{name}"


def _naive_step(subject: BenchModel) -> Work:
    task = subject.task()
    model, budget, draws = task.model, subject.budget, IndexNoise(0, subject.index)
    recipe = task.recipe
    optimizer = torch.optim.SGD(
        task.defense.param_groups(model), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, foreach=False
    )

    def step() -> None:
        batch = make_batch(task, subject.index, 0, 0)
        batch = replace(batch, x=batch.x.contiguous())
        model.eval()
        x_adv = naive_attack(model, batch.x, batch.y, budget, draws)
        model.train()
        optimizer.zero_grad()
        torch.autograd.backward(torch.stack(list(task.defense.loss(model, batch, x_adv).values())).sum())
        optimizer.step()

    return step


def _training_step(subject: BenchModel, precision: str, engine: Engine) -> Work:
    training = started(subject.task(precision, engine))

    def step() -> None:
        training.step = 0
        training.advance(subject.index)

    return step


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    # torch's own FlopCounterMode follows modules, which autograd.grad on a leaf does not survive.
    count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.count += formula(*args, **(kwargs or {}), out_val=result)
        return result
