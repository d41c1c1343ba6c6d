"""Are the gradients those of the function, and is there something to follow?"""

import torch
from torch import Tensor, nn

from advdpnp import losses
from advdpnp.auditing.findings import Check, Found
from advdpnp.auditing.function_checks import in_float64
from advdpnp.auditing.subject import Subject, parts_of
from advdpnp.losses import cross_entropy, margin
from advdpnp.metrics.significance import exceeds

# Shares of images that honest networks may show.
_ODD = 0.05
_STEPS = (0.01, 0.03, 0.1, 0.3, 1.0)
# The step that is judged, and the factor by which the rise may be unlike what the gradient says.
_SMALL, _UNLIKE = 2, 2.5
# A linearized distance to the boundary of so many diameters of the box: the gradient leads nowhere.
_FAR = 10.0


def gradient_checks(subject: Subject, around: Tensor) -> tuple[list[Check], dict[str, list[float]]]:
    """Zero, vanishing and infinite gradients; finite differences; the loss along the gradient.

    Args:
        subject: the network on its images.
        around: (n, channels, H, W), a random point of each ball.
    Returns:
        The checks; and the mean loss along the gradient, for the figure.
    """
    rows = subject.right.nonzero().squeeze(1)
    x, y = torch.cat([subject.x[rows], around[rows]]), subject.y[rows].repeat(2)
    if not len(rows):
        return [], {}
    try:
        lead, gradient = subject.gradient(x, y, margin)
        _, saturating = subject.gradient(x, y, cross_entropy)
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).strip().splitlines()[0]
        return [_no_gradient(f"there is no gradient ({reason})")], {}
    if not gradient.any():
        return [_no_gradient("no gradient reaches the images")], {}
    checks = [_finite(gradient, saturating)]
    if checks[0].verdict == "refused":
        return checks, {}
    checks += [_vanishing(subject, lead, gradient), _saturated(saturating), _confidence(subject)]
    checks.append(_differences(subject, around[rows], subject.y[rows]))
    rises, curve = _rises(subject, rows, gradient[: len(rows)])
    return [*checks, rises], curve


def _no_gradient(text: str) -> Check:
    return Check(
        "gradient",
        "refused",
        text,
        "a gradient on every image",
        "detach, no_grad, numpy, argmax or rounding on the way? make the forward differentiable, else attacks on "
        "gradients say nothing; square asks for answers alone",
    )


def _finite(gradient: Tensor, saturating: Tensor) -> Check:
    sound = (gradient.isfinite() & saturating.isfinite()).flatten(1).all(dim=1)
    bad, n = int((~sound).sum()), len(sound)
    text, expected = f"the gradient at {bad} of {n} points is NaN or Inf", "finite gradients everywhere"
    advice = "attacks cannot follow it: look for a root, logarithm or norm at 0"
    if bad > 0.5 * n:
        return Check("finite gradients", "refused", text, expected, advice, {"count": bad, "n": n})
    found: Found = "suspicious" if exceeds(bad, n, 0.001) else "passed"
    return Check("finite gradients", found, text, expected, advice if bad else "", {"count": bad, "n": n})


def _vanishing(subject: Subject, lead: Tensor, gradient: Tensor) -> Check:
    flat = gradient.flatten(1).double()
    size = flat.abs().sum(dim=1) if subject.norm == "linf" else flat.norm(dim=1)
    box = 1.0 if subject.norm == "linf" else float(flat.shape[1]) ** 0.5
    reach = lead.double().abs() / size.clamp_min(1e-300) / box
    zero, far, n = int((size == 0).sum()), int((reach > _FAR).sum()), len(size)
    numbers = {"zero": zero, "vanishing": far, "n": n, "median_reach": float(reach.median().clamp_max(1e30))}
    text = (
        f"the gradient of the margin is 0 at {zero} of {n} points (images, and random points of their balls), and at "
        f"{far} so small that the boundary would lie {_FAR:g} times farther than the image range is wide"
    )
    expected = "neither: the linearized boundary lies within the range of images"
    advice = "a saturating layer, rounding or a detector: attack what comes before it, or estimate the gradient"
    found: Found = "masked" if far > 0.5 * n else "suspicious" if exceeds(far, n, 0.02) else "passed"
    return Check("vanishing gradients", found, text, expected, "" if found == "passed" else advice, numbers)


