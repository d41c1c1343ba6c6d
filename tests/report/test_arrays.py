"""Arrays for figures, from files that anyone may have written: what they hold is drawn, or named and left out."""

import re
from typing import Any

import numpy as np
import pytest

from advdpnp.report.read import read_run
from advdpnp.report.similarity import stored_similarity
from advdpnp.runs import Run

from .conftest import MakeRun


@pytest.mark.parametrize(
    ("name", "changed", "problem"),
    [
        ("samples", {"attack": np.array(["fgsm"])}, r"attack is <U4 of the shape \(1,\), not a text"),
        ("samples", {"attack": np.array([], str)}, "not a text"),
        ("embedding", {"attack": np.array(3.0)}, r"attack is float64 of the shape \(\), not a text"),
        ("samples", {"class_names": np.array("abc")}, "class_names is <U3 .*, not a list of texts"),
        ("embedding", {"class_names": np.array([["a"], ["b"], ["c"]])}, "not a list of texts"),
        ("samples", {"adversarial": 255.0}, "adversarial has numbers below 0 or above 1"),
        ("samples", {"clean": -0.01}, "clean has numbers below 0 or above 1"),
        ("embedding", {"clean": 1e38}, r"clean has numbers below -1e\+30 or above 1e\+30"),
    ],
)
def test_what_is_no_text_and_what_is_no_pixel_is_named(
    make_run: MakeRun, name: str, changed: dict[str, Any], problem: str
) -> None:
    folder = make_run(everything=True)
    path = folder / "eval" / f"{name}.npz"
    with np.load(path) as stored:
        arrays = dict(stored)
    for key, value in changed.items():
        arrays[key] = value if isinstance(value, np.ndarray) else np.full_like(arrays[key], value)
    np.savez_compressed(path, **arrays)
    run = read_run(folder)
    assert getattr(run, name) is None
    (unread,) = (one for one in run.unread if one.path == path)
    assert re.search(rf"{name}\.npz is damaged .*{problem}", unread.reason)


@pytest.mark.parametrize("changed", [{"cosines": np.full((2, 2), 1.5)}, {"norms": np.array([1.0, -40.0])}])
def test_no_cosine_is_above_1_and_no_norm_below_0(make_run: MakeRun, changed: dict[str, Any]) -> None:
    folder = make_run()
    whole = {"cosines": np.eye(2), "norms": np.ones(2), "class_names": np.array(["a", "b"]), "checkpoint": np.array("")}
    np.savez_compressed(folder / "eval" / "centers.npz", **whole)
    assert stored_similarity(Run(folder)) is not None
    np.savez_compressed(folder / "eval" / "centers.npz", **whole | changed)
    with pytest.raises(ValueError, match=r"centers\.npz is damaged .* has numbers below"):
        stored_similarity(Run(folder))
