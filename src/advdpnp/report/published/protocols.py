"""The attacks of the paper's tables, as far as it states them, and which stored attacks are the same."""

from __future__ import annotations

from math import isclose
from typing import NamedTuple

from advdpnp.ranges import parse_eps
from advdpnp.results import AttackKey

# Settings of an attack that are the paper's where a row has them: the margin's confidence, PGD's ascent in l1, and what
# the adaptive attack of Table 8 climbs.
_USUAL = {"objective": ("adv-dpnp",), "kappa": (50, 50.0), "version": ("standard",), "ascent": ("coordinate",)}


class Protocol(NamedTuple):
    """What the paper says of an attack.

    Args:
        name, norm, eps: of the attack, as stored.
        steps: None where it is not a number of steps.
        step_sizes: those that fit what is printed, as stored; none where the attack sets its own. Table 2 prints no
            step: 1/255 of the text and 0.8/255 of the code that it follows both fit.
        restarts: random starts, of which the worst counts.
    """

    name: str
    norm: str
    eps: str
    steps: int | None
    step_sizes: tuple[str, ...] = ()
    restarts: int = 1

    def fits(self, key: AttackKey) -> bool:
        """Whether a stored attack is this one in everything that the paper states: restarts, step and kappa too."""
        if (key.name, key.norm, key.eps, key.steps) != (self.name, self.norm, self.eps, self.steps):
            return False
        settings = all(value in _USUAL.get(name, ()) for name, value in key.settings)
        return self._fits_step(key.step_size) and key.restarts == self.restarts and settings

    def _fits_step(self, step_size: str | None) -> bool:
        if not self.step_sizes or step_size is None:
            return not self.step_sizes
        return any(isclose(parse_eps(step_size), parse_eps(printed), rel_tol=1e-6) for printed in self.step_sizes)


def linf_pgd(steps: int, *step_sizes: str, eps: str = "8/255", restarts: int = 1) -> Protocol:
    """PGD in linf, as nearly all of the paper's attacks."""
    return Protocol("pgd", "linf", eps, steps, step_sizes, restarts)


FGSM = Protocol("fgsm", "linf", "8/255", 1)
PGD20 = linf_pgd(20, "1/255")
L1 = Protocol("pgd", "l1", "2000/255", 100, ("50/255",))
L2 = Protocol("pgd", "l2", "128/255", 20, ("16/255",))
AUTOATTACK = Protocol("autoattack", "linf", "8/255", None)
# Of Table 2, which prints no step.
SHARED_PGD20 = linf_pgd(20, "1/255", "0.8/255")
SHARED_PGD100 = linf_pgd(100, "1/255", "0.8/255")
CW = Protocol("cw", "linf", "8/255", 30, ("1/255", "0.8/255"))
ENSEMBLE = (FGSM, SHARED_PGD20, SHARED_PGD100, CW)
# Of Figure 2, on MNIST.
FIGURE_2 = linf_pgd(40, "0.01", eps="0.3")
