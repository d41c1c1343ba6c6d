"""One audit, from the first call of the network to its verdict."""

import copy

from torch import Tensor, nn

from advdpnp.attacks import APGDCE, APGDT, FABT, FGSM, PGD, CarliniWagner, Square
from advdpnp.auditing.comparisons import Comparison
from advdpnp.auditing.findings import Audit, Check, overall
from advdpnp.auditing.function_checks import function_checks, replayed
from advdpnp.auditing.gradient_checks import gradient_checks, median_margin
from advdpnp.auditing.rounds import Rounds
from advdpnp.auditing.significance import exceeds
from advdpnp.auditing.stand_ins import Estimated, Rescaled, Smoothed
from advdpnp.auditing.subject import Subject
from advdpnp.callbacks import EvaluationCallback, Silent
from advdpnp.threat import Ball, ThreatModel, eps_text

IMAGES = 200


def run_audit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: Ball = "linf",
    seed: int = 0,
    callback: EvaluationCallback | None = None,
) -> Audit:
    """Look for signs that a network's gradients are masked.

    Args:
        model: in eval mode, x (B, channels, H, W) in [0, 1] -> logits (B, C).
        x: (n, channels, H, W) in [0, 1].
        y: (n,) int64.
        eps: radius in the units of the norm.
        norm: "linf" or "l2".
        seed: of all random numbers.
        callback: told of each attack.
    """
    subject = Subject(model, x, y, norm, eps, seed)
    protocol = {"norm": norm, "eps": eps_text(eps), "seed": seed, "n": len(x)}
    around = ThreatModel(norm, eps).start(x, subject.noise(stream=11))
    checks = function_checks(model, x, y, around)
    if overall(checks) == "refused":
        return _ended(checks, {}, {}, protocol)
    twin = _twin(model)
    found, curve = gradient_checks(subject, around)
    checks += found
    if overall(checks) == "refused":
        return _ended(checks, _accuracy(subject), {"along": curve}, protocol)
    rounds = Rounds(subject, callback or Silent(), subject.right.clone())
    checks += _attack_checks(rounds)
    swept, sweep = _sweep(rounds)
    checks.append(swept)
    checks.append(replayed(subject, twin, *rounds.seen()))
    numbers = _accuracy(subject) | {
        "claimed": _share(rounds.alone["PGD-20"]),
        "scale_free": _share(rounds.alone["white box"]),
        "lowest": _share(rounds.standing),
    }
    return _ended(checks, numbers, {"along": curve, "eps": sweep}, protocol)


def _twin(model: nn.Module) -> nn.Module | None:
    try:
        return copy.deepcopy(model)
    except Exception:  # of an unknown network
        return None


def _share(held: Tensor) -> float:
    return float(held.double().mean())


def _accuracy(subject: Subject) -> dict[str, float]:
    return {"clean": _share(subject.right)}


def _attack_checks(rounds: Rounds) -> list[Check]:
    subject = rounds.subject
    norm, eps, right = subject.norm, subject.eps, subject.right
    ball = {"norm": norm, "eps": eps}
    claimed = rounds.run("PGD-20", PGD(**ball), right)
    checks = []
    noisy = _noise(rounds, claimed)
    checks.append(
        Comparison("random noise", "PGD-20", "random noise", 0.01, "gradients mislead: use square and cw").check(
            claimed, noisy
        )
    )
    single = rounds.run("FGSM", FGSM(**ball), claimed)
    checks.append(
        Comparison(
            "single step", "PGD-20", "FGSM", 0.03, "an iterated attack that is weaker than its first step is misled"
        ).check(claimed, single)
    )
    more = rounds.run("PGD-100", PGD(**ball, steps=100), claimed, stream=1)
    checks.append(
        Comparison(
            "more steps", "PGD-20", "PGD-100", 0.05, "give the attack more steps, until the number stands"
        ).check(claimed, more)
    )
    again = rounds.run("restarts", PGD(**ball, restarts=5), claimed, stream=2)
    checks.append(
        Comparison("more restarts", "PGD-20", "5 restarts of it", 0.05, "give the attack more restarts").check(
            claimed, again
        )
    )
    scale = median_margin(subject.clean[right], subject.y[right])
    rescaled = claimed
    if scale > 0:
        network = Rescaled(subject.model, 3 / scale)
        rescaled = rounds.run("rescaled PGD-20", PGD(**ball), claimed, network)
    advice = "the cross-entropy of these logits misleads: trust scale-free attacks, and never quote PGD or FGSM"
    checks.append(
        Comparison("logit scale", "PGD-20", "PGD-20 on logits scaled to a margin of 3", 0.05, advice).check(
            claimed, rescaled
        )
    )
    free = rounds.run(
        "margin PGD", CarliniWagner(**ball, steps=20, step_size=2.5 * eps / 20, random_start=True), claimed
    )
    checks.append(Comparison("scale-free loss", "PGD-20", "PGD-20 on the margin", 0.08, advice).check(claimed, free))
    chain = claimed & more & again & free & single
    chain = rounds.run("APGD-CE", APGDCE(**ball, steps=50), chain)
    chain = rounds.run("APGD-T", APGDT(**ball, steps=50, targets=3), chain)
    white = rounds.alone["white box"] = chain
    checks.append(
        Comparison("stronger white box", "PGD-20", "APGD, margins, steps and restarts", 0.12, advice).check(
            claimed, white
        )
    )
    boundary = rounds.run("FAB-T", FABT(**ball, steps=40, targets=3), white)
    advice = "ascents on a loss are stuck, steps to the boundary are not: trust fab-t, square and min-eps"
    checks.append(Comparison("boundary attack", "the white box", "FAB-T", 0.02, advice).check(white, boundary))
    black = rounds.run("Square", Square(**ball, steps=1000), white)
    advice = "an attack without gradients is stronger than those with: they are masked"
    checks.append(Comparison("black box", "the white box", "Square", 0.02, advice).check(white, black))
    smooth = rounds.run(
        "smoothed",
        CarliniWagner(**ball, steps=15, step_size=2.5 * eps / 15),
        white & boundary & black,
        Smoothed(subject.model, _sigma(subject), 8, subject.seed),
    )
    left = white & boundary & black
    checks.append(
        Comparison("smoothed gradients", "the white box", "margin PGD on smoothed gradients", 0.02, advice).check(
            left, smooth
        )
    )
    left = left & smooth
    guess = rounds.run(
        "estimated",
        CarliniWagner(**ball, steps=15, step_size=2.5 * eps / 15),
        left,
        Estimated(subject.model, _sigma(subject), 24, subject.seed),
    )
    checks.append(
        Comparison("estimated gradients", "the white box", "margin PGD on estimated gradients", 0.02, advice).check(
            left, guess
        )
    )
    return checks


