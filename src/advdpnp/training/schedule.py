"""Learning-rate schedule."""


def learning_rate(base: float, milestones: tuple[float, ...], step: int, total_steps: int) -> float:
    """Rate of one step: `base`, divided by 10 at each milestone that is passed.

    Args:
        base: rate before the first milestone.
        milestones: fractions of the whole run, such as 100/110.
        step: steps done before this one, in [0, total_steps).
        total_steps: steps of the whole run.
    """
    passed = sum(step >= round(milestone * total_steps) for milestone in milestones)
    return base * 0.1**passed
