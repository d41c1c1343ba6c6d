"""The audit's verdict on every network of the zoo."""

from typing import Any

import pytest

import advdpnp
from audit import fakes_gradients, fakes_inputs, fakes_logits, fakes_state, honest
from audit.bases import base, digits, parity
from audit.zoo import FAKES, HONEST, Specimen

MODULES = (fakes_gradients, fakes_inputs, fakes_logits, fakes_state, honest)
IMAGES = 32


def judged(specimen: Specimen, n: int = IMAGES) -> Any:
    x, y = digits(n)
    model = specimen.build(base(specimen.base))
    return advdpnp.audit(model, x, parity(y) if specimen.base == "binary" else y, eps=specimen.eps)


@pytest.mark.parametrize("specimen", FAKES, ids=lambda specimen: specimen.name)
def test_a_fake_is_caught(specimen: Specimen) -> None:
    result = judged(specimen)
    assert result.verdict in specimen.accepted, f"{specimen.says}\n{result}"


@pytest.mark.parametrize("specimen", HONEST, ids=lambda specimen: specimen.name)
def test_an_honest_network_passes(specimen: Specimen) -> None:
    result = judged(specimen)
    assert result.verdict in specimen.accepted, f"{specimen.says}\n{result}"


def test_the_zoo_is_large_and_its_names_differ() -> None:
    names = [specimen.name for specimen in FAKES + HONEST]
    assert len(names) == len(set(names))
    assert len(FAKES) >= 40
    assert len(HONEST) >= 15
