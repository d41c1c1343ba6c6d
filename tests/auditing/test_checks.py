"""Single checks of an audit, on networks whose answers and gradients are known in closed form."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from advdpnp.auditing import Check
from advdpnp.auditing.comparisons import Comparison
from advdpnp.auditing.function_checks import difference, function_checks, replayed
from advdpnp.auditing.gradient_checks import gradient_checks
from advdpnp.auditing.stand_ins import Estimated, Smoothed
from advdpnp.auditing.subject import Subject
from advdpnp.losses import margin
from advdpnp.metrics.significance import at_least, exceeds, needed
from auditing.networks import Mean, images, with_gradient


def functions(model: nn.Module) -> dict[str, Check]:
    x, y = images()
    around = (x + 0.05 * torch.where(torch.arange(len(x)).view(-1, 1, 1, 1) % 3 == 0, -1.0, 1.0)).clamp(0, 1)
    return {check.name: check for check in function_checks(model, x, y, around)}


def gradients(model: nn.Module) -> dict[str, Check]:
    x, y = images()
    return {check.name: check for check in gradient_checks(Subject(model, x, y, "linf", 0.05), x + 0.01)[0]}


def test_an_honest_network_passes_every_check_of_its_function_and_its_gradients() -> None:
    found = functions(Mean()) | gradients(Mean())
    # Where float64 is at hand, all is measured.
    assert {check.verdict for check in found.values()} == {"passed"}
    assert found["loss along the gradient"].numbers["median_ratio"] == pytest.approx(1, abs=1e-4)


class Counting(Mean):
    """Another answer after so many images."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def forward(self, x: Tensor) -> Tensor:
        self.left -= len(x)
        return super().forward(x) * (1 if self.left > 0 else -1)


class Stored(Mean):
    """A buffer that counts calls and changes nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


class Watching(Mean):
    """Another answer where a gradient is asked for."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (0.5 if x.requires_grad else 1.0)


class InPlace(Mean):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.requires_grad else x.mul_(0.9).div_(0.9 + 1e-3))


FAULTS: list[tuple[str, nn.Module, str, str]] = [
    ("training", Mean().train(), "mode", "refused"),
    ("noise", Mean(after=lambda z: z + 0.01 * torch.randn_like(z)), "randomness", "refused"),
    ("dropout", Mean(before=lambda x: functional.dropout(x, 0.1, training=True)), "randomness", "refused"),
    ("batch", Mean(before=lambda x: x - x.mean(dim=0) + 0.5), "batch", "refused"),
    ("probabilities", Mean(after=lambda z: z.softmax(1)), "logits", "refused"),
    ("nan", Mean(after=lambda z: z.log()), "logits", "refused"),
    ("in place", InPlace(), "input", "refused"),
    ("buffer", Stored(), "state", "suspicious"),
    ("watching", Watching(), "gradient mode", "masked"),
    ("rounding", Mean(after=lambda z: z * 1e-4 + 1e4), "rounding", "suspicious"),
    ("labels", Mean(after=lambda z: 5 * functional.one_hot(z.argmax(1), 2).to(z.dtype)), "continuity", "suspicious"),
]


@pytest.mark.parametrize("model, name, verdict", [case[1:] for case in FAULTS], ids=[case[0] for case in FAULTS])
def test_what_is_no_function_of_each_image_is_found(model: nn.Module, name: str, verdict: str) -> None:
    assert functions(model)[name].verdict == verdict


def test_a_network_that_changes_its_mind_is_found_at_the_end() -> None:
    x, y = images()
    model = Counting(100)
    subject = Subject(model, x, y, "linf", 0.05)
    assert subject.clean.shape == (40, 2)
    nothing = x[:0], subject.clean[:0]
    assert replayed(subject, None, *nothing).verdict == "passed"
    assert replayed(subject, None, *nothing).verdict == "refused"
    assert replayed(Subject(Mean(), x, y, "linf", 0.05), Mean(), x, Mean()(x)).verdict == "passed"


GRADIENTS: list[tuple[str, nn.Module, dict[str, str]]] = [
    ("detached", Mean(before=lambda x: x.detach()), {"gradient": "refused"}),
    ("nan", with_gradient(lambda g: g * torch.nan), {"finite gradients": "refused"}),
    ("flipped", with_gradient(lambda g: -g), {"finite differences": "suspicious", "loss along the gradient": "masked"}),
    ("tenfold", with_gradient(lambda g: 10 * g), {"finite differences": "suspicious"}),
    ("half detached", Mean(before=lambda x: 0.5 * x.detach() + 0.5 * x), {"finite differences": "suspicious"}),
    (
        "straight-through",
        Mean(before=lambda x: x + ((8 * x).round() / 8 - x).detach()),
        {"finite differences": "suspicious"},
    ),
    (
        "saturated loss",
        Mean(after=lambda z: 1e4 * z),
        {"saturated loss": "masked", "vanishing gradients": "passed"},
    ),
    ("saturated margin", Mean(after=lambda z: torch.tanh(12 * z)), {"vanishing gradients": "masked"}),
    ("tiny", Mean(after=lambda z: 1e-4 * z), {"confidence": "suspicious", "finite differences": "passed"}),
]


@pytest.mark.parametrize("model, wanted", [case[1:] for case in GRADIENTS], ids=[case[0] for case in GRADIENTS])
def test_gradients_that_lead_astray_are_found(model: nn.Module, wanted: dict[str, str]) -> None:
    found = gradients(model)
    assert {name: found[name].verdict for name in wanted} == wanted


def test_coarse_logits_are_no_wrong_gradients() -> None:
    # A right gradient, of logits that bfloat16 rounds to 8 bits: differences cannot tell.
    class Coarse(Mean):
        def forward(self, x: Tensor) -> Tensor:
            z = super().forward(x.float())
            return z + (z.bfloat16().float() - z).detach()

    assert gradients(Coarse())["finite differences"].verdict in ("passed", "not measured")


