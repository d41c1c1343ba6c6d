import pytest

from advdpnp.training.schedule import learning_rate
from reference import schedule as reference

MILESTONES = (100 / 110, 105 / 110)


@pytest.mark.parametrize("epochs, steps", [(110, 391), (30, 391), (8, 40), (11, 7)])
def test_the_rate_of_every_step_is_the_papers_scaled_to_the_run(epochs: int, steps: int) -> None:
    for step in range(epochs * steps):
        found = learning_rate(0.1, MILESTONES, step, epochs * steps)
        t = step / steps
        boundary = min(abs(t - epochs * m) for m in MILESTONES)
        if boundary * steps > 0.51:  # a milestone may fall inside a step
            assert found == pytest.approx(float(reference.learning_rate(t, epochs)))


def test_the_paper_decays_exactly_at_epochs_100_and_105() -> None:
    rates = [
        learning_rate(0.1, MILESTONES, epoch * 391 + offset, 110 * 391)
        for epoch, offset in ((99, 390), (100, 0), (104, 390), (105, 0))
    ]
    assert rates == pytest.approx([0.1, 0.01, 0.01, 0.001])
