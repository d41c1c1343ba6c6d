"""Checks that set one attack against another on the same images."""

from dataclasses import dataclass

from torch import Tensor

from advdpnp.auditing.findings import Check, Found
from advdpnp.metrics.significance import at_least, exceeds, tells

# At so much of the radius an attack that is only a little weak finds what a stronger one finds at the radius itself.
WIDER = 1.25
# The share of all images that honest networks leave standing even so, under the weaker attack.
_ODD = 0.02
# Of few images that stand, a share says more than a share of all; below this share of all it is not looked at.
_LEAST = 0.05
# So much more than honest networks show, of all images, is no sign but an error of the number.
_MUCH = 0.1


@dataclass(frozen=True)
class Comparison:
    """A pair of attacks: the second should break few of the images that the first leaves standing.

    Args:
        name: of the check.
        first, second: the attacks in words.
        honest: the share of all images that the second may break on honest networks.
        advice: what to do where it breaks more.
        of_left: the share of what the first leaves standing that the second may break; 1 where that is not looked at.
    """

    name: str
    first: str
    second: str
    honest: float
    advice: str
    of_left: float = 1.0

    def check(self, left: Tensor, then: Tensor, wider: Tensor | None = None) -> Check:
        """What is found.

        Args:
            left: (n,) bool, the images that the first attack leaves standing.
            then: (n,) bool, those of them that the second leaves, too.
            wider: (n,) bool, those of `left` that the first leaves at `WIDER` times the radius, too. Where given, the
                second must break many of them: else the first is only a little weak, which is no masking.
        """
        n, before, after = len(left), int(left.sum()), int((left & then).sum())
        broken = before - after
        numbers = {"n": n, "left": before, "broken": broken}
        expected = self._expected(wider is not None)
        fallen = f"{broken} of {before} images that stand under {self.first} fall under {self.second}"
        if before == 0:
            return Check(self.name, "passed", f"none of {n} images stands under {self.first}", expected, "", numbers)
        many = exceeds(broken, n, self.honest)
        most = broken >= _LEAST * n and exceeds(broken, before, self.of_left)
        if not most and (not tells(n, self.honest) or (broken and not exceeds(before, n, self.honest))):
            text = f"{fallen}: too few to tell"
            return Check(self.name, "not measured", text, expected, "give more images", numbers)
        text = f"{fallen} (n = {n})"
        much = broken >= 0.5 * before or at_least(broken, n) > self.honest + _MUCH
        if wider is not None:
            odd = numbers["odd"] = int((wider & ~then).sum())
            text += f", {odd} of them although they stand under the first at {WIDER:g} times the radius"
            many = many and exceeds(odd, n, _ODD)
            much = much and odd >= broken / 3
        if not many and not most:
            return Check(self.name, "passed", text, expected, "", numbers)
        text += _sure(broken, n, "all") if many else _sure(broken, before, "those")
        found: Found = "masked" if many and much else "suspicious"
        return Check(self.name, found, text, expected, self.advice, numbers)

    def _expected(self, wider: bool) -> str:
        share = f"at most {self.honest:.0%} of all images"
        if self.of_left < 1:
            share += f", and at most {self.of_left:.0%} of those that stand"
        if wider:
            share += f", or at most {_ODD:.0%} that stand at {WIDER:g} times the radius"
        return share


def _sure(count: int, of: int, what: str) -> str:
    return f": {count / of:.0%} of {what}, at least {at_least(count, of):.0%} with 99 % confidence"
