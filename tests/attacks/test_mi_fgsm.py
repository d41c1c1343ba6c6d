"""MI-FGSM against PGD, which it is without momentum, and against a loop over single images in numpy."""

import numpy as np
import torch
from torch import Tensor

from advdpnp.attacks import BIM, MIFGSM, PGD
from attacks.linear import LinearClassifier
from reference.attacks import linear_cross_entropy_gradient


def curved(x: Tensor) -> Tensor:
    """Logits of two classes whose gradient turns as x moves."""
    values = x.flatten(1)
    return torch.stack([(5 * values).sin().sum(1), (3 * values).cos().sum(1)], dim=1)


def test_without_momentum_it_is_pgd_from_the_image() -> None:
    x, y = torch.rand(6, 1, 3, 3), torch.arange(6) % 2
    found = MIFGSM(eps=0.3, steps=4, step_size=0.1, decay=0.0)(curved, x, y)
    torch.testing.assert_close(found, PGD(eps=0.3, steps=4, step_size=0.1, random_start=False)(curved, x, y))
    torch.testing.assert_close(found, BIM(eps=0.3, steps=4, step_size=0.1)(curved, x, y))


def test_the_second_step_goes_along_the_sum_of_two_unit_gradients() -> None:
    # One pixel, logits (0, w(x)), label 0: the loss grows with w, which rises up to 0.6 and falls beyond, so that the
    # second gradient points back. In one pixel gradients have length 1: with decay 1 their sum is 0, with decay 2 it is
    # 1.
    def turning(x: Tensor) -> Tensor:
        w = -(x - 0.6).abs().flatten(1)
        return torch.cat([torch.zeros_like(w), w], dim=1)

    x, y = torch.full((1, 1, 1, 1), 0.5), torch.tensor([0])
    ends = [MIFGSM(eps=0.4, steps=2, step_size=0.2, decay=decay)(turning, x, y).item() for decay in (0.0, 1.0, 2.0)]
    torch.testing.assert_close(torch.tensor(ends), torch.tensor([0.5, 0.7, 0.9]))


def test_every_step_is_that_of_a_loop_over_single_images() -> None:
    generator = torch.Generator().manual_seed(5)
    weight = 3 * torch.randn(3, 16, generator=generator, dtype=torch.float64)
    bias = torch.randn(3, generator=generator, dtype=torch.float64)
    x, y = torch.rand(5, 1, 4, 4, generator=generator, dtype=torch.float64), torch.arange(5) % 3
    gradient = linear_cross_entropy_gradient(weight.numpy(), bias.numpy())
    for norm, eps in (("linf", 0.1), ("l2", 0.5)):
        found = MIFGSM(eps=eps, norm=norm)(LinearClassifier(weight, bias).eval(), x, y)  # type: ignore[arg-type]
        for image, label, end in zip(x.flatten(1).numpy(), y.numpy(), found.flatten(1).numpy(), strict=True):
            point, total = image, np.zeros(16)
            for _ in range(10):
                slope = gradient(point, label)
                total = 1.0 * total + slope / np.abs(slope).sum()
                step = np.sign(total) if norm == "linf" else total / np.linalg.norm(total)
                moved = point + eps / 10 * step - image
                length = np.linalg.norm(moved)
                moved = np.clip(moved, -eps, eps) if norm == "linf" else moved * min(1.0, eps / length)
                point = np.clip(image + moved, 0, 1)
            np.testing.assert_allclose(end, point, rtol=0, atol=1e-9)
