"""Under torch.set_default_dtype(torch.float64) everything is what it is without, bit for bit."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from advdpnp import api, data
from advdpnp.dtype import float32_default
from advdpnp.experiments import experiment
from advdpnp.external import ExternalModel, Normalized
from advdpnp.runs import Run

SETTINGS = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=40", "recipe.attack.steps=1")
SETTINGS += ("recipe.averaging.kind=swa", "recipe.attack.ramp=1")


def run(out: Path) -> Run:
    return api.train(experiment("digits/tiny/adv-dpnp", settings=SETTINGS), out, device="cpu")


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(tmp_path_factory.mktemp("usual"))


@pytest.fixture
def doubles(usual: Run) -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    assert torch.get_default_dtype() == torch.float64
    torch.set_default_dtype(torch.float32)


def test_the_default_is_float32_inside_and_the_callers_outside_even_after_an_error(doubles: None) -> None:
    with pytest.raises(KeyError), float32_default():
        assert torch.zeros(1).dtype == torch.float32
        raise KeyError
    assert torch.zeros(1).dtype == torch.float64


def test_training_stores_the_same_weights(usual: Run, doubles: None, tmp_path: Path) -> None:
    again = run(tmp_path)
    for which in ("last", "best"):
        assert again.weights_path(which).read_bytes() == usual.weights_path(which).read_bytes()


def test_a_loaded_network_answers_and_explains_the_same(usual: Run, doubles: None) -> None:
    x = data.load("digits", "test").batch(torch.arange(7))[0]
    model = api.load(usual.folder, device="cpu")
    logits, found = model(x), api.predict(usual.folder, x, device="cpu")
    assert logits.dtype == torch.float32 and model.class_centers().dtype == torch.float32
    torch.set_default_dtype(torch.float32)
    expected = api.load(usual.folder, device="cpu")
    try:
        assert torch.equal(expected(x), logits)
        assert api.predict(usual.folder, x, device="cpu").json() == found.json()
    finally:
        torch.set_default_dtype(torch.float64)


def test_exports_are_the_same_and_are_read(usual: Run, doubles: None, tmp_path: Path) -> None:
    api.export(usual.folder, tmp_path / "doubles", ["safetensors", "torch-export"])
    torch.set_default_dtype(torch.float32)
    api.export(usual.folder, tmp_path / "usual", ["safetensors"])
    torch.set_default_dtype(torch.float64)
    name = "model.safetensors"
    assert (tmp_path / "doubles" / name).read_bytes() == (tmp_path / "usual" / name).read_bytes()
    spec = data.spec("digits")
    model, _ = ExternalModel(str(tmp_path / "doubles" / "model.pt2"), mean=(0.0,), std=(1.0,)).open(spec)
    x = data.load("digits", "test").batch(torch.arange(7))[0]
    assert torch.equal(model(x), api.load(usual.folder, device="cpu")(x))


def test_normalization_keeps_images_in_float32(doubles: None) -> None:
    assert Normalized(torch.nn.Identity(), [0.5], [0.25])(torch.zeros(1, 1, 2, 2, dtype=torch.float32)).dtype == (
        torch.float32
    )
