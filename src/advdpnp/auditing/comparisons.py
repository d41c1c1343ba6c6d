"""Checks that set one attack against another on the same images."""

from dataclasses import dataclass

from torch import Tensor

from advdpnp.auditing.findings import Check, Found
from advdpnp.metrics.significance import at_least, exceeds, tells


@dataclass(frozen=True)
class Comparison:
    """A pair of attacks: the second should break few of the images that the first leaves standing.

    Args:
        name: of the check.
        first, second: the attacks in words.
        honest: the share of all images that the second may break on honest networks.
        advice: what to do where it breaks more.
        worst: the worst that it says.
    """

    name: str
    first: str
    second: str
    honest: float
    advice: str
    worst: Found = "masked"

    def check(self, left: Tensor, then: Tensor) -> Check:
        """What is found.

        Args:
            left: (n,) bool, the images that the first attack leaves standing.
            then: (n,) bool, those of them that the second leaves, too.
        """
        n, before, after = len(left), int(left.sum()), int((left & then).sum())
        broken = before - after
        numbers = {"n": n, "left": before, "broken": broken}
        expected = f"at most {self.honest:.0%} of all images"
        if before == 0:
            return Check(self.name, "passed", f"{self.first} leaves none of {n} images standing", expected, "", numbers)
        if not tells(n, self.honest) or (broken and not exceeds(before, n, self.honest)):
            text = f"{self.second}: {broken} of {before} images that {self.first} leaves standing: too few to tell"
            return Check(self.name, "not measured", text, expected, "give more images", numbers)
        text = f"{self.second} breaks {broken} of {before} images that {self.first} leaves standing (n = {n})"
        if not exceeds(broken, n, self.honest):
            return Check(self.name, "passed", text, expected, "", numbers)
        text += f": {broken / n:.0%} of all, at least {at_least(broken, n):.0%} with 99 % confidence"
        much = broken >= 0.5 * before or at_least(broken, n) > self.honest + 0.1
        found: Found = self.worst if much else "suspicious"
        return Check(self.name, found, text, expected, self.advice, numbers)
