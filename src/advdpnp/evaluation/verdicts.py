"""What an evaluation finds of each image: robust, broken (misclassified), or unevaluated (no finite gradient)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from advdpnp.metrics import pack, unpack
from advdpnp.result_files import accuracy_fields
from advdpnp.results import Of
from advdpnp.runs import Json

# Of the images; above it no accuracy is given.
MOST_UNEVALUATED = 0.01


@dataclass(frozen=True)
class Verdicts:
    """One of three for each image; an image that is neither robust nor unevaluated is broken: misclassified.

    Args:
        robust: (n,) bool, classified correctly, under attack if there is one.
        unevaluated: (n,) bool, not misclassified, but a logit or gradient that the attack was given was not finite,
            so that it had no gradient to follow.
    """

    robust: Tensor
    unevaluated: Tensor

    @classmethod
    def after(cls, withstood: Tensor, nonfinite: Tensor | None = None) -> "Verdicts":
        """From images that no attack broke, and images with a logit or gradient that was not finite: each (n,) bool."""
        nonfinite = torch.zeros_like(withstood) if nonfinite is None else nonfinite
        return cls(withstood & ~nonfinite, withstood & nonfinite)

    @classmethod
    def read(cls, row: Json, n: int) -> "Verdicts":
        """As `bits` has written them; rows of earlier versions have no unevaluated images."""
        bits = row.get("unevaluated_bits")
        return cls(unpack(row["verdicts"], n), unpack(bits, n) if bits else torch.zeros(n, dtype=torch.bool))

    @property
    def withstood(self) -> Tensor:
        """(n,) bool: not misclassified."""
        return self.robust | self.unevaluated

    def __and__(self, other: "Verdicts") -> "Verdicts":
        """Under both: what either has broken is broken."""
        return Verdicts.after(self.withstood & other.withstood, self.unevaluated | other.unevaluated)

    def accuracy(self, of: Of = "attack") -> Json:
        """The fields of a result that hold the fraction of robust images and its interval."""
        return accuracy_fields(int(self.robust.sum()), int(self.unevaluated.sum()), len(self.robust), of)

    def bits(self) -> Json:
        """Packed verdicts; where there are unevaluated images, their count and bits too."""
        stored: Json = {"verdicts": pack(self.robust)}
        count = int(self.unevaluated.sum())
        return stored | ({"unevaluated": count, "unevaluated_bits": pack(self.unevaluated)} if count else {})


class UnevaluatedError(ValueError):
    """An evaluation that left too many images without a verdict; `result` is what it found."""

    def __init__(self, text: str, result: Json) -> None:
        super().__init__(text)
        self.result = result


def check_evaluated(result: Json, kept: Path | None = None) -> None:
    """Raise UnevaluatedError where more than 1 % of the images are unevaluated.

    Args:
        result: content of eval/<suite>.json.
        kept: where what was found is kept, for the message.
    """
    count, n = result.get("worst_case_unevaluated", 0), result["n"]
    if count > MOST_UNEVALUATED * n:
        raise UnevaluatedError(
            f"{count} of {n} images are unevaluated: no attack broke them, but the network's input gradient was not "
            f"finite there (NaN or Inf), so the attacks had nothing to follow; above {MOST_UNEVALUATED:.0%} of the "
            "images no accuracy is given. Look for a square root, logarithm, norm or division at 0 in the network, and "
            "make its gradient finite" + (f"; what was found is kept in {kept}" if kept else ""),
            result,
        )
