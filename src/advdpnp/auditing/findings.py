"""What an audit finds: its checks, the one verdict, and how they are written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Found = Literal["passed", "suspicious", "masked", "refused", "not measured"]
Verdict = Literal["no sign of masking", "suspicious", "masked", "refused"]

# From the worst to the best; what was not measured counts for nothing.
_ORDER: tuple[Verdict, ...] = ("refused", "masked", "suspicious")


@dataclass(frozen=True)
class Check:
    """One check of an audit.

    Args:
        name: what was looked at.
        verdict: what it says by itself.
        measured: what was measured, with its numbers.
        expected: what an honest network shows there.
        advice: what to do next; "" where there is nothing to do.
        numbers: the numbers of `measured`, JSON values.
    """

    name: str
    verdict: Found
    measured: str
    expected: str
    advice: str = ""
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Args:
        verdict: the worst that a check says.
        conclusion: in a sentence, whether a number cannot be believed, or the robustness is not there.
        checks: in the order in which they were made.
        numbers: clean accuracy, claimed (PGD-20 on the cross-entropy), lowest (all attacks together), n, and others;
            accuracies are fractions of n.
        curves: what the figure draws.
        protocol: norm, eps, seed and what else was asked for.
    """

    verdict: Verdict
    conclusion: str
    checks: tuple[Check, ...]
    numbers: dict[str, Any]
    curves: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """JSON values, as eval/audit.json has them."""
        return {
            **self.protocol,
            "verdict": self.verdict,
            "conclusion": self.conclusion,
            **self.numbers,
            "checks": [asdict(check) for check in self.checks],
            "curves": self.curves,
        }

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {self.conclusion}"]
        for check in self.checks:
            lines.append(f"  {check.verdict:<12} {check.name}: {check.measured}")
            if check.verdict not in ("passed", "not measured"):
                lines.append(f"{'':15}an honest network: {check.expected}")
                lines += [f"{'':15}next: {check.advice}"] if check.advice else []
        return "\n".join(lines)


def overall(checks: Sequence[Check]) -> Verdict:
    """The worst verdict of the checks."""
    found = {check.verdict for check in checks}
    return next((word for word in _ORDER if word in found), "no sign of masking")
