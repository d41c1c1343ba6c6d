"""One audit, from the first call of the network to its verdict."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from advdpnp.attacks.attack import Objective
from advdpnp.auditing.attack_checks import OTHER_NORM, PGD_NAME, WHITE_BOX, attack_checks, norm_check, sweep_check
from advdpnp.auditing.budget import forecast
from advdpnp.auditing.findings import Audit, Check, overall
from advdpnp.auditing.function_checks import failed, function_checks, replayed
from advdpnp.auditing.gradient_checks import gradient_checks
from advdpnp.auditing.rounds import Rounds
from advdpnp.auditing.subject import Subject
from advdpnp.callbacks import EvaluationCallback, Silent
from advdpnp.metrics.significance import exceeds, needed
from advdpnp.threat import Ball, ThreatModel, eps_text


def run_audit(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    norm: Ball = "linf",
    seed: int = 0,
    callback: EvaluationCallback | None = None,
    objective: Objective | None = None,
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
        objective: what the network was trained with, for the adaptive attack; None where it is not known.
    """
    subject = Subject(model, x, y, norm, eps, seed)
    protocol = {"norm": norm, "eps": eps_text(eps), "seed": seed, "n": len(x)}
    around = ThreatModel(norm, eps).start(x, subject.noise(stream=11))
    checks = function_checks(model, x, y, around)
    if overall(checks) == "refused":
        return _ended(checks, {}, {}, protocol)
    try:
        return _attacked(subject, around, checks, protocol, callback or Silent(), objective)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # an unknown network may raise anything, in its backward or on an image of an attack
        return _ended([*checks, failed("attack", error)], {}, {}, protocol)


def _attacked(
    subject: Subject,
    around: Tensor,
    checks: list[Check],
    protocol: dict[str, Any],
    callback: EvaluationCallback,
    objective: Objective | None,
) -> Audit:
    """The checks of its gradients, and those that attack it."""
    twin = _twin(subject.model)
    found, curve = gradient_checks(subject, around)
    checks = checks + found
    if overall(checks) == "refused":
        return _ended(checks, _accuracy(subject), {"along": curve}, protocol)
    rounds = Rounds(subject, callback, subject.right.clone())
    rounds.callback.on_forecast(forecast(subject))
    checks += attack_checks(rounds, objective)
    swept, sweep = sweep_check(rounds)
    checks += [swept, norm_check(rounds), replayed(subject, twin, *rounds.seen())]
    checks = weigh(checks, rounds)
    numbers = _accuracy(subject) | {
        "claimed": _share(rounds.alone[PGD_NAME]),
        "scale_free": _share(rounds.alone[WHITE_BOX]),
        "lowest": _share(rounds.standing),
    }
    return _ended(checks, numbers, {"along": curve, "eps": sweep, "attacks": rounds.curve()}, protocol)


def _twin(model: nn.Module) -> nn.Module | None:
    try:
        return copy.deepcopy(model)
    except Exception:  # of an unknown network
        return None


def _share(held: Tensor) -> float:
    return float(held.double().mean())


def _accuracy(subject: Subject) -> dict[str, float]:
    return {"clean": _share(subject.right)}


def weigh(checks: list[Check], rounds: Rounds) -> list[Check]:
    """What was found before the attacks, in the light of them.

    A gradient that vanishes masks where an attack is stronger than PGD; where none is and the loss still rises along
    the gradient, it is only a sign. A gradient that is not the function's, and logits next to equal, mask where
    anything is stronger than PGD. A cross-entropy without a gradient is only a sign where PGD finds what others find.
    """
    lost, n = int(rounds.alone[PGD_NAME].sum()) - int(rounds.standing.sum()), rounds.subject.n
    harmed = exceeds(lost, n, 0.06)
    uphill = any(check.name == "loss along the gradient" and check.verdict == "passed" for check in checks)

    def weighed(check: Check) -> Check:
        if check.name in ("finite differences", "confidence") and check.verdict == "suspicious" and harmed:
            return replace(check, verdict="masked")
        if check.name == "saturated loss" and check.verdict == "masked" and not exceeds(lost, n, 0.02):
            return replace(check, verdict="suspicious")
        if check.name == "vanishing gradients" and check.verdict == "masked" and uphill and not harmed:
            return replace(check, verdict="suspicious")
        return check

    return [weighed(check) for check in checks]


def _ended(checks: list[Check], numbers: dict[str, float], curves: dict[str, Any], protocol: dict[str, Any]) -> Audit:
    verdict = overall(checks)
    return Audit(
        verdict, concluded(verdict, checks, numbers, protocol["n"]), tuple(checks), dict(numbers), curves, protocol
    )


def concluded(verdict: str, checks: list[Check], numbers: dict[str, float], n: int) -> str:
    """The sentence behind the verdict: which number cannot be believed, or that the robustness is not there."""
    signs = ", ".join(check.name for check in checks if check.verdict == verdict)
    if "claimed" not in numbers:
        return f"no number of this network means anything yet ({signs})"
    claimed, free, lowest = numbers["claimed"], numbers["scale_free"], numbers["lowest"]
    said = f"PGD-20 leaves {claimed:.1%} of {n} images, all attacks together {lowest:.1%}"
    few = f"; {n} images show gaps of {needed(n, 0.06)} images or more alone" if n < 100 else ""
    if verdict == "refused":
        return f"no number of this network means anything yet ({signs})"
    if verdict == "no sign of masking":
        return f"{said}; every check came out as for an honest network{few}"
    if all(check.name.startswith(OTHER_NORM) for check in checks if check.verdict == verdict):
        other = next(check for check in checks if check.verdict == verdict)
        return f"{said}, as of an honest network. In the {other.name} PGD and APGD are misled: {other.measured}{few}"
    if claimed - lowest < 0.05:
        return f"no attack here lowers the number much, but there are signs that they are misled: {said} ({signs}){few}"
    if lowest < 0.25 * claimed:
        return f"the robustness vanishes under other attacks: {said} ({signs}){few}"
    if free - lowest < 0.02:
        return (
            f"the number of PGD-20 cannot be believed: {said}; scale-free and stronger white-box attacks leave "
            f"{free:.1%}, which nothing here lowers much ({signs}){few}"
        )
    return f"the numbers of gradient attacks cannot be believed: {said} ({signs}){few}"
