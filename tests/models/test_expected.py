"""Randomized networks as the mean of their answers, against networks whose draws are known."""

import pytest
import torch
from torch import Tensor, nn

from advdpnp.attacks import PGD, CarliniWagnerL2, DeepFool
from advdpnp.losses import cross_entropy
from advdpnp.models.expected import ExpectedModel
from advdpnp.threat import distance
from attacks.linear import LinearClassifier, two_classes

W = torch.randn(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


class Turning(nn.Module):
    """Logits (0, w_t . (x - 1/2)), where the rows w_t follow one another from call to call."""

    def __init__(self, *rows: Tensor) -> None:
        super().__init__()
        self.rows, self.calls = rows, 0
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        z = (x.flatten(1) - 0.5) @ self.rows[self.calls % len(self.rows)]
        self.calls += 1
        return torch.stack([torch.zeros_like(z), z], dim=1)


def mean_of(*rows: Tensor) -> LinearClassifier:
    w = torch.stack(rows).mean(dim=0)
    return LinearClassifier(torch.stack([torch.zeros_like(w), w]), torch.tensor([0.0, -0.5 * w.sum()]).double()).eval()


def images(n: int = 5) -> Tensor:
    return 0.4 + 0.2 * torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_logits_and_gradients_are_those_of_the_mean_of_the_draws() -> None:
    rows = (W, -2 * W.flip(0), W.roll(3))
    x = images().requires_grad_()
    y = torch.tensor([0, 1, 0, 1, 1])
    found, expected = ExpectedModel(Turning(*rows), 3)(x), mean_of(*rows)(x)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(cross_entropy(z, y).sum(), x)[0] for z in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_attacks_follow_the_mean_where_single_draws_lead_astray() -> None:
    # Every draw adds or takes away a large vector v, so a gradient of one draw is mostly v, and their mean is w.
    v = 20 * W.flip(0)
    model, x, mean = ExpectedModel(Turning(W + v, W - v), 2), images(), mean_of(W)
    y = mean(x).argmax(dim=1)
    for attack in (PGD(eps=0.1), DeepFool(eps=1.0, norm="l2"), CarliniWagnerL2(eps=1.0, steps=20, bisections=3)):
        torch.testing.assert_close(attack(model, x, y), attack(mean, x, y), rtol=0, atol=1e-6)
    corner = x + 0.1 * torch.where(y == 1, -1.0, 1.0).double().view(-1, 1, 1, 1) * W.sign().view(1, 1, 4, 4)
    torch.testing.assert_close(PGD(eps=0.1)(model, x, y), corner)
    astray = PGD(eps=0.1, steps=5)(Turning(W + v, W - v), x, y)
    assert (mean(astray) - mean(x))[:, 1].abs().max() < (mean(corner) - mean(x))[:, 1].abs().min()


def test_the_mean_over_more_draws_is_nearer_to_that_of_all_by_the_square_root() -> None:
    class Noisy(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return two_classes(16)(x + 0.1 * torch.randn_like(x))

    x = images(200)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        errors = [(ExpectedModel(Noisy().eval(), m)(x) - two_classes(16)(x))[:, 1].std().item() for m in (1, 16)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.2)


def test_each_draw_gets_a_copy_and_the_network_keeps_its_mode() -> None:
    class Impolite(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return two_classes(16)(x.mul_(2))

    x = images()
    before = x.clone()
    with torch.no_grad():
        torch.testing.assert_close(ExpectedModel(Impolite().eval(), 4)(x), two_classes(16)(2 * x))
    assert torch.equal(x, before) and not ExpectedModel(Impolite().eval(), 2).training
    assert ExpectedModel(Impolite(), 2).training


@pytest.mark.parametrize("draws", [0, -1, 1.5, True])
def test_draws_are_counted(draws: int) -> None:
    with pytest.raises(ValueError, match="draws must be a whole number, at least 1; got"):
        ExpectedModel(nn.Identity(), draws)


def test_the_nearest_image_of_a_randomized_network_is_that_of_its_mean() -> None:
    v, x = 5 * W.flip(0), images()
    mean = mean_of(W)
    y = mean(x).argmax(dim=1)
    exact = mean(x)[:, 1].abs() / W.norm()
    found = distance(DeepFool(eps=1.0, norm="l2")(ExpectedModel(Turning(W + v, W - v), 2), x, y), x, "l2")
    torch.testing.assert_close(found, 1.02 * exact, rtol=1e-6, atol=0)