def _saturated(saturating: Tensor) -> Check:
    flat = saturating.flatten(1)
    zero, n = int((flat == 0).all(dim=1).sum()), len(flat)
    text = f"the cross-entropy has no gradient at all at {zero} of {n} points"
    expected = "a gradient at most points, however small"
    advice = "no number of FGSM, PGD or APGD-CE can be believed: trust scale-free attacks (cw, apgd-t, fab-t, square)"
    found: Found = "masked" if exceeds(zero, n, 0.5) else "passed"
    return Check("saturated loss", found, text, expected, "" if found == "passed" else advice, {"zero": zero, "n": n})


def _confidence(subject: Subject) -> Check:
    """Do the logits tell classes apart where their order does?"""
    likely = subject.clean.softmax(dim=1).amax(dim=1)
    chance, sure, right = 1 / subject.classes, float(likely.mean()), float(subject.right.double().mean())
    above, text = (sure - chance) / (1 - chance), f"mean confidence is {sure:.4f}, where {right:.1%} are right"
    expected = f"confidence well above {chance:.3f}, which is chance, where accuracy is"
    advice = "logits so small that the cross-entropy hardly changes: trust scale-free attacks, and mend the scale"
    low = above < 0.01 and right > chance + 0.2 * (1 - chance)
    numbers = {"confidence": sure, "accuracy": right}
    return Check("confidence", "suspicious" if low else "passed", text, expected, advice if low else "", numbers)


def _differences(subject: Subject, around: Tensor, y: Tensor) -> Check:
    """Derivatives of random combinations of logits along random directions, against finite differences."""
    expected = "the derivative that autograd gives is the slope of the function"
    twin = in_float64(subject.model, around)
    network, dtype = (subject.model, torch.float32) if twin is None else (twin, torch.float64)
    # In fp32 a difference needs a longer step, and more room for rounding and for kinks within it.
    step, room, odd = (2e-3, 0.25, 0.2) if twin is None else (1e-6, 0.05, _ODD)
    # Away from the ends of the range, and from ties such as a black background makes.
    x = around.to(dtype) * 0.98 + 0.01
    noise, count = subject.noise(torch.arange(len(x), device=x.device), 101), len(x)
    weights = 2 * noise.uniform("weights", (subject.classes,)).to(dtype) - 1
    direction = 2 * noise.uniform("direction", tuple(x.shape[1:])).to(dtype) - 1
    slope, numeric, longer = _slopes(network, x, weights, direction, step)
    scale = torch.maximum(slope.abs(), numeric.abs())
    # What a step of twice the length says otherwise is rounding or a kink, whatever the network computes in.
    rounding = (numeric - longer).abs() + 8 * torch.finfo(dtype).eps * weights.abs().sum(dim=1) * _size(subject) / step
    flat = rounding > room * scale
    wrong = ~flat & ((slope - numeric).abs() > room * scale + rounding)
    off = int(wrong.sum())
    numbers: dict[str, float] = {"wrong": off, "n": count, "flat": int(flat.sum()), "float64": twin is not None}
    if off:
        dots = (slope * numeric).sum(), (numeric * numeric).sum().clamp_min(1e-300)
        numbers["ratio"] = max(-1e30, min(1e30, float(dots[0] / dots[1])))
    how = "fp32" if twin is None else "float64"
    text = f"at {off} of {count} points the derivative differs from finite differences in {how} by more than {room:.0%}"
    advice = (
        "straight-through rounding, a detached part or a custom backward: attacks follow another function; attack it "
        "with estimated gradients or square"
    )
    if int(flat.sum()) > 0.5 * count and not exceeds(off, count, odd):
        text = f"at {int(flat.sum())} of {count} points a difference in {how} is too coarse to tell a slope"
        return Check("finite differences", "not measured", text, expected, "", numbers)
    found: Found = "suspicious" if exceeds(off, count, odd) else "passed"
    return Check("finite differences", found, text, expected, "" if found == "passed" else advice, numbers)


