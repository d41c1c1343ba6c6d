"""What every registered metric keeps, whatever it measures."""

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from advdpnp import metrics
from advdpnp.metrics import CENTER_METRICS, FEATURE_METRICS
from advdpnp.metrics.metric import Metric, OfCenters

CLASSES = 4
EVERY = [*FEATURE_METRICS, *CENTER_METRICS]


def samples() -> tuple[Tensor, Tensor, Tensor]:
    """Features (N, D), labels (N,) and class centers (C, D) of noisy classes of unequal size, and one without any."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(CLASSES - 1).repeat_interleave(torch.tensor([5, 9, 6]))
    centers = 2 * torch.randn(CLASSES, 6, generator=generator)
    return centers[labels] + torch.randn(len(labels), 6, generator=generator), labels, centers


def measured(name: str, features: Tensor, labels: Tensor, centers: Tensor) -> float:
    if name in FEATURE_METRICS:
        return metrics.measured([FEATURE_METRICS[name]], features, labels, centers)[name]
    return metrics.measured([CENTER_METRICS[name]], centers)[name]


def test_names_are_keys_and_no_two_metrics_share_a_name_or_a_title() -> None:
    every: list[Metric[Any]] = [*FEATURE_METRICS.values(), *CENTER_METRICS.values()]
    assert [metric.name for metric in every] == EVERY
    assert len(set(EVERY)) == len(EVERY) == len({metric.title for metric in every})
    # What a result has beside metrics.
    assert not {"clean", "adversarial", "declared", "attack"} & set(EVERY)


@pytest.mark.parametrize("name", EVERY)
def test_the_value_is_a_finite_float_that_json_holds(name: str) -> None:
    value = measured(name, *samples())
    assert isinstance(value, float) and math.isfinite(value) and json.loads(json.dumps(value)) == value


@pytest.mark.parametrize("name", EVERY)
def test_neither_the_order_of_images_nor_the_numbering_of_classes_matters(name: str) -> None:
    features, labels, centers = samples()
    value = measured(name, features, labels, centers)
    order, classes = torch.randperm(len(labels)), torch.tensor([2, 0, 3, 1])
    renamed = torch.empty_like(centers)
    renamed[classes] = centers
    assert measured(name, features[order], classes[labels[order]], renamed) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_its_input_stays_as_it_is(name: str) -> None:
    given, before = samples(), samples()
    measured(name, *given)
    assert all(torch.equal(one, other) for one, other in zip(given, before, strict=True))


def test_numbers_of_one_computation_are_computed_once() -> None:
    calls: list[int] = []

    def both(centers: Tensor) -> complex:
        calls.append(len(centers))
        return complex(1.5, -2.0)

    parts = [Metric[OfCenters](name=part, title=part, measure=both, part=part) for part in ("real", "imag")]
    assert metrics.measured(parts, torch.zeros(3, 2)) == {"real": 1.5, "imag": -2.0}
    assert calls == [3]
    fdr_metrics = [metric for name, metric in FEATURE_METRICS.items() if name.startswith("fdr")]
    assert len(fdr_metrics) == 3 and len({metric.measure for metric in fdr_metrics}) == 1