class InFloat32Alone(torch.autograd.Function):
    """The identity, whose backward compares with numbers of fp32."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient @ torch.eye(2)


def test_a_backward_that_computes_in_fp32_alone_is_measured_in_fp32() -> None:
    found = gradients(Mean(before=InFloat32Alone.apply))["finite differences"]  # type: ignore[no-untyped-call]
    assert found.verdict == "passed" and "fp32" in found.measured


def test_the_ratio_of_a_scaled_gradient_is_measured() -> None:
    # Autograd says 10 times the slope of the function.
    assert gradients(with_gradient(lambda g: 10 * g))["finite differences"].numbers["ratio"] == pytest.approx(10)


def test_the_lower_bound_is_that_of_the_binomial_distribution() -> None:
    # All of n with probability p^n = 0.01: the bound of n of n is 0.01^(1/n).
    assert at_least(20, 20) == pytest.approx(0.01 ** (1 / 20))
    # At least one of n with probability 1 - (1 - p)^n = 0.01.
    assert at_least(1, 50) == pytest.approx(1 - 0.99 ** (1 / 50))
    assert at_least(0, 5) == 0
    assert not exceeds(0, 0, 0.1)
    assert exceeds(needed(60, 0.05), 60, 0.05) and not exceeds(needed(60, 0.05) - 1, 60, 0.05)


@pytest.mark.parametrize(
    "n, left, broken, verdict",
    [
        (200, 0, 0, "passed"),
        (200, 100, 4, "passed"),
        (200, 100, 10, "suspicious"),
        (200, 100, 60, "masked"),
        (200, 160, 50, "masked"),
        (3, 3, 3, "masked"),
        (1, 1, 1, "not measured"),
        (200, 2, 2, "not measured"),
    ],
)
def test_a_comparison_needs_a_large_and_a_certain_difference(n: int, left: int, broken: int, verdict: str) -> None:
    order = torch.arange(n)
    check = Comparison("black box", "the white box", "Square", 0.02, "").check(order < left, order < left - broken)
    assert check.verdict == verdict
    assert check.numbers == {"n": n, "left": left, "broken": broken}


def tail(count: int, n: int, p: float) -> float:
    """The chance of `count` or more of n, each with probability p."""
    return sum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(count, n + 1))


@pytest.mark.parametrize(
    "left, broken, verdict",
    [
        # PCL on CIFAR-10: half of what stands under the cross-entropy falls under the margin.
        (43, 20, "suspicious"),
        # Adversarial training and DIO on CIFAR-10.
        (50, 9, "passed"),
        (52, 12, "passed"),
        # Less than one in twenty of all; and 16 of 200 could not be more than honest networks show.
        (16, 9, "not measured"),
    ],
)
def test_of_few_images_that_stand_the_share_counts(left: int, broken: int, verdict: str) -> None:
    n, order = 200, torch.arange(200)
    check = Comparison("other losses", "CE", "margin", 0.06, "", 0.25).check(order < left, order < left - broken)
    assert check.verdict == verdict
    assert (verdict == "suspicious") == (tail(broken, left, 0.25) < 0.01 and broken >= 0.05 * n)


@pytest.mark.parametrize("odd, verdict", [(7, "passed"), (14, "suspicious"), (16, "masked")])
def test_a_weak_attack_is_no_masking_where_it_breaks_as_much_at_a_wider_radius(odd: int, verdict: str) -> None:
    # Of 100 images that stand, restarts break 45; `odd` of these stand at the wider radius, too, and 30 others do.
    n, order = 200, torch.arange(200)
    left, then = order < 100, order < 55
    wider = ((order >= 55) & (order < 55 + odd)) | (order < 30)
    check = Comparison("more restarts", "PGD", "restarts", 0.05, "").check(left, then, wider)
    assert check.numbers["broken"] == 45 and check.numbers["odd"] == odd
    assert check.verdict == verdict
    assert (verdict == "passed") == (tail(odd, n, 0.02) >= 0.01)


@pytest.mark.parametrize(
    "stand_in", [lambda model: Estimated(model, 0.01, 2000), lambda model: Smoothed(model, 0.01, 64)]
)
def test_stand_ins_have_the_gradient_of_a_linear_network(stand_in: Callable[[nn.Module], nn.Module]) -> None:
    x, y = images(4)
    exact = Subject(Mean(), x, y, "linf", 0.05).gradient(x, y, margin)[1]
    found = Subject(Mean(before=lambda x: x.detach()), x, y, "linf", 0.05).gradient(x, y, margin, stand_in(Mean()))[1]
    # An estimate of k directions in 4 dimensions is off by a share of about sqrt(3 / k).
    assert float((found - exact).norm() / exact.norm()) < 0.12


def test_a_network_that_answers_in_float64_has_estimated_gradients_in_the_precision_of_its_images() -> None:
    x, y = images(4)
    subject = Subject(Mean(after=lambda z: z.double()), x, y, "linf", 0.05)
    exact, found = (subject.gradient(x, y, margin, one)[1] for one in (None, Estimated(subject.model, 0.01, 2000)))
    assert found.dtype == torch.float32
    assert float((found - exact).norm() / exact.norm()) < 0.12


def test_differences_are_in_spreads_of_a_row() -> None:
    assert difference(torch.tensor([[0.0, 10.0]]), torch.tensor([[1.0, 10.0]])) == pytest.approx(0.1)
    assert difference(torch.tensor([[1e6, 1e6 + 10.0]]), torch.tensor([[1e6 + 1.0, 1e6 + 10.0]])) == pytest.approx(0.1)
