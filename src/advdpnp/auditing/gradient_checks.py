"""Are the gradients those of the function, and is there something to follow?"""

import torch
from torch import Tensor, nn

from advdpnp import losses
from advdpnp.auditing.findings import Check
from advdpnp.auditing.function_checks import in_float64
from advdpnp.auditing.significance import exceeds
from advdpnp.auditing.subject import Subject
from advdpnp.losses import cross_entropy, margin

# Shares of images that honest networks may show.
_ODD = 0.05
_STEPS = (0.01, 0.03, 0.1, 0.3, 1.0)
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
    checks += [_vanishing(subject, lead, gradient), _saturated(saturating)]
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
    found = "suspicious" if exceeds(bad, n, 0.001) else "passed"
    return Check("finite gradients", found, text, expected, advice if bad else "", {"count": bad, "n": n})  # type: ignore[arg-type]


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
    found = "masked" if far > 0.5 * n else "suspicious" if exceeds(far, n, 0.02) else "passed"
    return Check("vanishing gradients", found, text, expected, "" if found == "passed" else advice, numbers)  # type: ignore[arg-type]


def _saturated(saturating: Tensor) -> Check:
    flat = saturating.flatten(1)
    zero, n = int((flat == 0).all(dim=1).sum()), len(flat)
    text = f"the cross-entropy has no gradient at all at {zero} of {n} points"
    expected = "a gradient everywhere, however small"
    advice = "no number of FGSM, PGD or APGD-CE can be believed: trust scale-free attacks (cw, apgd-t, fab-t, square)"
    found = "suspicious" if exceeds(zero, n, 0.05) else "passed"
    return Check("saturated loss", found, text, expected, "" if found == "passed" else advice, {"zero": zero, "n": n})  # type: ignore[arg-type]


def _differences(subject: Subject, around: Tensor, y: Tensor) -> Check:
    """Derivatives of random combinations of logits along random directions, against finite differences."""
    expected = "the derivative that autograd gives is the slope of the function"
    twin = in_float64(subject.model, around)
    if twin is None:
        return Check("finite differences", "not measured", "the network does not compute in float64", expected)
    x = around.double() * 0.98 + 0.01
    weights = 2 * subject.noise(stream=101).uniform("weights", (subject.classes,))[: len(x)].double() - 1
    direction = 2 * subject.noise(stream=102).uniform("direction", tuple(x.shape[1:]))[: len(x)].double() - 1
    slope, numeric = _slopes(twin, x, weights, direction)
    scale = torch.maximum(slope.abs(), numeric.abs())
    informative = scale > 1e-9 * scale.amax().clamp_min(1e-300)
    wrong = informative & ((slope - numeric).abs() > 0.05 * scale)
    count, n = int(wrong.sum()), len(x)
    numbers = {"wrong": count, "n": n, "flat": int((~informative).sum())}
    if count:
        ratio = float((slope[wrong] / numeric[wrong].abs().clamp_min(1e-30) * numeric[wrong].sign()).median())
        numbers["ratio"] = max(-1e30, min(1e30, ratio))
    text = f"at {count} of {n} points the derivative differs from finite differences in float64 by more than 5 %"
    advice = (
        "straight-through rounding, a detached part or a custom backward: attacks follow another function; attack it "
        "with estimated gradients or square"
    )
    found = "suspicious" if exceeds(count, n, _ODD) else "passed"
    return Check("finite differences", found, text, expected, "" if found == "passed" else advice, numbers)  # type: ignore[arg-type]


def _slopes(twin: nn.Module, x: Tensor, weights: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) by autograd, and (n,) by a central difference of 1e-6."""
    probe = x.clone().requires_grad_()
    with torch.enable_grad():
        total = (twin(probe) * weights).sum()
    (gradient,) = torch.autograd.grad(total, probe)
    slope = (gradient * direction).flatten(1).sum(dim=1)
    with torch.no_grad():
        up, down = ((twin(x + sign * 1e-6 * direction) * weights).sum(dim=1) for sign in (1, -1))
    return slope, (up - down) / 2e-6


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
    small = ratios[2]
    down, n = int((small <= 0.05).sum()), len(rows)
    numbers = {"not_rising": down, "n": n, "median_ratio": float(small.median().clamp(-1e30, 1e30))}
    text = (
        f"a step of {_STEPS[2]:g} eps along the gradient raises the margin of {n - down} of {n} right images; the rise "
        f"is {numbers['median_ratio']:.2g} times what the gradient says"
    )
    expected = "it rises on nearly every image, by 0.5 to 2 times what the gradient says"
    advice = "the gradient does not lead uphill: attack with estimated gradients or square, and look for what breaks it"
    found = (
        "masked" if down > 0.5 * n and exceeds(down, n, 0.1) else "suspicious" if exceeds(down, n, 0.1) else "passed"
    )
    curve = {"shares": list(_STEPS), "along": along, "across": across}
    return Check("loss along the gradient", found, text, expected, "" if found == "passed" else advice, numbers), curve  # type: ignore[arg-type]


def median_margin(logits: Tensor, y: Tensor) -> float:
    """Median distance of the label's logit from the next: (n, C), (n,)."""
    return float(losses.margin(logits, y).abs().median())
