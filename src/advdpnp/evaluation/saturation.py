"""Networks whose logits saturate: they are attacked on a scale-free loss too, and their results say so."""

from dataclasses import replace

from torch import nn

from advdpnp.attacks import APGDDLR, Attack, CarliniWagner, Suite
from advdpnp.attacks.attack import is_scale_free
from advdpnp.models.classifier import logits_saturate
from advdpnp.runs import Json

ADDED = "added, since the logits of this network saturate and the suite has no scale-free attack"


def added_attacks(suite: Suite, model: nn.Module) -> tuple[Attack, ...]:
    """What a suite lacks for this network: C&W in each ball and at each target class, if no attack is scale-free.

    In l1, where C&W moves single pixels and is weak, APGD on the DLR.
    """
    if not logits_saturate(model) or any(map(is_scale_free, suite.attacks)):
        return ()
    goals = dict.fromkeys((attack.norm, attack.eps, getattr(attack, "target", None)) for attack in suite.attacks)
    kinds = {norm: APGDDLR if norm == "l1" else CarliniWagner for norm, _, _ in goals}
    return tuple(kinds[norm](eps=eps, norm=norm, target=target) for norm, eps, target in goals)


def with_added_attacks(suite: Suite, model: nn.Module) -> Suite:
    """The suite as this network needs it; the attacks that are added come last."""
    return replace(suite, attacks=suite.attacks + added_attacks(suite, model))


def saturation_warnings(suite: Suite, model: nn.Module) -> list[str]:
    """What a result says of a network whose logits saturate; nothing where none was attacked on them.

    Args:
        suite: with the attacks that were added.
        model: the network.
    """
    if not logits_saturate(model) or not suite.attacks:
        return []
    trusted = list(dict.fromkeys(attack.name for attack in suite.attacks if is_scale_free(attack)))
    cure = f"trust {', '.join(trusted)} more" if trusted else "no attack here is scale-free: try suite autoattack too"
    text = (
        "the logits of this network saturate, where the cross-entropy has no gradient: attacks on it, such as FGSM, PGD"
    )
    return [f"{text} and APGD-CE, can overstate the robustness; {cure}"]


def stated(result: Json, asked: Suite, suite: Suite, model: nn.Module) -> Json:
    """A result that says which of its attacks were added, and why.

    Args:
        result: content of eval/<suite>.json.
        asked: the suite that was asked for.
        suite: the one that was run, which begins like it.
        model: the network.
    """
    first = len(asked.attacks)
    added = [row | {"added": True, "notes": [*row.get("notes", []), ADDED]} for row in result["attacks"][first:]]
    warnings = saturation_warnings(suite, model)
    return result | {"attacks": result["attacks"][:first] + added} | ({"warnings": warnings} if warnings else {})
