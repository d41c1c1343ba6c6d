"""What an evaluation says before it begins, and what Ctrl-C leaves."""

from pathlib import Path

import pytest
import torch
from torch import nn

from advdpnp.attacks import APGDT, FGSM, PGD, AutoAttack, Square, Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate
from advdpnp.evaluation.forecast import GradientTime, forecast, gradients, time_gradient

N = 96


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()


def images() -> Images:
    generator = torch.Generator().manual_seed(0)
    return Images(torch.randint(0, 256, (N, 1, 4, 4), generator=generator, dtype=torch.uint8), torch.arange(N) % 3)


class Clock(Silent):
    """Keeps forecasts; interrupts after some chunks."""

    def __init__(self, chunks: float = float("inf")) -> None:
        self.seconds: list[float] = []
        self._left = chunks

    def on_forecast(self, seconds: float) -> None:
        self.seconds.append(seconds)

    def on_images(self, images: int) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


def test_an_attack_takes_its_gradients() -> None:
    pgd = PGD(eps=0.1, steps=20, restarts=3)
    probe = GradientTime(0.5, classes=10)
    assert forecast(probe, [(None, 10), (pgd, 4)]) == 10 * 0.5 + 4 * 20 * 3 * 0.5
    assert forecast(probe, []) == 0
    assert gradients(FGSM(eps=0.1), 10) == 1


def test_a_search_takes_all_its_attempts() -> None:
    assert gradients(APGDT(eps=0.1, steps=20), 10) == 9 * 21
    assert gradients(APGDT(eps=0.1, steps=20), 3) == 2 * 21
    assert gradients(Square(eps=0.1, steps=99), 10) == pytest.approx(100 * Square.cost)
    whole = gradients(AutoAttack(eps=0.1), 10)
    assert whole == sum(gradients(progress, 10) for progress in AutoAttack(eps=0.1).attacks_to_run)


def test_the_probe_leaves_no_gradient_behind() -> None:
    model = linear()
    probe = time_gradient(model, images(), chunk=32)
    assert probe.seconds > 0 and probe.classes == 3
    assert all(parameter.grad is None for parameter in model.parameters())


def test_ctrl_c_keeps_finished_chunks_and_a_resumed_evaluation_is_the_same(tmp_path: Path) -> None:
    def wanted(name: str, resume: bool = False) -> Evaluation:
        suite = Suite("two", "", (PGD(eps=0.1, steps=3),), features=None)
        return Evaluation(suite, n=N, facts={}, chunk=16, partial=tmp_path / name, resume=resume)

    whole = evaluate(linear(), images(), wanted("whole"), Silent())
    # 6 chunks of clean images, then two of the attack's.
    with pytest.raises(KeyboardInterrupt):
        evaluate(linear(), images(), wanted("stopped"), Clock(chunks=8))
    clock = Clock()
    resumed = evaluate(linear(), images(), wanted("stopped", resume=True), clock)
    for result in (whole, resumed):
        del result["attacks"][0]["seconds"]
    assert resumed == whole

    nothing_left = Clock()
    evaluate(linear(), images(), wanted("stopped", resume=True), nothing_left)
    assert len(clock.seconds) == 1 and nothing_left.seconds == []
