"""The attacks of an audit: each on the images that those before it leave standing."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from advdpnp.attacks import APGDCE, APGDT, FABT, FGSM, PGD, CarliniWagner, Square
from advdpnp.attacks.adaptive import AdaptivePGD
from advdpnp.attacks.attack import Objective
from advdpnp.attacks.suites import l2_radius, widest
from advdpnp.auditing.comparisons import WIDER, Comparison
from advdpnp.auditing.findings import Check, Found
from advdpnp.auditing.gradient_checks import median_margin
from advdpnp.auditing.rounds import Rounds
from advdpnp.auditing.stand_ins import Estimated, Rescaled, Smoothed
from advdpnp.auditing.subject import Subject
from advdpnp.auditing.substitute import imitation
from advdpnp.losses import cross_entropy
from advdpnp.metrics.significance import exceeds
from advdpnp.threat import Ball

PGD_NAME, WHITE_BOX, OTHER_NORM = "PGD-20", "white box", "other norm"
_NOISE_POINTS = 20
_UNSCALED = "the cross-entropy of these logits misleads: trust scale-free attacks, and do not quote FGSM or PGD"
_MASKED = "attacks without the network's own gradient are stronger than those with it: it is masked; quote the lowest"

_RANDOM = Comparison("random noise", PGD_NAME, "random noise", 0.01, "gradients mislead: attack with square and cw")
_SINGLE = Comparison("single step", PGD_NAME, "FGSM", 0.03, "an iteration weaker than its first step is led astray")
_MORE = Comparison("more steps", PGD_NAME, "PGD-100", 0.05, "give the attack more steps, until the number stands")
_AGAIN = Comparison("more restarts", PGD_NAME, "PGD-20 with 5 restarts", 0.05, "give the attack more restarts")
_SCALED = Comparison("logit scale", PGD_NAME, "PGD-20 on logits scaled to a margin of 3", 0.05, _UNSCALED)
_FREE = Comparison("scale-free loss", PGD_NAME, "PGD-20 on the margin", 0.05, _UNSCALED)
_ADAPTIVE = Comparison(
    "adaptive loss", PGD_NAME, "PGD-20 on the training objective", 0.05, "quote the adaptive attack beside PGD"
)
_STRONGER = Comparison(
    "stronger white box", PGD_NAME, "APGD-CE, APGD-T and the above together", 0.06, "quote AutoAttack, not PGD"
)
_LOSSES = Comparison(
    "other losses",
    "the cross-entropy (PGD-20 and 100, 5 restarts, APGD-CE)",
    "the margin (PGD-20, APGD-T) or a scaled cross-entropy",
    0.06,
    "do not quote PGD or APGD-CE alone: quote AutoAttack, and attack with cw",
    0.25,
)
_BOUNDARY = Comparison("boundary attack", "the white box", "FAB-T", 0.02, _MASKED)
_BLACK = Comparison("black box", "the white box", "Square (1,000 queries)", 0.02, _MASKED)
_TRANSFER = Comparison("transfer", "the white box", "margin PGD on an imitation", 0.02, _MASKED)
_SMOOTHED = Comparison("smoothed gradients", "the white box", "margin PGD on smoothed gradients", 0.02, _MASKED)
_ESTIMATED = Comparison("estimated gradients", "the white box", "margin PGD on estimated gradients", 0.02, _MASKED)


def attack_checks(rounds: Rounds, objective: Objective | None = None) -> list[Check]:
    """White box against white box, and what asks for no gradient of the network against the white box.

    Args:
        rounds: nothing is attacked yet.
        objective: the training objective, for the adaptive attack; None where it is not known.
    """
    claimed = rounds.run(PGD_NAME, PGD(**_ball(rounds.subject)), rounds.subject.right)
    checks = [_RANDOM.check(claimed, _noise(rounds, claimed)), *_white_box(rounds, claimed, objective)]
    return checks + _without_gradients(rounds)


def _ball(subject: Subject) -> dict[str, Any]:
    return {"norm": subject.norm, "eps": subject.eps}


def _margin_pgd(subject: Subject, steps: int, eps: float | None = None, start: bool = False) -> CarliniWagner:
    radius = subject.eps if eps is None else eps
    return CarliniWagner(eps=radius, norm=subject.norm, steps=steps, step_size=2.5 * radius / steps, random_start=start)


def _white_box(rounds: Rounds, claimed: Tensor, objective: Objective | None) -> list[Check]:
    subject, ball = rounds.subject, _ball(rounds.subject)
    single = rounds.run("FGSM", FGSM(**ball), claimed)
    wider = claimed & rounds.beyond("PGD-20 beyond", PGD(norm=subject.norm, eps=_beyond(subject)), claimed)
    more = rounds.run("PGD-100", PGD(**ball, steps=100), claimed, stream=1)
    again = rounds.run("5 restarts", PGD(**ball, restarts=5), claimed, stream=2)
    scale = median_margin(subject.clean[subject.right], subject.y[subject.right]) if subject.right.any() else 1.0
    network = Rescaled(subject.model, 3 / max(scale, 1e-30))
    rescaled = rounds.run("rescaled PGD-20", PGD(**ball), claimed, network)
    free = rounds.run("margin PGD-20", _margin_pgd(subject, 20, start=True), claimed)
    checks = [
        _one_line(rounds),
        _SINGLE.check(claimed, single),
        _MORE.check(claimed, more, wider),
        _AGAIN.check(claimed, again, wider),
        _SCALED.check(claimed, rescaled),
        _FREE.check(claimed, free),
        _adaptive(rounds, claimed, objective),
    ]
    cross = rounds.run("APGD-CE", APGDCE(**ball, steps=50), claimed & single & more & again)
    on = rounds.standing & cross
    left = rounds.run("APGD-T", APGDT(**ball, steps=50, targets=3), on)
    rounds.alone[WHITE_BOX] = left
    return [*checks, _LOSSES.check(cross, rescaled & free & (left | ~on)), _STRONGER.check(claimed, left, wider)]


def _beyond(subject: Subject) -> float:
    return min(WIDER * subject.eps, widest(subject.x[0].numel(), subject.norm))


def _one_line(rounds: Rounds) -> Check:
    """Do images stand at the end of the FGSM step that fall on the way? So do those of training with one step."""
    subject = rounds.subject
    rows = subject.right.nonzero().squeeze(1)
    x, y = subject.x[rows], subject.y[rows]
    expected = "an image that falls at a shorter step falls at the whole one, too, but for at most 3% of all"
    if not len(rows):
        return Check("one line", "not measured", "no image is right without an attack", expected)
    _, gradient = subject.gradient(x, y, cross_entropy)
    ends = [
        subject.holds((x + share * subject.eps * subject.ball.step(gradient)).clamp(0, 1), rows)
        for share in (0.25, 0.5, 0.75, 1.0)
    ]
    back, n = int((ends[-1] & ~torch.stack(ends[:-1]).all(dim=0)).sum()), subject.n
    text = f"{back} of {n} images fall on the way of the FGSM step, but stand at its end"
    found: Found = "suspicious" if exceeds(back, n, 0.03) else "passed"
    advice = "the network has overfitted to one step: no FGSM number means anything" if found != "passed" else ""
    return Check("one line", found, text, expected, advice, {"back": back, "n": n})


def _adaptive(rounds: Rounds, claimed: Tensor, objective: Objective | None) -> Check:
    if objective is None:
        text = "the network's training objective is not known here"
        advice = "audit a run of advdpnp, or give objective="
        return Check("adaptive loss", "not measured", text, "no stronger than PGD on the cross-entropy", advice)
    attack = AdaptivePGD(**_ball(rounds.subject), objective=objective)
    return _ADAPTIVE.check(claimed, rounds.run("adaptive PGD-20", attack, claimed, stream=3))


def _without_gradients(rounds: Rounds) -> list[Check]:
    """What does not follow the network's own gradient, on what the white box leaves standing."""
    subject, ball, white = rounds.subject, _ball(rounds.subject), rounds.alone[WHITE_BOX]
    sigma = _sigma(subject)
    boundary = rounds.run("FAB-T", FABT(**ball, steps=40, targets=3), white)
    black = rounds.run("Square", Square(**ball, steps=1000), white)
    copied = _transfer(rounds, white)
    left = white & boundary & black & copied
    smooth = rounds.run(
        "smoothed gradients", _margin_pgd(subject, 15), left, Smoothed(subject.model, sigma, 8, subject.seed)
    )
    guess = rounds.run(
        "estimated gradients",
        _margin_pgd(subject, 15),
        left & smooth,
        Estimated(subject.model, sigma, 24, subject.seed),
    )
    return [
        _BOUNDARY.check(white, boundary),
        _BLACK.check(white, black),
        _TRANSFER.check(white, copied),
        _SMOOTHED.check(left, smooth),
        _ESTIMATED.check(left & smooth, guess),
    ]


