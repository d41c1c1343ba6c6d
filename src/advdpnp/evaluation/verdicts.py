"""What an evaluation may leave open: images of which it can say nothing, and when there are too many of them."""

from pathlib import Path

from advdpnp.runs import Json

# Of the images; above it no accuracy is given.
MOST_UNEVALUATED = 0.01


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
