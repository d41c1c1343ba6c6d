"""The smallest eps of each image over a data set: no radius depends on how it was run."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from advdpnp.attacks import MinEps, Suite
from advdpnp.callbacks import Silent
from advdpnp.data import Images
from advdpnp.evaluation import Evaluation, evaluate, merge_shards
from advdpnp.metrics import unpack
from advdpnp.radii import unpack_radii
from advdpnp.results import read_evaluation
from advdpnp.runs import Json
from advdpnp.threat import distance
from attacks.linear import two_classes
from attacks.robust import digits, exact
from reference.hyperplane import displacement

N, EPS = 20, 0.15
ATTACK = MinEps(eps=EPS, boundary_steps=4, steps=3, bisections=4, targets=2)
FACTS: Json = {"data": "digits", "checkpoint": "made", "precision": "fp32"}


@functools.cache
def subject() -> tuple[nn.Module, Images]:
    model, x, y = exact(digits(N))
    # One image is wrong from the start.
    y[7] = (y[7] + 1) % 10
    return model, Images((x * 16).round().to(torch.uint8), y, levels=16)


def run(callback: Silent | None = None, **fields: Any) -> Json:
    wanted = {"suite": Suite("radii", "", (ATTACK,), None), "n": N, "facts": FACTS, "chunk": 32, "search_chunk": 8}
    return evaluate(*subject(), Evaluation(**wanted | fields), callback or Silent())


@functools.cache
def whole() -> Json:
    return run()


def radii(result: Json) -> np.ndarray:
    return unpack_radii(result["attacks"][0]["radii"], result["n"])


def test_radii_are_those_of_the_attack_called_by_itself() -> None:
    model, images = subject()
    x, y = images.batch(torch.arange(N))
    found = distance(ATTACK(model, x, y), x, "linf").detach().numpy()
    right = (model(x).argmax(dim=1) == y).numpy()
    expected = np.where(right, np.where(found > 0, found, np.inf), 0.0)
    np.testing.assert_allclose(
        radii(whole()), np.minimum(expected, np.where(np.isinf(expected), np.inf, EPS)), rtol=1e-6
    )
    # Each kind occurs: wrong from the start, broken, and not broken up to the largest radius.
    assert (expected == 0).any() and np.isfinite(expected[right]).any() and np.isinf(expected).any()


def test_robust_are_the_censored_images() -> None:
    row = whole()["attacks"][0]
    assert unpack(row["verdicts"], N).tolist() == np.isinf(radii(whole())).tolist()
    assert row["smallest_eps"]["censored"] == np.isinf(radii(whole())).sum() == row["attacked"] - row["broken"]
    assert row["smallest_eps"]["curve"]["robust_accuracy"][-1] == row["robust_accuracy"]
    assert row["smallest_eps"]["curve"]["robust_accuracy"][0] == whole()["clean_accuracy"]
    assert row["largest_norm"] == pytest.approx(radii(whole())[np.isfinite(radii(whole()))].max())


@pytest.mark.parametrize("batch_size", [8, 40])
def test_no_radius_depends_on_the_rows_in_flight(batch_size: int) -> None:
    assert np.array_equal(radii(run(batch_size=batch_size)), radii(whole()))


def test_shards_merge_to_the_whole() -> None:
    merged = merge_shards([run(shard=(part, 3)) for part in (1, 2, 3)])
    assert np.array_equal(radii(merged), radii(whole()))
    assert merged["attacks"][0]["smallest_eps"] == whole()["attacks"][0]["smallest_eps"]
    notes = " ".join(read_evaluation(merged).notes)
    assert "Min-eps-3 ℓ∞ 0.15: smallest eps found, median" in notes and "censored, not measured" in notes


class Interrupts(Silent):
    """Ctrl-C after some steps."""

    def __init__(self, after: int) -> None:
        self.after = after

    def on_steps(self, left: int, bound: float) -> None:
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


def test_an_interrupted_search_goes_on_image_by_image(tmp_path: Path) -> None:
    partial = tmp_path / "radii.partial.json"
    lefts: list[int] = []

    class Counts(Silent):
        def on_search(self, name: str, images: int, steps: int) -> None:
            lefts.append(steps)

    for after in (20, 25):
        with pytest.raises(KeyboardInterrupt):
            run(Interrupts(after), partial=partial, resume=True, batch_size=8)
    found = run(Counts(), partial=partial, resume=True, batch_size=8)
    assert np.array_equal(radii(found), radii(whole()))
    # What was over is not begun again.
    assert 0 < lefts[0] < whole()["attacks"][0]["attacked"] * ATTACK.length


@pytest.mark.parametrize("norm, widest", [("linf", 1.0), ("l2", 4.0)])
def test_radii_of_a_linear_network_are_the_distances_to_its_plane(norm: Any, widest: float) -> None:
    model = two_classes(16).float()
    x = torch.rand(8, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    y = model(x).argmax(dim=1)
    suite = Suite("radii", "", (MinEps(eps=widest, norm=norm, bisections=8),), None)
    row = evaluate(model, Images(x, y, levels=1), Evaluation(suite, 8, FACTS), Silent())["attacks"][0]
    w, b = model.weight[1].detach().double().numpy(), -model.bias[1].item()
    order = np.inf if norm == "linf" else 2
    exact = [np.linalg.norm(displacement(z.double().numpy().ravel(), w, b, norm), order) for z in x]
    ratio = unpack_radii(row["radii"], 8) / np.array(exact)
    assert (ratio > 1 - 1e-4).all() and (ratio < 1.006).all()
    assert row["smallest_eps"]["median"] == np.sort(unpack_radii(row["radii"], 8))[3]
