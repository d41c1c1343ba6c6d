"""Binary networks with one output, evaluated and attacked as networks with two logits [0, z]."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import advdpnp
from advdpnp import api, data
from advdpnp.attacks import APGDT, FABT, FGSM, PGD, QuickAutoAttack
from advdpnp.data import Images
from advdpnp.evaluation.one_output import TwoLogits, with_class_logits
from advdpnp.external import ExternalModel
from advdpnp.losses import class_logits
from advdpnp.threat import distance

ALONE: list[Callable[[Tensor], Tensor]] = [lambda z: z, lambda z: z[:, 0], lambda z: z.squeeze()]
SAID = r"one output z: it is evaluated with the logits \[0, z\], so that it says class 1( \(class-1\))? where z > 0"


def digits() -> tuple[Tensor, Tensor]:
    """Zeros and ones of the digits: class 1 has ink in the middle."""
    x, y = data.load("digits", "test").batch(torch.arange(360))
    return x[y < 2], y[y < 2]


class OneOutput(nn.Module):
    """The difference of the two classes' means, correlated with x; `shape` of (B, 1) is what it returns."""

    def __init__(self, shape: Callable[[Tensor], Tensor] = ALONE[0]) -> None:
        super().__init__()
        self.linear, self.shape = nn.Linear(64, 1), shape
        x, y = digits()
        zero, one = (x[y == c].mean(dim=0).flatten() for c in (0, 1))
        with torch.no_grad():
            self.linear.weight.copy_(one - zero)
            self.linear.bias.copy_(-0.5 * (one.square().sum() - zero.square().sum()))
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.shape(self.linear(x.flatten(1)))


class WithBoth(OneOutput):
    def forward(self, x: Tensor) -> Tensor:
        z = super().forward(x)
        return torch.cat([torch.zeros_like(z), z], dim=1)


def test_the_softmax_of_the_two_logits_is_the_sigmoid() -> None:
    z = torch.tensor([-3.0, 0.0, 2.0])
    for output in (z, z[:, None]):
        found = class_logits(output, 3).softmax(dim=1)
        torch.testing.assert_close(found[:, 1], z.sigmoid())
    assert torch.equal(class_logits(z.view(1, 3), 1), z.view(1, 3))
    assert class_logits(torch.tensor(2.0), 1).tolist() == [[0.0, 2.0]]


@pytest.mark.parametrize("shape", ALONE)
@pytest.mark.parametrize("suite", ["quick", [QuickAutoAttack(eps=0.1)], "clean"])
def test_all_numbers_are_those_of_the_network_with_both_logits(shape: Any, suite: Any) -> None:
    x, y = (values[:40] for values in digits())
    with pytest.warns(UserWarning, match=SAID):
        found = advdpnp.evaluate(OneOutput(shape), x, y, suite=suite, eps=0.1)
    expected = advdpnp.evaluate(WithBoth(), x, y, suite=suite, eps=0.1)
    assert found["clean_verdicts"] == expected["clean_verdicts"] and found["clean_accuracy"] > 0.9
    for row, other in zip(found["attacks"], expected["attacks"], strict=True):
        assert row["verdicts"] == other["verdicts"]
    assert len(found["warnings"]) == 1 and found["model"] == "OneOutput"


@pytest.mark.parametrize("attack", [FGSM(eps=0.3), PGD(eps=0.3, random_start=False), APGDT(eps=0.3, steps=10)])
def test_attacks_take_them_as_they_are_and_reach_the_corner(attack: Any) -> None:
    # The optimum of a linear network in linf: each pixel moves by eps against the weight's sign, as the box allows.
    x, y = (values[:24] for values in digits())
    model = OneOutput(ALONE[2]).double()
    x, away = x.double(), torch.where(y == 1, -1.0, 1.0).double().view(-1, 1, 1, 1)
    corner = (x + 0.3 * away * model.linear.weight.sign().view(1, 1, 8, 8)).clamp(0, 1)
    broken = (model(corner) > 0).long() != y
    found = attack(model, x, y)
    assert torch.equal((model(found) > 0).long() != y, broken) and broken.any() and not broken.all()
    if attack.name in ("fgsm", "pgd"):
        torch.testing.assert_close(found, corner)


