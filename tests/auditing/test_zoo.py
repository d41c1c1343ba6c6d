"""The audit's verdict on the networks of the zoo.

An audit takes some ten seconds, and the zoo is large: those that are refused at once are judged always, one of each
kind among the slow tests, and all of them with `ADVDPNP_ZOO=all python -m pytest -m slow tests/auditing`.
"""

import os
from collections.abc import Iterable
from typing import Any

import pytest

import advdpnp
from auditing import fakes_gradients, fakes_inputs, fakes_logits, fakes_state, honest
from auditing.bases import base, images
from auditing.zoo import FAKES, HONEST, Specimen

FILES = (fakes_gradients, fakes_inputs, fakes_logits, fakes_state, honest)
IMAGES = 64
# One of each kind.
OF_EACH_KIND = {
    "logits-x100",
    "tiny-logits",
    "reversed-rivals",
    "half-detached-stem",
    "overfit-to-one-step",
    "undefended",
    "logits-x10-cnn",
    "one-logit",
}


def cases(zoo: Iterable[Specimen]) -> list[Any]:
    """The networks of the zoo that are judged, as parameters of a test."""
    found = []
    for specimen in zoo:
        marks = [] if specimen.accepted == ("refused",) else [pytest.mark.slow]
        if marks and specimen.name not in OF_EACH_KIND and os.environ.get("ADVDPNP_ZOO") != "all":
            continue
        if specimen.missed:
            marks.append(pytest.mark.xfail(strict=True, raises=AssertionError, reason=specimen.missed))
        marks += [pytest.mark.data] if specimen.base == "mnist" else []
        found.append(pytest.param(specimen, id=specimen.name, marks=marks))
    return found


def judge(specimen: Specimen, n: int = IMAGES) -> Any:
    x, y = images(specimen.base, n)
    return advdpnp.audit(specimen.build(base(specimen.base)), x, y, eps=specimen.eps, norm=specimen.norm)


@pytest.mark.parametrize("specimen", cases(FAKES))
def test_a_fake_is_caught(specimen: Specimen) -> None:
    result = judge(specimen)
    assert result.verdict in specimen.accepted, f"{specimen.says}\n{result}"


@pytest.mark.parametrize("specimen", cases(HONEST))
def test_an_honest_network_passes(specimen: Specimen) -> None:
    result = judge(specimen)
    assert result.verdict in specimen.accepted, f"{specimen.says}\n{result}"


def test_the_zoo_is_large_and_its_names_differ() -> None:
    names = [specimen.name for specimen in FAKES + HONEST]
    assert len(names) == len(set(names)) and set(names) >= OF_EACH_KIND
    assert len(FAKES) >= 40 and len(HONEST) >= 15
    assert {specimen.norm for specimen in FAKES} == {specimen.norm for specimen in HONEST} == {"linf", "l2"}
    assert all(specimen.says.endswith((".", ")")) for specimen in FAKES + HONEST)
