"""`advdpnp.evaluate(model, x, y)`: any network, images in memory, nothing written."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import advdpnp
from advdpnp.attacks import PGD, Suite
from advdpnp.external import Normalized
from advdpnp.losses import margin
from advdpnp.metrics import unpack
from external.networks import Wrapped, digits, trained


def arrays(n: int = 60) -> tuple[Tensor, Tensor]:
    return digits().batch(torch.arange(n))


@pytest.fixture(scope="module")
def convolutional() -> nn.Module:
    """A small network that plain PyTorch trained on digits."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 10)
    )
    x, y = advdpnp.data.load("digits", "train").batch(torch.arange(1437))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for index in torch.randperm(1437).repeat(6).split(64):
        loss = functional.cross_entropy(model(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def plain_pgd(model: nn.Module, x: Tensor, y: Tensor, eps: float, step: float, steps: int, norm: str) -> Tensor:
    """PGD from the image, as a textbook writes it."""
    delta = torch.zeros_like(x)
    for _ in range(steps):
        delta.requires_grad_(True)
        (g,) = torch.autograd.grad(functional.cross_entropy(model(x + delta), y, reduction="sum"), delta)
        if norm == "linf":
            delta = (delta.detach() + step * g.sign()).clamp(-eps, eps)
        else:
            delta = delta.detach() + step * g / g.flatten(1).norm(dim=1)[:, None, None, None].clamp_min(1e-12)
            length = delta.flatten(1).norm(dim=1)[:, None, None, None].clamp_min(1e-12)
            delta = delta * (eps / length).clamp_max(1)
        delta = (x + delta).clamp(0, 1) - x
    return x + delta


@pytest.mark.parametrize("norm, eps", [("linf", 0.1), ("l2", 0.5)])
def test_verdicts_are_those_of_a_textbook_s_pgd_image_by_image(convolutional: nn.Module, norm: str, eps: float) -> None:
    x, y = arrays(360)
    text = f"pgd:eps={eps},norm={norm},steps=20,step_size={eps / 8},random_start=false"
    result = advdpnp.evaluate(convolutional, x, y, suite=[text])
    with torch.no_grad():
        clean = convolutional(x).argmax(1) == y
    double = copy.deepcopy(convolutional).double()
    lead = -margin(double(plain_pgd(double, x.double(), y, eps, eps / 8, 20, norm)), y)
    # A gradient of rounding size may send a pixel the other way, which changes the lead by less than this.
    clear, robust = lead.abs() > 0.01, lead > 0
    assert torch.equal(unpack(result["clean_verdicts"], 360), clean)
    assert torch.equal(unpack(result["attacks"][0]["verdicts"], 360)[clear], robust[clear])
    assert clear.double().mean() > 0.98 and 0.05 < robust.double().mean() < clean.double().mean() - 0.1


def test_bytes_and_floats_in_0_1_give_the_same_numbers() -> None:
    x, y = arrays()
    as_bytes = (x * 255).round().to(torch.uint8)
    first = advdpnp.evaluate(trained(), as_bytes, y, suite="pgd20", eps=0.1)
    second = advdpnp.evaluate(trained(), as_bytes.double() / 255, y, suite="pgd20", eps=0.1)
    assert first["clean_verdicts"] == second["clean_verdicts"] and first["n"] == 60
    assert first["attacks"][0]["verdicts"] == second["attacks"][0]["verdicts"]
    assert first["suite"] == "pgd20" and first["warnings"] == [] and first["environment"]["device"] == "cpu"


def test_a_suite_is_a_name_a_suite_or_attacks_as_objects_and_texts() -> None:
    x, y = arrays(20)
    attacks = [PGD(eps=0.1, steps=2), "cw:kappa=0,steps=2", "fgsm"]
    mine = advdpnp.evaluate(trained(), x, y, suite=attacks, eps=0.25)
    assert [(row["name"], row["eps"], row["steps"]) for row in mine["attacks"]] == [
        ("pgd", "0.1", 2), ("cw", "0.25", 2), ("fgsm", "0.25", 1)
    ]  # fmt: skip
    assert mine["suite"] == "custom" and mine["attacks"][1]["kappa"] == 0
    whole = Suite("mine", "one", (PGD(eps=0.1, steps=2),), features=None)
    again = advdpnp.evaluate(trained(), x, y, suite=whole)
    assert again["suite"] == "mine" and again["attacks"][0]["verdicts"] == mine["attacks"][0]["verdicts"]


def test_the_network_stays_as_it_was(convolutional: nn.Module) -> None:
    x, y = arrays(20)
    model = copy.deepcopy(convolutional)
    model[0].weight.requires_grad_(False)
    before, given = copy.deepcopy(model.state_dict()), (x.clone(), y.clone())
    advdpnp.evaluate(model, x, y, suite="quick", eps=0.1)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * (len(list(model.parameters())) - 1)
    assert all(p.grad is None for p in model.parameters()) and not model.training
    assert torch.equal(x, given[0]) and torch.equal(y, given[1]) and not x.requires_grad


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_another_precision_are_evaluated_as_float32_copies_and_it_is_said(kind: torch.dtype) -> None:
    x, y = arrays(20)
    model = trained().to(kind)
    with pytest.warns(UserWarning, match=f"network is in {kind}"):
        result = advdpnp.evaluate(model, x, y, suite="clean")
    assert len(result["warnings"]) == 1 and model.linear.weight.dtype == kind


class Computed(torch.nn.Module):
    """A linear network whose weight is computed before each forward, with a constant that is no buffer."""

    def __init__(self, change: Any) -> None:
        super().__init__()
        self.linear, self.shift = trained().linear, torch.full((1, 1, 1), 0.25, dtype=torch.float64)
        change(self.linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear((x - self.shift).flatten(1))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "change", [torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm], ids=["old", "new"]
)
def test_computed_weights_in_double_are_evaluated_too(change: Any) -> None:
    x, y = arrays(60)
    model = Computed(change).double().eval()
    logits = model(x.double())
    with pytest.warns(UserWarning, match=r"network is in torch\.float64"):
        result = advdpnp.evaluate(model, x, y, suite=["fgsm"], eps=0.1)
    assert result["clean_accuracy"] == (logits.argmax(dim=1) == y).double().mean().item()
    assert model.linear.weight.dtype == model.shift.dtype == torch.float64


def test_normalization_goes_inside() -> None:
    x, y = arrays()
    wants_normalized = Wrapped(before=lambda x: 0.38 * x + 0.3)
    inside = Normalized(wants_normalized, [0.3], [0.38])
    one, other = (advdpnp.evaluate(m, x, y, suite=["pgd:steps=5"], eps=0.1) for m in (inside, trained()))
    assert one["clean_verdicts"] == other["clean_verdicts"]
    assert one["attacks"][0]["robust_accuracy"] == pytest.approx(other["attacks"][0]["robust_accuracy"], abs=0.02)
    for mean, std, message in (([0.1], [], "as many"), ([0.1], [0.0], "above 0"), ([0.1, 0.2], [1.0, 1.0], "channels")):
        with pytest.raises(ValueError, match=message):
            Normalized(trained(), mean, std)(x)


def test_input_that_makes_numbers_meaningless_is_refused_in_one_line(tmp_path: Path) -> None:
    x, y = arrays(20)
    model = trained()
    for arguments, options, message in (
        ((model.train(), x, y), {}, "training mode"),
        ((model, x * 255, y), {}, r"images must be in \[0, 1\]"),
        ((model, x - 0.5, y), {}, r"images must be in \[0, 1\]"),
        ((model, x[0], y), {}, r"one label for each image; got 1 images and \(20,\) labels"),
        ((model, x[0, 0], y), {}, r"x must be \(N, channels, H, W\)"),
        ((model, x[:0], y[:0]), {}, "N at least 1"),
        ((model, x.int(), y), {}, "255 is white; got 0 to 1: give floats"),
        ((model, x, y[:5]), {}, r"one label for each image; got 20 images and \(5,\) labels"),
        ((model, x, y.float()), {}, "labels must be integers; got torch.float32"),
        ((model, x, y + 5), {}, r"labels must be in \[0, 10\)"),
        ((model, x, y), {"suite": "quik"}, "nearest: quick"),
        ((model, x, y), {"suite": []}, "at least one attack"),
        ((model, x, y), {"suite": ["pdg"]}, "unknown attack 'pdg'; nearest: pgd"),
        ((model, x, y), {"suite": ["pgd:stepz=3"]}, "unknown field pgd.stepz; nearest: steps"),
        ((model, x, y), {"suite": ["pgd:steps"]}, "takes NAME:field=value"),
        ((model, x, y), {"suite": ["pgd:eps=8"]}, "Did you mean 8 / 255"),
        ((tmp_path, x, y), {}, "images in memory need a network"),
        ((tmp_path,), {"x": x}, "images in memory need a network"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            advdpnp.evaluate(*arguments, **options)
        assert "\n" not in str(refused.value)
        model.eval()


def test_a_text_s_numbers_are_the_attack_s() -> None:
    from advdpnp.api.protocol import attack_by_hand

    found = attack_by_hand("pgd:eps=8/255, steps=100,step_size=2/255,restarts=20", 0.3)
    assert found == PGD(eps=8 / 255, steps=100, step_size=2 / 255, restarts=20)
    assert attack_by_hand("pgd", 0.3) == PGD(eps=0.3)