def _transfer(rounds: Rounds, on: Tensor) -> Tensor:
    if not on.any():
        return on
    return rounds.run("transfer", _margin_pgd(rounds.subject, 20), on, imitation(rounds.subject))


def _sigma(subject: Subject) -> float:
    """A quarter of the radius, as a change of each pixel."""
    pixels = subject.x[0].numel()
    return subject.eps / 4 if subject.norm == "linf" else subject.eps / 4 / pixels**0.5


def _noise(rounds: Rounds, on: Tensor) -> Tensor:
    """What is left of random points of the ball, every other one at a corner of it."""
    subject, held = rounds.subject, on

    def points(rows: Tensor, number: int) -> Tensor:
        noise, x = subject.noise(rows, 200 + number), subject.x[rows]
        if number % 2:
            return subject.ball.start(x, noise)
        signs = (noise.uniform("corner", tuple(x.shape[1:])) - 0.5).sign()
        return subject.ball.project(x + subject.eps * subject.ball.step(signs), x)

    for number in range(_NOISE_POINTS):
        held = rounds.try_points("random noise", held, lambda rows: points(rows, number), tell=number == 0)  # noqa: B023
    return held


def norm_check(rounds: Rounds) -> Check:
    """In the other norm: do FAB and Square break what PGD and APGD leave standing?"""
    first = rounds.subject
    norm, eps = _other_ball(first)
    subject = Subject(first.model, first.x, first.y, norm, eps, first.seed)
    other, ball = Rounds(subject, rounds.callback, subject.right.clone()), _ball(subject)
    left = other.run(f"{norm} PGD-20", PGD(**ball), subject.right)
    left = other.run(f"{norm} margin PGD-20", _margin_pgd(subject, 20, start=True), left)
    left = other.run(f"{norm} APGD-CE", APGDCE(**ball, steps=40), left)
    left = other.run(f"{norm} APGD-T", APGDT(**ball, steps=40, targets=2), left)
    rest = other.run(f"{norm} FAB-T", FABT(**ball, steps=40, targets=3), left)
    rest = other.run(f"{norm} Square", Square(**ball, steps=500), rest)
    advice = f"quote no PGD or APGD number in {norm} for this network: trust fab-t, square and min-eps there"
    found = Comparison(
        f"{OTHER_NORM} ({norm})", f"PGD and APGD in {norm} at {eps:.3g}", "FAB-T or Square", 0.03, advice
    ).check(left, rest)
    # The number that was asked for may be right all the same.
    return replace(found, verdict="suspicious") if found.verdict == "masked" else found