def _sigma(subject: Subject) -> float:
    """A quarter of the radius, as a change of each pixel."""
    pixels = subject.x[0].numel()
    return subject.eps / 4 if subject.norm == "linf" else subject.eps / 4 / pixels**0.5


def _noise(rounds: Rounds, on: Tensor) -> Tensor:
    """What is left of 20 random points of the ball, half of them at its corners."""
    subject, held = rounds.subject, on

    def points(number: int, rows: Tensor) -> Tensor:
        noise, shape = subject.noise(rows, 200 + number), tuple(subject.x.shape[1:])
        if number % 2:
            return subject.ball.start(subject.x[rows], noise)
        signs = (noise.uniform("corner", shape) - 0.5).sign()
        return subject.ball.project(subject.x[rows] + subject.eps * subject.ball.step(signs), subject.x[rows])

    for number in range(20):
        held = rounds.try_points("random noise", held, lambda rows, number=number: points(number, rows))  # type: ignore[misc]
    return held


def _sweep(rounds: Rounds) -> tuple[Check, dict[str, list[float]]]:
    """Robust accuracy against eps, up to the whole range of images."""
    subject = rounds.subject
    widest = 1.0 if subject.norm == "linf" else subject.x[0].numel() ** 0.5
    radii = [subject.eps * factor for factor in (0.25, 0.5, 1, 1.5, 2, 3, 4, 8) if subject.eps * factor < widest]
    found = []
    for radius in [*radii, widest]:
        attack = CarliniWagner(eps=radius, norm=subject.norm, steps=20, step_size=2.5 * radius / 20, random_start=True)
        before = rounds.standing.clone()
        held = rounds.run("eps", attack, subject.right)
        rounds.standing = before
        found.append(_share(held))
    n, left = subject.n, round(found[-1] * subject.n)
    text = f"with the whole range of images as radius, {left} of {n} images stand under PGD-20 on the margin"
    expected = "none: any image can then be made any other"
    numbers = {"left": left, "n": n}
    curve = {"eps": [0.0, *radii, widest], "accuracy": [_share(subject.right), *found]}
    verdict = "masked" if left > 0.5 * n else "suspicious" if exceeds(left, n, 0.1) else "passed"
    advice = "" if verdict == "passed" else "the attack is stuck where no network can be right: its gradients mislead"
    return Check("larger eps", verdict, text, expected, advice, numbers), curve  # type: ignore[arg-type]


def _ended(checks: list[Check], numbers: dict[str, float], curves: dict, protocol: dict) -> Audit:  # type: ignore[type-arg]
    verdict = overall(checks)
    return Audit(verdict, _conclusion(verdict, checks, numbers), tuple(checks), dict(numbers), curves, protocol)


def _conclusion(verdict: str, checks: list[Check], numbers: dict[str, float]) -> str:
    signs = ", ".join(check.name for check in checks if check.verdict == verdict)
    if verdict == "refused":
        return f"no number of this network means anything yet ({signs})"
    said = f"PGD-20 leaves {numbers['claimed']:.1%}, all attacks together {numbers['lowest']:.1%}"
    if verdict == "no sign of masking":
        return f"{said}; every check came out as for an honest network"
    lost = numbers["lowest"] < 0.5 * numbers["claimed"]
    if lost:
        return f"the robustness vanishes under other attacks: {said} ({signs})"
    return f"the number of PGD-20 cannot be believed by itself: {said} ({signs})"
