"""Values of the paper's columns, image by image."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from advdpnp.report.paper_values import Paired, apart, paired, value_of
from advdpnp.report.published.tables import TABLE_2
from advdpnp.report.read import read_run
from report.conftest import change_json, wilson

HERE: dict[str, Any] = {"data": "cifar10", "backbone": "resnet18", "recipe": "paper", "n": 16}
PGD, CW = (("pgd", "8/255", steps, "0.8/255") for steps in (20, 100)), ("cw", "8/255", 30, "0.8/255")
FSR = (("fgsm", "8/255", 1, "8/255"), *PGD, CW)
ENSEMBLE = TABLE_2.columns[-1]


def packed(right: set[int]) -> str:
    bits = "".join("1" if image in right else "0" for image in range(16))
    return base64.b64encode(int(bits, 2).to_bytes(2, "big")).decode()


@pytest.fixture
def make_fsr(make_run: Callable[..., Path]) -> Callable[..., Path]:
    """A run whose Ensemble is of images that are right under each attack."""

    def make(defense: str, clean: set[int], *under: set[int]) -> Path:
        shares = tuple(len(right) / 16 for right in under)
        folder = make_run(defense, **HERE, suite="fsr", attacks=FSR, clean=len(clean) / 16, robust=shares)
        path = folder / "eval" / "fsr.json"
        rows = read_run(folder).suites[0].rows
        attacks = [
            {"name": row.key.name, "norm": "linf", "eps": "8/255", "steps": row.key.steps, "restarts": 1,
             "step_size": row.key.step_size, "random_start": row.key.random_start, "robust_accuracy": share,
             "interval95": row.interval95, "seconds": 1.0, "verdicts": packed(right)}
            for row, share, right in zip(rows, shares, under, strict=True)
        ]  # fmt: skip
        worst = len(set.intersection(clean, *under)) / 16
        change_json(path, attacks=attacks, clean_verdicts=packed(clean), worst_case_accuracy=worst,
                    worst_case_interval95=wilson(worst, 16))  # fmt: skip
        return folder

    return make


def test_an_ensemble_is_right_where_all_of_its_attacks_leave_the_image(make_fsr: Callable[..., Path]) -> None:
    everything = {*range(16)}
    # At least one attack breaks 9, 10, 11 and 12 of the one; 0 to 8 of the other, and one of its images is wrong.
    better = make_fsr("at", everything, *(everything - {image} for image in (9, 10, 11, 12)))
    worse = make_fsr("hat", everything - {15}, everything - {0, 1}, everything - {2, 3}, everything - {4},
                     everything - {5, 6, 7, 8})  # fmt: skip
    first, second = (value_of(ENSEMBLE, read_run(folder)) for folder in (better, worse))
    assert first is not None and second is not None
    assert (first.number, second.number) == (75.0, 37.5)
    # Right in the first alone: 0 to 8 and 15; in the second alone: 9 to 12. 2 P(at most 4 of 14) = 2 * 1471 / 2^14.
    found = paired(first, second)
    assert found == Paired(10, 4, 16) and found.p == pytest.approx(2 * 1471 / 2**14)
    assert not apart([first], [second])


def test_an_ensemble_without_all_verdicts_is_not_compared(make_fsr: Callable[..., Path]) -> None:
    everything = {*range(16)}
    folder = make_fsr("at", everything, everything, everything, everything, everything)
    change_json(folder / "eval" / "fsr.json", clean_verdicts="")
    value = value_of(ENSEMBLE, read_run(folder))
    assert value is not None and value.verdicts is None and paired(value, value) is None
