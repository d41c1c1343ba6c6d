"""When a count of images is more than an honest network shows: exact bounds of a proportion."""


def at_least(count: int, n: int, confidence: float = 0.99) -> float:
    """One-sided lower bound of a proportion (Clopper and Pearson 1934).

    Args:
        count: of n images, in [0, n].
        n: how many images, at least 1.
        confidence: that the true proportion is at least this.
    Returns:
        A fraction in [0, 1]; 0 where the count is 0.
    """
    from scipy.special import betaincinv

    return 0.0 if count == 0 else float(betaincinv(count, n - count + 1, 1 - confidence))


def exceeds(count: int, n: int, honest: float) -> bool:
    """Whether so many of n images are more than the share that honest networks show, beyond chance."""
    return n > 0 and at_least(count, n) > honest


def tells(n: int, honest: float) -> bool:
    """Whether n images could exceed the honest share at all: else nothing is said."""
    return exceeds(n, n, honest)


def needed(n: int, honest: float) -> int:
    """The smallest count of n images that exceeds the honest share; n + 1 where none does."""
    return next((count for count in range(n + 1) if exceeds(count, n, honest)), n + 1)