def _other_ball(subject: Subject) -> tuple[Ball, float]:
    """The other norm, and the radius there that goes with this one."""
    pixels = subject.x[0].numel()
    if subject.norm == "linf":
        return "l2", max(l2_radius(subject.eps, pixels), 1 / 255)
    return "linf", min(1.0, max(1 / 255, subject.eps / (pixels / 12) ** 0.5))


def sweep_check(rounds: Rounds) -> tuple[Check, dict[str, list[float]]]:
    """Robust accuracy against eps, up to the whole range of images; and the curve, for the figure."""
    subject = rounds.subject
    largest = widest(subject.x[0].numel(), subject.norm)
    radii = [subject.eps * factor for factor in (0.25, 0.5, 1, 1.5, 2, 3, 4, 8) if subject.eps * factor < largest]
    found = []
    for radius in [*radii, largest]:
        held = rounds.beyond(f"eps {radius:.3g}", _margin_pgd(subject, 20, radius, start=True), subject.right)
        found.append(float(held.double().mean()))
    n, left = subject.n, round(found[-1] * subject.n)
    text = f"with the whole range of images as radius, {left} of {n} images stand under PGD-20 on the margin"
    curve = {"eps": [0.0, *radii, largest], "accuracy": [float(subject.right.double().mean()), *found]}
    verdict: Found = "masked" if left > 0.5 * n else "suspicious" if exceeds(left, n, 0.1) else "passed"
    advice = "" if verdict == "passed" else "the attack is stuck where no network can be right: its gradients mislead"
    expected = "next to none: any image can then be made any other"
    return Check("larger eps", verdict, text, expected, advice, {"left": left, "n": n}), curve
