"""What is attacked, in which chunks and precision; and one pass of an attack over the images, a verdict for each."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from advdpnp.attacks import Attack
from advdpnp.attacks.monitored_model import MonitoredModel
from advdpnp.data import Images
from advdpnp.dtype import float32_default
from advdpnp.evaluation.forward_shapes import ForwardShapes
from advdpnp.evaluation.state import PassProgress
from advdpnp.losses import cross_entropy, is_right
from advdpnp.models.classifier import Classifier, other_answers
from advdpnp.models.expected import ExpectedModel
from advdpnp.models.folding import fold_batchnorm
from advdpnp.models.packed_convolution import pack_convolutions
from advdpnp.noise import IndexNoise

# Rows of every forward in one pass over the images: at most, and at least.
CHUNK, _FEWEST = 128, 16
# Rows of every forward of a stepwise attack. On a GPU as many as keep it busy. On a CPU as many as have the pixels of
# 16 images of 3x32x32, but from 4 to 64: rows that have no image left to attack are computed too.
_SEARCH_GPU, _SEARCH_PIXELS, _SEARCH_CPU = 512, 16 * 3 * 32 * 32, (4, 64)
# How many such chunks are attacked together, at most, unless the caller says otherwise.
_CHUNKS_IN_FLIGHT = 4
# Of a network with no more parameters than this the calls cost as much as what is in them: it gets more rows at once,
# up to so many, where that changes no bit, and then from so few.
_SMALL_NETWORK, _TOGETHER, _FEWEST_TOGETHER = 2**21, 256, 16

SearchPrecision = Literal["fp32", "tf32", "bf16"]


@dataclass(frozen=True)
class AttackTarget:
    """What is attacked, on which images.

    Args:
        model: classifier in eval mode, which gives the verdicts.
        attacked_model: what attacks compute on, see `model_to_attack`.
        images: the test set, on the model's device.
        places: (n,) int64, positions of the attacked images in the test set, on the same device.
        seed: of the attacks' noise, which is keyed by these positions.
        precision: of stepwise attacks; the verdicts are always given in fp32.
    """

    model: nn.Module
    attacked_model: nn.Module
    images: Images
    places: Tensor
    seed: int
    precision: SearchPrecision = "fp32"

    @property
    def labels(self) -> Tensor:
        """(n,) int64, of the attacked images."""
        return self.images.labels[self.places]

    @property
    def attacks_the_model_itself(self) -> bool:
        """Whether what an attack finds needs no second look: it calls the very network that gives the verdicts."""
        repeats = not isinstance(self.model, ExpectedModel)
        return self.attacked_model is self.model and self.precision == "fp32" and repeats


def check_precision(precision: str) -> None:
    """Raise ValueError unless stepwise attacks can compute in it."""
    if precision not in get_args(SearchPrecision):
        known = ", ".join(get_args(SearchPrecision))
        raise ValueError(f"attacks can search in {known}; got {precision!r}")


def model_to_attack(model: nn.Module, precision: SearchPrecision = "fp32") -> nn.Module:
    """What attacks compute on: of our own classifiers a faster copy with BatchNorm folded, else the network itself."""
    check_precision(precision)
    if isinstance(model, Classifier):
        folded = fold_batchnorm(model, torch.bfloat16 if precision == "bf16" else torch.float32)
        pack_convolutions(folded)
        return folded
    if precision == "bf16":
        raise ValueError("only networks that advdpnp has built are searched in bf16: leave it fp32, or tf32 on a GPU")
    return model


@dataclass(frozen=True)
class Chunk:
    """Images that go through the network together.

    Args:
        x: (chunk, channels, H, W) in [0, 1]; the last chunk is padded by repeating its last image.
        y: (chunk,) int64.
        index: (chunk,) int64 positions in the test set.
        valid: how many rows count.
    """

    x: Tensor
    y: Tensor
    index: Tensor
    valid: int


def chunks(images: Images, which: int | Tensor, size: int, first: int = 0) -> Iterator[Chunk]:
    """Some images in chunks of one size.

    Args:
        images: the test set.
        which: the first so many, or (n,) int64 positions.
        size: rows of a chunk.
        first: number of the first chunk.
    """
    device = images.labels.device
    places = torch.arange(which, device=device) if isinstance(which, int) else which
    n = len(places)
    for start in range(first * size, n, size):
        padded = torch.arange(start, start + size, device=device).clamp_max(n - 1)
        x, y = images.batch(places[padded])
        yield Chunk(x, y, places[padded], min(size, n - start))


def usual_chunk(n: int) -> int:
    """Rows of every forward in one pass over n images: 128, and where there are fewer images 16, 32 or 64.

    The last chunk is padded to this shape, so one image shall not cost as much as 128. It depends on n alone, so that
    results of the same images have it in common.
    """
    return min(CHUNK, max(_FEWEST, 1 << (n - 1).bit_length()))


def search_chunk(images: Images) -> int:
    """Rows of every forward of a stepwise attack, for images of this size on this device."""
    if images.labels.device.type != "cpu":
        return _SEARCH_GPU
    fewest, most = _SEARCH_CPU
    fitting = _SEARCH_PIXELS // images.pixels[0].numel()
    return min(max(1 << max(fitting, 1).bit_length() - 1, fewest), most)


def search_shapes(target: AttackTarget) -> tuple[int, ForwardShapes | None]:
    """Rows of every forward of a stepwise attack, and which other numbers of rows may go at once.

    On a CPU small networks are called on as many rows as there are, from 16, where they answer alike.
    """
    usual, network = search_chunk(target.images), target.attacked_model
    parameters = sum(parameter.numel() for parameter in network.parameters())
    on_cpu = target.places.device.type == "cpu"
    if not on_cpu or parameters > _SMALL_NETWORK or isinstance(network, ExpectedModel):
        return usual, None
    shape = tuple(target.images.pixels.shape[1:])
    chunk, most = min(usual, _FEWEST_TOGETHER), _CHUNKS_IN_FLIGHT * _SEARCH_PIXELS // math.prod(shape)
    shapes = ForwardShapes(network, shape, chunk, min(max(most, usual), _TOGETHER))
    return (chunk, shapes) if shapes.agrees(usual) else (usual, None)


def chunks_in_flight(chunk: int, batch_size: int, shapes: ForwardShapes | None = None) -> int:
    """How many chunks of rows a stepwise attack works on at a time, at least one.

    Args:
        chunk: rows of a forward.
        batch_size: rows at a time, rounded down to whole chunks; 0 for 4 chunks, but at most `CHUNK` rows, or where
            more than a chunk may go at once, as many as these.
        shapes: how many may go at once; None for a chunk.
    """
    usual = min(_CHUNKS_IN_FLIGHT, CHUNK // chunk) if shapes is None else shapes.most // chunk
    return max(1, batch_size // chunk if batch_size else usual)


def attacked(attacked_model: nn.Module, attack: Attack | None, chunk: Chunk, seed: int) -> tuple[Tensor, Tensor]:
    """The chunk's images after the attack (None: clean); the noise is keyed by image index.

    Returns:
        (chunk, channels, H, W); and (chunk,) bool, the images about which an answer to the attack was not finite.
    """
    monitored = MonitoredModel(attacked_model, len(chunk.x), chunk.x.device)
    if attack is None:
        return chunk.x, monitored.nonfinite
    return attack(monitored, chunk.x, chunk.y, noise=IndexNoise(seed, chunk.index)), monitored.nonfinite


def single_pass(
    target: AttackTarget,
    attack: Attack | None,
    chunk_size: int,
    progress: PassProgress,
    on_images: Callable[[int], None],
    on_attacked: Callable[[Tensor, Chunk], None] | None = None,
    change: Callable[[Chunk], Tensor] | None = None,
) -> None:
    """Attack the images chunk by chunk, and store a verdict for each.

    Args:
        target: what is attacked.
        attack: None for clean images.
        chunk_size: rows of each forward.
        progress: where verdicts go; chunks that it already has are skipped.
        on_images: called with the number of images after each chunk.
        on_attacked: called with the attacked images of each chunk, for what else is measured on them.
        change: gives the images of a chunk where they are not the clean ones, as corrupted ones; without an attack.
    """
    target_class = getattr(attack, "target", None)
    for chunk in chunks(target.images, target.places, chunk_size, first=math.ceil(progress.n / chunk_size)):
        began = time.perf_counter()
        x, nonfinite = attacked(target.attacked_model, attack, chunk, target.seed)
        x = x if change is None else change(chunk)
        with torch.no_grad():
            # A copy, for networks that change their input: `on_attacked` sees the images too.
            logits = target.model(x.clone())[: chunk.valid]
            others = other_answers(target.model, x)
        y = chunk.y[: chunk.valid]
        right, loss = is_right(logits, y), cross_entropy(logits, y)
        if on_attacked is not None:
            on_attacked(x, chunk)
        # Waits for the device, whose work is part of the time.
        right, loss = right.cpu(), loss.cpu()
        answers = {name: is_right(given[: chunk.valid], y).cpu() for name, given in others.items()}
        reached = None if target_class is None else is_right(logits, torch.full_like(y, target_class))
        progress.add(right, nonfinite[: chunk.valid], loss, time.perf_counter() - began, reached, answers)
        on_images(chunk.valid)


@contextlib.contextmanager
def as_stated() -> Iterator[None]:
    """Inside, computations in fp32 and nothing coarser, whatever the caller has switched on; outside, as they were.

    No autocast, no TF32, float32 by default, and gradients where they are asked for.
    """
    with (
        float32_default(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        _ieee_products(),
    ):
        yield


@contextlib.contextmanager
def _ieee_products() -> Iterator[None]:
    """Matrix products and convolutions of fp32 numbers in full fp32, on the CPU too."""
    backends: Any = torch.backends
    kinds = (
        backends.cuda.matmul,
        backends.cudnn.conv,
        backends.cudnn.rnn,
        backends.mkldnn.matmul,
        backends.mkldnn.conv,
        backends.mkldnn.rnn,
    )
    # torch has two interfaces for this and refuses to read the older one where the newer has been used. Both are set,
    # since both are read, by its compiler among others.
    before = [kind.fp32_precision for kind in kinds]
    products, convolutions = _readable(torch.get_float32_matmul_precision), _readable(lambda: backends.cudnn.allow_tf32)
    try:
        torch.set_float32_matmul_precision("highest")
        backends.cudnn.allow_tf32 = False
        for kind in kinds:
            kind.fp32_precision = "ieee"
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for kind, precision in zip(kinds, before, strict=True):
            kind.fp32_precision = precision


def _readable(setting: Callable[[], Any]) -> Any:
    """A setting of torch's older interface, or None where torch refuses to read it."""
    try:
        return setting()
    except RuntimeError:
        return None


@contextlib.contextmanager
def in_precision(precision: SearchPrecision) -> Iterator[None]:
    """Inside, GPU products in TF32 if that is the precision; outside, as they were."""
    settings: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [setting.allow_tf32 for setting in settings]
    try:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed or precision == "tf32"
        yield
    finally:
        for setting, allowed in zip(settings, before, strict=True):
            setting.allow_tf32 = allowed
