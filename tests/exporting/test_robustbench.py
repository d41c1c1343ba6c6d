"""RobustBench's networks, written anew in robustbench_networks.py, load our weights strictly and answer alike."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from advdpnp import api, data
from advdpnp.exporting.robustbench import architecture, as_linear, robustbench_weights
from advdpnp.models import build_backbone
from advdpnp.models.classifier import Backbone, Classifier, with_embedding
from advdpnp.models.heads import CosineHead, LinearHead, MultiHead, PrototypeHead
from advdpnp.models.preact_resnet import PreActResNet, WideResNet
from advdpnp.models.recalibration import RecalibratedBackbone
from advdpnp.models.resnet import ResNet

from .conftest import make_run, stirred
from .robustbench_networks import RbResNet, RbWideResNet

NARROW = (4, 8, 12, 16)


def classifier(backbone: Backbone, head: str, classes: int = 10) -> Classifier:
    torch.manual_seed(0)
    linear, prototypes = LinearHead(backbone.features, classes), PrototypeHead(backbone.features, classes, alpha=40.0)
    model = Classifier(backbone, linear if head == "linear" else prototypes)
    return stirred(model)  # type: ignore[return-value]


def apart(model: nn.Module, other: nn.Module, x: Tensor) -> float:
    """Largest difference of a logit, in float64, in units of the largest logit."""
    x = x.double()
    with torch.no_grad():
        logits = copy.deepcopy(model).double()(x)
        return ((copy.deepcopy(other).double().eval()(x) - logits).abs().max() / logits.abs().max()).item()


PAIRS = {
    "resnet": (lambda: ResNet((2, 2, 2, 2), NARROW), lambda: RbResNet((2, 2, 2, 2), NARROW, 10)),
    "resnet34": (lambda: ResNet((3, 4, 6, 3), NARROW), lambda: RbResNet((3, 4, 6, 3), NARROW, 10)),
    "preact": (
        lambda: PreActResNet((2, 2, 2, 2), NARROW, stem=4),
        lambda: RbResNet((2, 2, 2, 2), NARROW, 10, pre=True),
    ),
    "wrn-16-1": (lambda: WideResNet(16, 1), lambda: RbWideResNet(16, 1, 10)),
    "wrn-10-2": (lambda: WideResNet(10, 2), lambda: RbWideResNet(10, 2, 10)),
}


@pytest.mark.parametrize("head", ["linear", "prototypes"])
@pytest.mark.parametrize("pair", PAIRS)
def test_robustbench_networks_load_strictly_and_answer_alike(pair: str, head: str) -> None:
    ours, theirs = (make() for make in PAIRS[pair])
    model = classifier(ours, head)
    theirs.load_state_dict(robustbench_weights(model), strict=True)
    assert apart(model, theirs, torch.rand(5, 3, 32, 32)) < 1e-5


def test_several_heads_become_the_linear_layer_of_their_mean() -> None:
    head = MultiHead(5, 3, 4)
    embedding = torch.randn(6, 5)
    torch.testing.assert_close(functional.linear(embedding, *as_linear(head)), head(embedding))


def test_prototypes_become_a_linear_layer_without_bias() -> None:
    head = PrototypeHead(6, 4, alpha=40.0)
    weight, bias = as_linear(head)
    assert torch.equal(weight, head.prototypes.detach() / 40) and not bias.any()
    embedding = torch.randn(9, 6)
    assert torch.allclose(embedding @ weight.T + bias, head(embedding), atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        Classifier(build_backbone("tiny", (3, 32, 32)), LinearHead(64, 10)),
        Classifier(with_embedding(WideResNet(10, 1), "linear(9)"), LinearHead(9, 10)),
        Classifier(WideResNet(10, 1), CosineHead(64, 10, 15.0)),
        Classifier(RecalibratedBackbone(WideResNet(10, 1), 10), LinearHead(64, 10)),
    ],
    ids=["tiny", "linear(9)", "cosine head", "separation"],
)
def test_networks_without_counterpart_are_refused_in_one_line(model: Classifier) -> None:
    with pytest.raises(ValueError, match=r"^--format robustbench: .*choose another format$"):
        robustbench_weights(model)


@pytest.mark.parametrize("backbone", ["resnet8", "tiny", "lenets++"])
def test_names_without_counterpart_are_refused(backbone: str) -> None:
    with pytest.raises(ValueError, match="RobustBench has no network like"):
        architecture(backbone, (3, 32, 32), 10)


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="images of 3x32x32; got 1x28x28"):
        architecture("resnet18", (1, 28, 28), 10)


def test_architectures_are_called_as_on_the_leaderboard() -> None:
    labels = [architecture(name, (3, 32, 32), 10).label for name in ("resnet34", "preact-resnet18", "wrn-34-10")]
    assert labels == ["ResNet-34", "PreActResNet-18", "WideResNet-34-10"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, theirs",
    [
        ("resnet18/adv-dpnp", lambda: RbResNet((2, 2, 2, 2), (64, 128, 256, 512), 100)),
        ("preact-resnet18/at", lambda: RbResNet((2, 2, 2, 2), (64, 128, 256, 512), 100, pre=True)),
        ("wrn-16-4/adv-dpnp", lambda: RbWideResNet(16, 4, 100)),
    ],
)
@pytest.mark.data
def test_exported_files_of_full_size_answer_alike_on_real_images(
    name: str, theirs: object, tmp_path: Path, real_data: Path
) -> None:
    run = make_run(tmp_path / "run", f"cifar100/{name}")
    out = tmp_path / "out"
    api.export(run.folder, out, ["robustbench"], images=16, data_root=real_data)
    images, _ = data.load("cifar100", "test", real_data).batch(torch.arange(16))
    for stored in (
        torch.load(out / "robustbench.pt", weights_only=True)["state_dict"],
        load_file(out / "robustbench.safetensors"),
    ):
        network = theirs()  # type: ignore[operator]
        network.load_state_dict(stored, strict=True)
        assert apart(api.load(run.folder, device="cpu"), network, images) < 1e-5
