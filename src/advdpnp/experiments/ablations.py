"""Named experiments: a defense with some fields changed, under a name of its own."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Ablation(NamedTuple):
    """A defense, one part of which is off or otherwise chosen.

    Args:
        defense: name of the defense.
        fields: those that differ from its defaults on the data set.
        description: one line.
    """

    defense: str
    fields: Mapping[str, Any]
    description: str


def _adv_dpnp(description: str, **fields: Any) -> Ablation:
    return Ablation("adv-dpnp", fields, description)


# By the name that stands in a defense's place. What follows the defense's own name becomes the tag of the run.
ABLATIONS: dict[str, Ablation] = {
    "adv-dpnp-literal": _adv_dpnp("Eq. 3 as printed: squared distances summed over coordinates", alignment="sum"),
    "adv-dpnp-no-dpp": _adv_dpnp("without positive alignment (DPP)", lambda_dpp=0.0),
    "adv-dpnp-no-dnp": _adv_dpnp("without negative repulsion (DNP)", lambda_dnp=0.0),
    "adv-dpnp-no-dfa": _adv_dpnp("without clean/adversarial consistency (DFA)", lambda_dfa=0.0),
    "adv-dpnp-no-dual": _adv_dpnp(
        "without the dual branch: adversarial images move the prototypes too", prototype_gradient="both"
    ),
    **{
        f"adv-dpnp-alpha-{alpha}": _adv_dpnp(f"prototypes on a sphere of radius {alpha}, not 40", alpha=float(alpha))
        for alpha in (10, 20, 80)
    },
    "adv-dpnp-renormalize-step": _adv_dpnp(
        "prototypes put back on the sphere after every step, not every epoch", renormalize="step"
    ),
    "adv-dpnp-kl-detached": _adv_dpnp("no gradient through the clean side of DFA", kl_target="detached"),
    "adv-dpnp-negative-detached": _adv_dpnp("no gradient through the nearest rival in DNP", negative="detached"),
    "adv-dpnp-rival-l-half": _adv_dpnp("nearest rival by the l_1/2 measure of Eq. 5, not by l2", rival="l_half"),
    **{
        f"adv-dpnp-dim-{width}": _adv_dpnp(
            f"embedding mapped linearly to {width} coordinates", embedding=f"linear({width})"
        )
        for width in (16, 64, 256)
    },
    "adv-dpnp-joint-forward": _adv_dpnp(
        "clean and adversarial images in one forward, with common BatchNorm statistics", forward="joint"
    ),
    "adv-dpnp-kl-attack": _adv_dpnp(
        "the attack of training maximizes the KL of DFA, not cross-entropy", inner_loss="kl"
    ),
}
