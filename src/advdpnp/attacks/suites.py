"""Named evaluation protocols: which attacks, with which budgets."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from advdpnp.attacks.adaptive import AdaptivePGD
from advdpnp.attacks.attack import Attack
from advdpnp.attacks.autoattack import AutoAttack, AutoAttackPlus, QuickAutoAttack
from advdpnp.attacks.min_eps import MinEps
from advdpnp.attacks.pgd import FGSM, PGD, CarliniWagner
from advdpnp.attacks.slide import SLIDE
from advdpnp.ranges import Count, Natural, NonNegative, check, check_fields, nearest
from advdpnp.threat import Norm, check_level


@dataclass(frozen=True)
class Suite:
    """A protocol.

    Args:
        name: what the result file is called.
        description: one line.
        attacks: in the order in which they run.
        features: index of the attack whose images the geometry metrics see; None for no geometry.
        corruptions: whether accuracy under common corruptions is measured too.
    """

    name: str
    description: str
    attacks: tuple[Attack, ...]
    features: Natural | None
    corruptions: bool = False

    def __post_init__(self) -> None:
        check_fields(self)


def l2_radius(eps: float, pixels: int) -> float:
    """The l2 radius that goes with an linf radius: eps sqrt(pixels / 12), to the next 1/255.

    At 3x32x32 that is 16 eps, the paper's pair 8/255 and 128/255; on smaller images it shrinks with their diameter.
    """
    return round(255 * eps * math.sqrt(pixels / 12)) / 255


def l1_radius(eps: float, pixels: int) -> float:
    """The l1 radius that goes with an linf radius, to the next 1/255: the paper's pair 8/255 and 2000/255 at 3x32x32.

    On smaller images it shrinks with their diameter in l1, which is the number of pixels.
    """
    return round(255 * eps * 250 * pixels / 3072) / 255


def _quick(eps: float, pixels: int, norm: Norm) -> Suite:
    if norm == "l1":
        text = "PGD-100 and SLIDE-100: the usual attack in l1, which is weak, and a strong one"
        return Suite("quick", text, (PGD(eps=eps, norm=norm), SLIDE(eps=eps)), features=0)
    attacks: list[Attack] = [
        FGSM(eps=eps, norm=norm),
        PGD(eps=eps, norm=norm, steps=20),
        CarliniWagner(eps=eps, norm=norm),
    ]
    if norm == "linf":
        attacks.insert(2, PGD(eps=l2_radius(eps, pixels), norm="l2", steps=20))
    return Suite("quick", "FGSM, PGD-20 in linf and l2, C&W-30", tuple(attacks), features=1)


def _text(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = (FGSM(eps=eps, norm=norm), PGD(eps=eps, norm=norm, steps=20))
    description = "FGSM and PGD-20 with the settings in the text of the Adv-DPNP paper: step 2.5 eps / 20, random start"
    return Suite("text", description, attacks, features=1)


def _fsr(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = (
        FGSM(eps=eps, norm=norm),
        PGD(eps=eps, norm=norm, steps=20, step_size=0.1 * eps, random_start=False),
        PGD(eps=eps, norm=norm, steps=100, step_size=0.1 * eps, random_start=False),
        CarliniWagner(eps=eps, norm=norm),
    )
    return Suite(
        "fsr",
        "Adv-DPNP's Table 2, with the settings in the code of FSR (Kim et al. 2023): FGSM, PGD-20, PGD-100 and C&W-30, "
        "step eps / 10, no random start; the worst case over them is the table's Ensemble",
        attacks,
        features=1,
    )


def _clean(eps: float, pixels: int, norm: Norm) -> Suite:
    return Suite("clean", "no attack", (), features=None)


def _pgd20(eps: float, pixels: int, norm: Norm) -> Suite:
    return Suite("pgd20", "PGD-20 alone", (PGD(eps=eps, norm=norm, steps=20),), features=0)


def _demo(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = (FGSM(eps=eps, norm=norm), PGD(eps=eps, norm=norm, steps=40), CarliniWagner(eps=eps, norm=norm))
    return Suite("demo", "FGSM, PGD-40, C&W-30", attacks, features=1)


def _curve(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = tuple(PGD(eps=eps * k / 4, norm=norm, steps=20) for k in range(1, 9))
    return Suite("curve", "PGD-20 at 1/4 to 2 times eps", attacks, features=3)


def _autoattack(eps: float, pixels: int, norm: Norm) -> Suite:
    text = "standard AutoAttack: APGD-CE, APGD-T, FAB-T, Square"
    return Suite("autoattack", text, (AutoAttack(eps=eps, norm=norm),), features=None)


def _autoattack_quick(eps: float, pixels: int, norm: Norm) -> Suite:
    text = "a first look, not AutoAttack: APGD-CE and APGD-T of 50 steps, Square of 250 queries"
    return Suite("autoattack-quick", text, (QuickAutoAttack(eps=eps, norm=norm),), features=None)


def _autoattack_plus(eps: float, pixels: int, norm: Norm) -> Suite:
    text = "one tier above AutoAttack: AutoAttack, then margins, APGD and Square again on what it leaves; both numbers"
    return Suite("autoattack-plus", text, (AutoAttackPlus(eps=eps, norm=norm),), features=None)


def _min_eps(eps: float, pixels: int, norm: Norm) -> Suite:
    text = "the smallest eps that breaks each image, up to 4 times the usual one: FAB, then bisection over APGD"
    return Suite("min-eps", text, (MinEps(eps=min(4 * eps, widest(pixels, norm)), norm=norm),), features=None)


def widest(pixels: int, norm: str) -> float:
    """The radius at which every image is in reach of every other."""
    return {"linf": 1.0, "l2": math.sqrt(pixels), "l1": float(pixels)}[norm]


def _corruptions(eps: float, pixels: int, norm: Norm) -> Suite:
    text = "no attack, but 19 common corruptions at 5 severities: CIFAR-10-C where it is there, else generated"
    return Suite("corruptions", text, (), features=None, corruptions=True)


def _norms(eps: float, pixels: int, norm: Norm) -> Suite:
    text = "PGD in the norms of Adv-DPNP's Table 1: step eps / 8, in l1 eps / 40 and 100 steps, with SLIDE beside it"
    if norm == "l1":
        return Suite("norms", text, _in_l1(eps), features=None)
    attacks: tuple[Attack, ...] = (PGD(eps=eps, norm=norm, steps=20, step_size=eps / 8),)
    if norm == "linf":
        wide = l2_radius(eps, pixels)
        attacks += (PGD(eps=wide, norm="l2", steps=20, step_size=wide / 8), *_in_l1(l1_radius(eps, pixels)))
    return Suite("norms", text, attacks, features=None)


def _in_l1(eps: float) -> tuple[Attack, ...]:
    """The paper's attack in l1, which is weak, and a strong one."""
    return PGD(eps=eps, norm="l1", steps=100, step_size=eps / 40), SLIDE(eps=eps)