def _slopes(
    network: nn.Module, x: Tensor, weights: Tensor, direction: Tensor, step: float
) -> tuple[Tensor, Tensor, Tensor]:
    """(n,) by autograd, (n,) by a central difference, and (n,) by one of twice the step."""
    slopes, numeric, longer = list[Tensor](), list[Tensor](), list[Tensor]()
    for part in zip(parts_of(x), parts_of(weights), parts_of(direction), strict=True):
        points, mix, along = part
        probe = points.clone().requires_grad_()
        with torch.enable_grad():
            total = (network(probe) * mix).sum()
            gradient = torch.autograd.grad(total, probe, allow_unused=True)[0] if total.requires_grad else None
        slopes.append((along * (0 if gradient is None else gradient)).flatten(1).sum(dim=1))
        for factor, found in ((1, numeric), (2, longer)):
            with torch.no_grad():
                up, down = ((network(points + sign * factor * step * along) * mix) for sign in (1, -1))
            found.append((up - down).sum(dim=1) / (2 * factor * step))
    return torch.cat(slopes), torch.cat(numeric), torch.cat(longer)


def _size(subject: Subject) -> float:
    """The largest logit, in which rounding is measured."""
    return float(subject.clean.abs().amax())


def _rises(subject: Subject, rows: Tensor, gradient: Tensor) -> tuple[Check, dict[str, list[float]]]:
    """Does the margin rise along its gradient, about as much as the gradient says?"""
    x, y = subject.x[rows], subject.y[rows]
    start = margin(subject.clean[rows], y).double()
    random = 2 * subject.noise(rows, 103).uniform("along", tuple(x.shape[1:])) - 1
    along, across, ratios = [], [], []
    for share in _STEPS:
        point = (x + share * subject.eps * subject.ball.step(gradient)).clamp(0, 1)
        predicted = (gradient * (point - x)).flatten(1).double().sum(dim=1)
        rise = margin(subject.logits(point), y).double() - start
        other = (x + share * subject.eps * subject.ball.step(random)).clamp(0, 1)
        sideways = margin(subject.logits(other), y).double() - start
        scale = start.abs().median().clamp_min(1e-30)
        along.append(float(rise.mean() / scale))
        across.append(float(sideways.mean() / scale))
        ratios.append(rise / predicted.clamp_min(1e-300))
    small = ratios[_SMALL]
    down, n = int((small <= 0.05).sum()), len(rows)
    odd = int(((small < 1 / _UNLIKE) | (small > _UNLIKE)).sum())
    numbers = {"not_rising": down, "unlike": odd, "n": n, "median_ratio": float(small.median().clamp(-1e30, 1e30))}
    text = (
        f"a step of {_STEPS[_SMALL]:g} eps along the gradient raises the margin of {n - down} of {n} right images; the "
        f"rise is {numbers['median_ratio']:.2g} times what the gradient says, and beyond a factor of {_UNLIKE:g} off "
        f"on {odd}"
    )
    expected = "it rises on nearly every image, by 0.5 to 2 times what the gradient says"
    advice = "the gradient does not lead uphill: attack with estimated gradients or square, and look for what breaks it"
    stuck, unlike = exceeds(down, n, 0.1), exceeds(odd, n, 0.2)
    found: Found = "masked" if down > 0.5 * n and stuck else "suspicious" if stuck or unlike else "passed"
    curve = {"shares": list(_STEPS), "along": along, "across": across}
    return Check("loss along the gradient", found, text, expected, "" if found == "passed" else advice, numbers), curve


def median_margin(logits: Tensor, y: Tensor) -> float:
    """Median distance of the label's logit from the next: (n, C), (n,)."""
    return float(losses.margin(logits, y).abs().median())