def test_a_call_for_a_single_image_works_after_a_squeeze() -> None:
    x, y = (values[:1] for values in digits())
    found = PGD(eps=0.1)(OneOutput(ALONE[2]), x, y)
    assert distance(found, x, "linf").item() == pytest.approx(0.1, abs=1e-6)


def test_the_attacks_of_autoattack_say_what_two_classes_change() -> None:
    x, y = (values[:16] for values in digits())
    short = [APGDT(eps=0.1, steps=3), FABT(eps=0.1, steps=3)]
    rows = advdpnp.evaluate(WithBoth(), x, y, suite=short)["attacks"]
    assert [note for row in rows for note in row["notes"]] == [
        "apgd-t: 2 classes: 1 target instead of 9, and the target's margin instead of its DLR, which needs 4 classes",
        "fab-t: 2 classes: 1 target instead of 9",
    ]


def refusal(model: nn.Module, x: Tensor, y: Tensor) -> str:
    with pytest.raises(ValueError) as refused:
        with_class_logits(model, Images(x, y, levels=1))
    return str(refused.value)


def test_one_output_for_three_classes_is_refused() -> None:
    x, y = digits()
    y[0] = 2
    assert "tells two classes apart, but there are 3: it needs 3 logits" in refusal(OneOutput(), x, y)
    # Of labels that happen to be of two classes, in a data set of ten.
    with pytest.raises(ValueError, match="but there are 10: it needs 10 logits"):
        with_class_logits(OneOutput(), Images(x, y.clamp_max(1), levels=1), list("0123456789"))


def test_a_probability_is_refused_of_whichever_class() -> None:
    x, y = digits()
    for labels in (y, 1 - y):
        assert "a probability, not a logit" in refusal(OneOutput(torch.sigmoid), x, labels)


def test_swapped_classes_are_named() -> None:
    x, y = (values[:40] for values in digits())
    _, said = with_class_logits(OneOutput(), Images(x, 1 - y, levels=1), ["one", "zero"])
    assert said[0].endswith("it says class 1 (zero) where z > 0")
    assert "more than by chance: if its z is the logit of class 0, return -z" in said[1]


def test_other_networks_stay_as_they_are() -> None:
    x, y = digits()
    model = WithBoth()
    assert with_class_logits(model, Images(x, y, levels=1)) == (model, [])


def test_a_wrapped_network_keeps_its_mode() -> None:
    model = TwoLogits(OneOutput().train())
    assert model.training and not model.eval().model.training


CODE = """
from torch import nn

class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 1)

    def forward(self, x):
        return self.linear(x.mean(dim=1).flatten(1)).squeeze(1)
"""


def test_from_a_file_on_a_folder_of_two_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    x, y = data.load("digits", "train").batch(torch.arange(800))
    for place, (image, label) in enumerate(zip(x[y < 2], y[y < 2], strict=True)):
        folder = tmp_path / "pictures" / f"class-{label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).byte().numpy()).save(folder / f"{place}.png")
    (tmp_path / "detector.py").write_text(CODE)
    torch.save(OneOutput().state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    spec = data.folder_spec(tmp_path / "pictures", image_size=8, root=tmp_path)
    source = ExternalModel("detector.py:Detector", tmp_path / "w.pt")
    with pytest.warns(UserWarning, match=SAID):
        result = api.evaluate_external(source, spec, "pgd20", eps=0.1, out=tmp_path / "runs", data_root=tmp_path)
    assert result["clean_accuracy"] >= 0.75 and "[0, z]" in result["warnings"][0]
