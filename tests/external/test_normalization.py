"""Mean and std as people have them: fractions, one for all channels, of bytes; and what cannot be meant."""

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from advdpnp import cli
from advdpnp.external import ExternalModel, Normalized
from advdpnp.external.normalization import unit_scale

MEAN, STD = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)
UNIT_MEAN, UNIT_STD = tuple(value / 255 for value in MEAN), tuple(value / 255 for value in STD)


class Linear(nn.Module):
    """Logits that read every pixel."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("weight", torch.randn(3 * 16, 10, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = x.flatten(1) @ self.weight
        return logits


def normalized(mean: Any, std: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Normalized(Linear(), mean, std).eval()


def test_numbers_of_bytes_give_the_very_logits_of_those_of_0_to_1() -> None:
    x = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    of_bytes, of_unit = normalized(MEAN, STD)(x), normalized(UNIT_MEAN, UNIT_STD)(x)
    assert torch.equal(of_bytes, of_unit)
    # By hand, in float64: the network of bytes, on bytes.
    mean, std = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (MEAN, STD))
    expected = ((255 * x.double() - mean) / std).flatten(1) @ Linear().weight.double()
    torch.testing.assert_close(of_bytes.double(), expected, rtol=1e-5, atol=1e-4)


def test_numbers_of_bytes_are_understood_and_said() -> None:
    source = ExternalModel("torch.nn:Identity", mean=MEAN, std=STD)
    assert (source.mean, source.std) == (UNIT_MEAN, UNIT_STD)
    assert (
        "divided by 255" in source.understood and "0.4914,0.4824,0.4467 and 0.2471,0.2435,0.2616" in source.understood
    )
    assert ExternalModel("torch.nn:Identity", mean=UNIT_MEAN, std=UNIT_STD).understood == ""
    with pytest.warns(UserWarning, match="taken for those of bytes"):
        Normalized(Linear(), MEAN, STD)


@pytest.mark.parametrize(
    ("mean", "std", "unit_mean", "unit_std"),
    [
        ((0.5,), (0.2, 0.25, 0.3), (0.5, 0.5, 0.5), (0.2, 0.25, 0.3)),
        ((0.4, 0.5, 0.6), (0.25,), (0.4, 0.5, 0.6), (0.25, 0.25, 0.25)),
        ((127.5,), (127.5,), (0.5,), (0.5,)),
        # Networks of bytes that are not divided, as Caffe's.
        ((102.0, 51.0, 0.0), (1.0, 1.0, 1.0), (0.4, 0.2, 0.0), (1 / 255, 1 / 255, 1 / 255)),
        ((0.0,), (255.0,), (0.0,), (1.0,)),
        ((0.0,), (1.0,), (0.0,), (1.0,)),
        ((-1.0,), (2.0,), (-1.0,), (2.0,)),
        ((0.0,), (0.003922,), (0.0,), (0.003922,)),
        ((), (), (), ()),
    ],
)
def test_one_number_stands_for_all_channels_and_the_scale_is_told_by_the_numbers(
    mean: Any, std: Any, unit_mean: Any, unit_std: Any
) -> None:
    assert unit_scale(mean, std)[:2] == (unit_mean, unit_std)


@pytest.mark.parametrize(
    ("mean", "std", "cure"),
    [
        (MEAN, (0.25, 0.24, 0.26), "--mean 125.3/255,123/255,113.9/255 --std 0.25,0.24,0.26"),
        ((0.49, 0.48, 0.45), STD, "--mean 0.49,0.48,0.45 --std 63/255,62.1/255,66.7/255"),
        ((125.3, 0.48, 0.45), STD, "--mean 125.3/255,0.48,0.45 --std 63/255,62.1/255,66.7/255"),
    ],
)
def test_numbers_of_both_scales_are_refused_with_those_to_give(mean: Any, std: Any, cure: str) -> None:
    for make in (
        lambda: ExternalModel("torch.nn:Identity", mean=mean, std=std),
        lambda: Normalized(Linear(), mean, std),
    ):
        with pytest.raises(ValueError) as refused:
            make()
        assert cure in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(("mean", "std"), [((0.5,), ()), ((), (0.5,)), ((0.5, 0.5), (0.1, 0.2, 0.3))])
def test_counts_that_do_not_go_together_are_refused(mean: Any, std: Any) -> None:
    with pytest.raises(ValueError, match=r"--mean and --std go together.*got"):
        ExternalModel("torch.nn:Identity", mean=mean, std=std)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ("125.3/255,123/255,113.9/255", "63/255, 62.1/255, 66.7/255"),
        ("125.3,123.0,113.9", "63.0,62.1,66.7"),
    ],
)
def test_the_command_line_takes_fractions_and_bytes(
    mean: str, std: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found: list[ExternalModel] = []

    def evaluated(source: ExternalModel, *_: object, **__: object) -> Any:
        found.append(source)
        raise ValueError("seen")

    monkeypatch.setattr("advdpnp.api.evaluate_external", evaluated)
    arguments = ["--model", "torch.nn:Identity", "--data", "cifar10", "--mean", mean, "--std", std]
    monkeypatch.setattr(sys, "argv", ["advdpnp", "evaluate", *arguments])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err == "advdpnp: seen\n"
    assert found[0].mean == pytest.approx(UNIT_MEAN, rel=1e-15) and found[0].std == pytest.approx(UNIT_STD, rel=1e-15)