def _small_eps(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = tuple(_pgd_of_figure_4(share * eps, norm) for share in (0.25, 0.5, 0.75))
    return Suite("small-eps", "PGD-20 at 1/4, 1/2 and 3/4 eps, step 2.5 eps / 20", attacks, features=None)


def _steps(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = tuple(PGD(eps=eps, norm=norm, steps=count, step_size=eps / 8) for count in (20, 40, 100, 250, 500))
    return Suite("steps", "PGD of 20, 40, 100, 250 and 500 iterations, step eps / 8", attacks, features=None)


def _restarts(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = tuple(PGD(eps=eps, norm=norm, steps=40, step_size=eps / 16, restarts=count) for count in (1, 5, 10, 20))
    return Suite("restarts", "PGD-40 with 1, 5, 10 and 20 random starts, step eps / 16", attacks, features=None)


def _objective(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = (
        PGD(eps=eps, norm=norm, steps=20, step_size=eps / 8),
        AdaptivePGD(eps=eps, norm=norm, steps=20, step_size=eps / 8),
    )
    text = "PGD-20 on the cross-entropy, and on the objective that the network was trained with; step eps / 8"
    return Suite("objective", text, attacks, features=None)


def _curve_pgd(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = tuple(_pgd_of_figure_4(radius, norm) for radius in _wide_radii(eps, pixels, norm))
    return Suite("curve-pgd", "PGD-20 at 1/4 to 8 times eps, step 2.5 eps / 20", attacks, features=None)


def _curve_fgsm(eps: float, pixels: int, norm: Norm) -> Suite:
    attacks = tuple(FGSM(eps=radius, norm=norm) for radius in _wide_radii(eps, pixels, norm))
    return Suite("curve-fgsm", "FGSM at 1/4 to 8 times eps", attacks, features=None)


def _pgd_of_figure_4(eps: float, norm: Norm) -> PGD:
    return PGD(eps=eps, norm=norm, steps=20, step_size=2.5 * eps / 20)


def _wide_radii(eps: float, pixels: int, norm: Norm) -> list[float]:
    """From 1/4 to 8 times eps, up to the radius at which all images are in reach."""
    multiples = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8)
    return [eps * times for times in multiples if eps * times <= widest(pixels, norm)]


_SUITES: dict[str, Callable[[float, int, Norm], Suite]] = {
    "clean": _clean,
    "quick": _quick,
    "text": _text,
    "fsr": _fsr,
    "pgd20": _pgd20,
    "demo": _demo,
    "curve": _curve,
    "autoattack": _autoattack,
    "autoattack-quick": _autoattack_quick,
    "autoattack-plus": _autoattack_plus,
    "min-eps": _min_eps,
    "corruptions": _corruptions,
    "norms": _norms,
    "small-eps": _small_eps,
    "steps": _steps,
    "restarts": _restarts,
    "objective": _objective,
    "curve-pgd": _curve_pgd,
    "curve-fgsm": _curve_fgsm,
}


def suite_names() -> list[str]:
    """Names that `suite` knows."""
    return list(_SUITES)


def suite(name: str, eps: float, pixels: int = 3 * 32 * 32, norm: Norm = "linf") -> Suite:
    """A protocol by name.

    Args:
        name: one of `suite_names()`.
        eps: radius in the units of the norm; in linf the data set's usual one.
        pixels: values of one image, channels x H x W, from which the l2 radius of suite quick in linf follows.
        norm: "linf", or "l2" or "l1" for a suite of the same attacks there, called <name>-l2 or <name>-l1; but quick in
            l1 is PGD-100 and SLIDE.
    Raises:
        ValueError: unknown name; the nearest ones are listed. Another norm; a radius or a number of pixels that makes
            no sense.
    """
    check_suite_norm(norm)
    check("eps", eps, NonNegative)
    check_level(norm, eps)
    check("pixels", pixels, Count)
    if name not in _SUITES:
        raise ValueError(f"unknown suite {name!r}; nearest: {nearest(name, _SUITES)}")
    found = _SUITES[name](eps, pixels, norm)
    return found if norm == "linf" or not found.attacks else replace(found, name=f"{name}-{norm}")


def check_suite_norm(norm: str) -> None:
    """Raise ValueError unless suites are in this norm."""
    check("norm", norm, Norm)
