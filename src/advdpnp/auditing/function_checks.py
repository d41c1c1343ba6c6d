"""Is the network a function of each image alone: the same answer again, in any batch, with and without gradients?"""

import math
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from advdpnp.attacks.attack import check_mode
from advdpnp.auditing.findings import Check, Found
from advdpnp.auditing.subject import Subject
from advdpnp.evaluation.model_checks import accuracy_warnings
from advdpnp.losses import at_least_fp32, has_answer, is_right
from advdpnp.metrics.significance import exceeds
from advdpnp.models.copying import converted

# Images of each check, and repeats of a call.
FEW, REPEATS = 32, 6
# The largest difference of logits, in spreads of a row of logits, that counts as rounding.
SAME, OTHER_BATCH = 1e-4, 1e-2
_DETERMINISTIC = "make the network answer alike (eval mode, no noise), or attack it with EOT and say so with the number"


def function_checks(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> list[Check]:
    """Checks that need no attack; they end with the first one that refuses the network.

    Args:
        model: any network.
        x: (n, channels, H, W) in [0, 1].
        y: (n,) int64.
        around: the same images at random points of their balls.
    """
    checks: list[Check] = []
    for make in (_mode, _answer, _input, _repeats, _batches, _state, _grad_mode, _range, _precision, _copies):
        try:
            found = make(model, x, y, around)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # an unknown network may raise anything
            found = failed(make.__name__.strip("_").replace("_", " "), error)
        checks.append(found)
        if found.verdict == "refused":
            break
    return checks


def failed(name: str, error: Exception) -> Check:
    """The network raised an error: nothing can be said of it."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return Check(
        name,
        "refused",
        f"the network fails: {reason}",
        "answers, and gradients, on images in [0, 1], in batches of any size",
        "mend its forward or backward, or choose the data that it was made for",
    )


def _answer_of(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return at_least_fp32(model(x.clone()))


def difference(a: Tensor, b: Tensor) -> float:
    """The largest difference of two answers, (k, C), in spreads of their rows (largest minus smallest logit)."""
    finite = a.isfinite() & b.isfinite()
    if not torch.equal(a[~finite], b[~finite]):
        return math.inf
    a, b = torch.where(finite, a, 0.0).double(), torch.where(finite, b, 0.0).double()
    spread = (a.amax(dim=1) - a.amin(dim=1)).clamp_min(1e-30)
    return float(((a - b).abs().amax(dim=1) / spread).amax())


def _mode(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    try:
        check_mode(model)
    except ValueError as error:
        return Check("mode", "refused", str(error), "every part in eval mode", "call model.eval()")
    return Check("mode", "passed", "every part is in eval mode", "every part in eval mode")


def _answer(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    logits = torch.cat([_answer_of(model, part) for part in (x[:FEW], around[:FEW])])
    expected = "finite logits (n, classes), on images and around them"
    unsound = int((~has_answer(logits)).sum())
    if unsound:
        text = f"logits of {unsound} of {len(logits)} images, clean and in the ball, are not finite"
        return Check("logits", "refused", text, expected, "look for a logarithm, root or division at 0")
    sums = logits.double().sum(dim=1)
    if bool((logits >= 0).all()) and bool((sums - 1).abs().max() < 1e-3):
        return Check(
            "logits",
            "refused",
            "the network returns probabilities: each row is at least 0 and adds up to 1",
            expected,
            "drop the last softmax, or return its logarithm: a softmax of a softmax weakens every attack",
        )
    return Check("logits", "passed", f"{logits.shape[1]} finite logits for each of {len(logits)} images", expected)


def _input(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    given = x[:FEW].clone()
    with torch.no_grad():
        model(given)
    expected = "the images that it was given are as before"
    if not torch.equal(given, x[:FEW]):
        text = "the network changes its input in place, so that the next call sees other images"
        return Check("input", "refused", text, expected, "write x = x - mean, not x.sub_(mean), and the like")
    return Check("input", "passed", "its input is as before the call", expected)


def _repeats(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    points = torch.cat([x[:FEW], around[:FEW]])
    first = _answer_of(model, points)
    found = max(difference(first, _answer_of(model, points)) for _ in range(REPEATS))
    expected = "the same logits again, up to rounding"
    text = f"{REPEATS} repeated calls on {len(points)} images differ by {found:.2g} of the spread of the logits"
    return _compared("randomness", found, SAME, text, expected, "refused", _DETERMINISTIC)


def _batches(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    points = torch.cat([x[: FEW // 2], around[: FEW // 2]])
    first, count = _answer_of(model, points), len(points)
    others: dict[str, Callable[[], Tensor]] = {
        "alone": lambda: torch.cat([_answer_of(model, points[i : i + 1]) for i in range(count)]),
        "in another order": lambda: _answer_of(model, points.flip(0)).flip(0),
        "in another batch": lambda: _answer_of(model, torch.cat([points[count // 2 :], points]))[-count:],
    }
    found = {how: difference(first, again()) for how, again in others.items()}
    how = max(found, key=lambda name: found[name])
    expected = "the same logits whatever else is in the batch"
    text = f"an image {how} differs by {found[how]:.2g} of the spread of the logits"
    numbers = {"difference": _number(found[how])}
    if found[how] > OTHER_BATCH:
        advice = "BatchNorm over the batch, or whitening? use stored statistics: a verdict must not depend on others"
        return Check("batch", "refused", text, expected, advice, numbers)
    return Check("batch", "passed", text, expected, numbers=numbers)


def _state(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    before = {name: value.clone() for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    _answer_of(model, x[:FEW])
    after = model.state_dict()
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    expected = "a forward changes nothing in the network"
    if changed:
        text = f"a forward changes {', '.join(changed[:3])}"
        return Check(
            "state", "suspicious", text, expected, "a defense that remembers queries is no classifier: reset it"
        )
    return Check("state", "passed", "weights and buffers are as before a call", expected)


def _grad_mode(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    points = torch.cat([x[:FEW], around[:FEW]])
    plain = _answer_of(model, points)
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watched = at_least_fp32(model(points.clone().requires_grad_())).detach()
    found = difference(plain, watched)
    expected = "the same logits whether or not a gradient is asked for"
    text = f"with a gradient asked for, logits differ by {found:.2g} of their spread"
    advice = "attacks see another network than the one that is judged: remove what asks for requires_grad"
    return _compared("gradient mode", found, SAME, text, expected, "masked", advice)


def _range(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    """Is it right on images in [0, 1], or on images in another range?"""
    expected = "accuracy above chance, and no better on bytes or on standardized images"
    classes = _answer_of(model, x[:1]).shape[1]
    accuracy = float(is_right(_answer_of(model, x), y).double().mean())
    text = f"clean accuracy on {len(x)} images in [0, 1] is {accuracy:.1%}, and no other range raises it"
    try:
        said = accuracy_warnings(model, x, y, classes)
    except ValueError as error:
        return Check("input range", "refused", str(error), expected, "give --mean and --std of its training")
    if said:
        return Check("input range", "suspicious", said[0], expected, "give --mean and --std of its training")
    return Check("input range", "passed", text, expected, numbers={"accuracy": accuracy})


def in_float64(model: nn.Module, x: Tensor) -> nn.Module | None:
    """A copy that computes in float64, forward and backward; None where there is none."""
    try:
        twin = converted(model, "double")
        probe = x[:2].double().requires_grad_()
        with torch.enable_grad():
            logits = twin(probe)
            if logits.requires_grad:
                torch.autograd.grad(logits.sum(), probe, allow_unused=True)
    except Exception:  # of an unknown network
        return None
    return twin if logits.dtype == torch.float64 else None


def _precision(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    expected = "float64 gives the logits of float32, up to rounding"
    twin = in_float64(model, x)
    if twin is None:
        return Check("rounding", "not measured", "the network does not compute in float64", expected)
    points = torch.cat([x[:FEW], around[:FEW]])
    with torch.no_grad():
        fine = twin(points.double())
    found = difference(fine, _answer_of(model, points).double())
    text = f"in float64 logits differ by {found:.2g} of their spread"
    advice = "rounding decides the answer: a large constant that is added and taken off, or a coarse cast?"
    return _compared("rounding", found, OTHER_BATCH, text, expected, "suspicious", advice)


def _copies(model: nn.Module, x: Tensor, y: Tensor, around: Tensor) -> Check:
    """Do images that nobody can tell apart get one answer, and different images different ones?"""
    expected = "a change of 1e-6 of a pixel changes logits next to nothing; no two images have the very same logits"
    clean = _answer_of(model, x)
    step = 1e-6 * torch.where(x > 0.5, -1.0, 1.0)
    near = _answer_of(model, x + step)
    spread = (clean.amax(dim=1) - clean.amin(dim=1)).clamp_min(1e-30)
    jump = (near - clean).abs().amax(dim=1) / spread
    jumps = int((jump > 0.05).sum())
    lost = int((is_right(clean, y) & ~is_right(near, y)).sum())
    points, images = torch.cat([clean, _answer_of(model, around)]), torch.cat([x, around]).flatten(1)
    same = max(0, _repeated(points) - _repeated(images))
    numbers = {"jumps": jumps, "lost": lost, "same": same, "n": len(x)}
    text = (
        f"logits of {jumps} of {len(x)} images jump at a change of 1e-6, and {lost} right ones are lost; {same} of "
        f"{len(points)} images have the very same logits as another one"
    )
    if exceeds(jumps, len(x), 0.02):
        advice = "the answer hangs on the exact bits of the image (a memory, a hash?): evaluate on images it never saw"
        found: Found = "masked" if lost > 0.1 * len(x) else "suspicious"
        return Check("continuity", found, text, expected, advice, numbers)
    if exceeds(same, len(points), 0.05):
        advice = "logits that do not follow the image (a label, a constant, a detector?) leave attacks nothing to climb"
        return Check("continuity", "suspicious", text, expected, advice, numbers)
    return Check("continuity", "passed", text, expected, numbers=numbers)


def _repeated(rows: Tensor) -> int:
    """How many rows are equal to one before them: (k, ...)."""
    return len(rows) - len(torch.unique(rows, dim=0))


def replayed(subject: Subject, twin: nn.Module | None, points: Tensor, seen: Tensor) -> Check:
    """After all attacks: does the network still answer as at the start, and as a copy that was never attacked?

    Args:
        subject: the network, with its first answers.
        twin: a copy that was made before.
        points: images that attacks have made.
        seen: the network's logits there when they were made.
    """
    found = difference(subject.clean, subject.logits(subject.x))
    if len(points):
        found = max(found, difference(seen, subject.logits(points)))
        if twin is not None:
            found = max(found, difference(seen, subject.logits(points, twin)))
    expected = "the same answers before and after thousands of calls, and from a copy that was never attacked"
    text = f"after the attacks, and on a fresh copy, logits differ by {found:.2g} of their spread"
    advice = "the network counts or remembers its calls: reset that, and attack what a fresh copy answers"
    return _compared("memory of calls", found, OTHER_BATCH, text, expected, "refused", advice)


def _compared(name: str, found: float, most: float, text: str, expected: str, verdict: Found, advice: str) -> Check:
    """Two answers that must be the same: passed where they differ by `most` of the logits' spread or less."""
    if found > most:
        return Check(name, verdict, text, expected, advice, {"difference": _number(found)})
    return Check(name, "passed", text, expected, numbers={"difference": found})


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"
