"""Mean and standard deviation of a network's training, of pixels in [0, 1] or of bytes, as those of [0, 1]."""

from collections.abc import Sequence

Numbers = tuple[float, ...]


def check_pair(mean: Sequence[float], std: Sequence[float], names: tuple[str, str] = ("mean", "std")) -> None:
    """Raise ValueError unless mean and std go together: as many numbers, or one of either for all channels."""
    counts = len(mean), len(std)
    if counts[0] != counts[1] and (1 not in counts or 0 in counts):
        raise ValueError(
            f"{names[0]} and {names[1]} go together, as many numbers, one for each channel, or one for all; "
            f"got {counts[0]} and {counts[1]} numbers"
        )


def spread(mean: Sequence[float], std: Sequence[float]) -> tuple[Numbers, Numbers]:
    """The pair with as many numbers of either: one stands for all channels."""
    count = max(len(mean), len(std))
    first, second = (tuple(map(float, one)) * (count if len(one) == 1 else 1) for one in (mean, std))
    return first, second


def unit_scale(mean: Sequence[float], std: Sequence[float]) -> tuple[Numbers, Numbers, str]:
    """The normalization for pixels in [0, 1], and what was understood, "" where it was given for them.

    Numbers above 1 are of bytes, 0 to 255: (255 x - mean) / std = (x - mean / 255) / (std / 255).

    Args:
        mean, std: as many numbers as `check_pair` asks for.
    Raises:
        ValueError: some numbers are of bytes and some of [0, 1]; the message has the numbers to give.
    """
    mean, std = spread(mean, std)
    of_bytes = any(value > 1 for value in (*mean, *std)) and min(mean, default=0.0) >= 0
    if not of_bytes:
        return mean, std, ""
    # 0 and 1 are numbers of either: some networks were trained on bytes with a std of 1.
    if any(0 < value < 1 for value in (*mean, *std)):
        raise ValueError(
            f"mean {_text(mean)} and std {_text(std)} mix numbers of bytes, above 1, with numbers of pixels in [0, 1]: "
            f"give those of bytes divided by 255, as --mean {_divided(mean)} --std {_divided(std)}"
        )
    mean, std = tuple(value / 255 for value in mean), tuple(value / 255 for value in std)
    understood = (
        "mean and std above 1 are taken for those of bytes, 0 to 255; divided by 255, for pixels in [0, 1], they are "
        f"{_text(mean)} and {_text(std)}"
    )
    return mean, std, understood


def _divided(values: Numbers) -> str:
    return ",".join(f"{value:.10g}/255" if value > 1 else f"{value:.10g}" for value in values)


def _text(values: Numbers) -> str:
    return ",".join(f"{value:.4g}" for value in values)
