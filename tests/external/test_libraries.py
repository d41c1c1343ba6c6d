"""Networks of timm, torchvision and RobustBench by name, with stand-ins for these packages (`stand_ins.py`)."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp import data
from advdpnp.api.named_data import usual_size
from advdpnp.external import ExternalModel, build
from advdpnp.external.heads import stored_classes
from advdpnp.models.libraries import LIBRARIES, is_library_name, network_by_name
from external.stand_ins import libraries, no_libraries

__all__ = ["libraries", "no_libraries"]

CIFAR, DIGITS = data.spec("cifar10"), data.spec("digits")


def opened(reference: str, spec: data.DataSpec = CIFAR, **fields: Any) -> nn.Module:
    source, _ = ExternalModel(reference, **fields).with_usual_normalization(spec)
    return source.open(spec)[0]


def module(name: str) -> Any:
    return sys.modules[name]


def normalized(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return (x - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


@pytest.mark.parametrize(
    ("reference", "known"),
    [("timm:small", True), ("robustbench:A/Linf", True), ("timm", False), ("timm:", False), ("net.py:Net", False)],
)
def test_a_library_s_name_has_its_package_before_the_colon(reference: str, known: bool) -> None:
    assert is_library_name(reference) is known


@pytest.mark.usefixtures("no_libraries")
@pytest.mark.parametrize(
    ("reference", "package"),
    [("timm:x", "timm"), ("torchvision:x", "torchvision"), ("robustbench:x/L2", "robustbench")],
)
def test_a_missing_package_is_one_line_with_the_command(reference: str, package: str) -> None:
    network = network_by_name(reference, "cifar10")
    for ask in (network.preprocessing, network.pretrained_classes, lambda: network.untrained((3, 8, 8), 10, {})):
        with pytest.raises(ValueError, match=f"^{reference} needs the {package} package: pip install {package}$"):
            ask()


def test_a_package_that_does_not_import_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(ValueError, match=r"timm cannot be imported \(RuntimeError: operator.*a torch of one kind"):
        build("timm:resnet18", {}, 10, (1, 8, 8))


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("timm:smal", "timm has no model 'smal'; nearest: small"),
        ("timm:small.frist", "timm has no weights 'small.frist'; nearest: small.first, small.second"),
        ("torchvision:resnt", "torchvision has no classifier 'resnt'; nearest: resnet"),
        ("torchvision:fcn_resnet", "torchvision has no classifier 'fcn_resnet'"),
        ("torchvision:resnet/IMAGENET_V1", "no weights 'IMAGENET_V1' of resnet; nearest: IMAGENET1K_V1"),
        ("robustbench:Robust2018/Linf", "no model 'Robust2018' for cifar10 and Linf; nearest: Robust2019"),
        ("robustbench:Robust2019/L2", "no model 'Robust2019' for cifar10 and L2"),
        ("robustbench:Robust2019", "robustbench:NAME/THREAT, THREAT one of Linf, L2"),
        ("robustbench:Robust2019/L3", "robustbench:NAME/THREAT, THREAT one of Linf, L2"),
        ("timm:unlucky", "no pretrained weights of unlucky: give some as --weights FILE, or --untrained"),
        ("torchvision:untaught", "no pretrained weights of untaught: give some as --weights FILE, or --untrained"),
        ("timm:small", "the pretrained weights for timm:small know 7 classes, but cifar10 has 10"),
    ],
)
def test_a_name_that_is_none_and_weights_that_are_none_are_one_line(reference: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        opened(reference)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize("reference", ["timm:gray", "torchvision:resnet", "robustbench:Robust2019/Linf"])
def test_without_the_network_the_cure_names_a_file_and_untrained(
    reference: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("ADVDPNP_DATA", str(tmp_path))
    with pytest.raises(
        ValueError, match=r"^the pretrained weights of .* cannot be had .*--weights FILE, or --untrained"
    ):
        opened(reference, DIGITS if reference == "timm:gray" else CIFAR)
    assert isinstance(opened(reference, as_built="untrained"), nn.Module)


@pytest.mark.usefixtures("libraries")
def test_timm_gives_its_pretrained_weights_and_their_normalization() -> None:
    x = torch.rand(3, 1, 8, 8)
    network_by_name("timm:gray").preprocessing()
    network = module("timm").create_model("gray", in_chans=1, num_classes=10).eval()
    module("timm").HUB["gray"] = network.state_dict()
    module("timm")._CFGS["gray.only"] = module("timm").PretrainedCfg(**module("timm").GRAY)
    assert torch.equal(opened_with_ten_classes("timm:gray")(x), network(normalized(x, (0.3,), (0.4,))))
    given = opened_with_ten_classes("timm:gray", mean=(0.0,), std=(1.0,))
    assert torch.equal(given(x), network(x))


def opened_with_ten_classes(reference: str, **fields: Any) -> nn.Module:
    """The stand-in builds seven classes unless it is told."""
    return opened(reference, DIGITS, arguments={"num_classes": 10}, **fields)


@pytest.mark.usefixtures("libraries")
def test_the_normalization_is_said_and_stored_and_one_for_other_channels_is_left_out() -> None:
    source, said = ExternalModel("timm:small", as_built="untrained").with_usual_normalization(CIFAR)
    assert source.mean == (0.5, 0.25, 0.125) and "--mean 0.5,0.25,0.125 --std 0.5,0.5,0.5" in said[0]
    assert source.config(CIFAR, source.open(CIFAR)[0])["foreign"]["mean"] == [0.5, 0.25, 0.125]
    assert ExternalModel("timm:small", as_built="untrained").with_usual_normalization(DIGITS)[0].mean == ()
    # A tag of timm, and an entry of torchvision's weights, have their own.
    assert ExternalModel("timm:small.second").with_usual_normalization(CIFAR)[0].mean == (0.0, 0.0, 0.0)
    assert ExternalModel("torchvision:resnet").with_usual_normalization(CIFAR)[0].mean == (0.2, 0.2, 0.2)
    first = ExternalModel("torchvision:resnet/IMAGENET1K_V1").with_usual_normalization(CIFAR)[0]
    assert first.mean == (0.1, 0.1, 0.1)
    assert ExternalModel("robustbench:Robust2019/Linf").with_usual_normalization(CIFAR)[0].mean == ()


@pytest.mark.usefixtures("libraries")
def test_torchvision_gives_the_entry_that_is_named() -> None:
    network_by_name("torchvision:resnet").preprocessing()
    models, x = module("torchvision.models"), torch.rand(2, 3, 32, 32)
    networks = {address: models.ResNet().eval() for address in ("v1", "v2")}
    models.HUB.update({address: network.state_dict() for address, network in networks.items()})
    for reference, address, mean in (
        ("torchvision:resnet", "v2", 0.2),
        ("torchvision:resnet/DEFAULT", "v2", 0.2),
        ("torchvision:resnet/IMAGENET1K_V1", "v1", 0.1),
    ):
        assert torch.equal(opened(reference)(x), networks[address](normalized(x, (mean,) * 3, (0.5,) * 3)))
    with pytest.raises(ValueError, match="takes images of 3 channels; got 1"):
        opened("torchvision:resnet", DIGITS, as_built="untrained")


@pytest.mark.usefixtures("libraries")
def test_a_vision_transformer_is_built_for_the_images_and_others_for_any() -> None:
    assert network_by_name("timm:sized").untrained((3, 32, 32), 10, {}).img_size == 32
    assert network_by_name("timm:sized").untrained((3, 24, 24), 10, {}).img_size == 24
    assert network_by_name("timm:small").untrained((4, 32, 32), 10, {"width": 9}).fc.weight.shape == (10, 9)
    with pytest.raises(ValueError, match=r"cannot be built with pretrained=False, num_classes=10, wide=9 \(TypeError"):
        network_by_name("timm:small").untrained((4, 32, 32), 10, {"wide": 9})


@pytest.mark.usefixtures("libraries")
def test_a_file_of_weights_for_other_classes_is_said_before_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "w.pt"
    network = network_by_name("timm:small").untrained((3, 32, 32), 4, {}).eval()
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, file)
    with pytest.raises(ValueError, match=r"w\.pt for timm:small know 4 classes, but cifar10 has 10"):
        opened("timm:small", weights=file)
    x = torch.rand(2, 3, 32, 32)
    expected = network(normalized(x, (0.5, 0.25, 0.125), (0.5, 0.5, 0.5)))
    assert torch.equal(opened("timm:small", weights=file, arguments={"num_classes": 4})(x), expected)


@pytest.mark.usefixtures("libraries")
def test_a_network_without_a_linear_last_layer_is_evaluated_with_a_file_too(tmp_path: Path) -> None:
    network = network_by_name("timm:convolved").untrained((3, 32, 32), 10, {})
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert opened("timm:convolved", weights=tmp_path / "w.pt")(torch.rand(2, 3, 32, 32)).shape == (2, 10)


@pytest.mark.usefixtures("libraries")
def test_robustbench_reads_a_local_file_by_its_own_rules(tmp_path: Path) -> None:
    network, x = (
        network_by_name("robustbench:Robust2019/Linf", "cifar10").untrained((3, 32, 32), 10, {}),
        torch.rand(2, 3, 4, 4),
    )
    # A prefix that only RobustBench takes off here.
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "own.pt")
    source = ExternalModel("robustbench:Robust2019/Linf", tmp_path / "own.pt")
    assert torch.equal(source.open(CIFAR)[0](x), network(x))
    assert source.name == "Robust2019-Linf" and source.checkpoint == "own.pt"
    named = network_by_name("robustbench:cifar10/Robust2019/Linf", "folder-photos")
    assert named.complete == "robustbench:cifar10/Robust2019/Linf" and named.pretrained_classes() == 10
    assert network_by_name("robustbench:Robust2019/Linf", "cifar10-c-fog").complete == named.complete
    torch.save({"other": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"do not fit robustbench:Robust2019/Linf \(RuntimeError"):
        ExternalModel("robustbench:Robust2019/Linf", tmp_path / "other.pt").open(CIFAR)
    with pytest.raises(ValueError, match="no single file of weights: leave --weights out"):
        ExternalModel("robustbench:Several2020/Linf", tmp_path / "own.pt").open(CIFAR)
    with pytest.raises(ValueError, match="for cifar10, cifar100, imagenet; got digits: say which is meant"):
        ExternalModel("robustbench:Robust2019/Linf", tmp_path / "own.pt").open(DIGITS)


@pytest.mark.usefixtures("libraries")
def test_a_network_that_is_meant_for_another_norm_says_so() -> None:
    assert network_by_name("robustbench:Robust2019/L2", "cifar10").remark.endswith("perturbations in l2: --norm l2")
    assert network_by_name("robustbench:Robust2019/corruptions_3d").remark.endswith("common corruptions, not attacks")
    _, said = ExternalModel("robustbench:Robust2019/Linf").with_usual_normalization(CIFAR)
    assert said == []


def test_what_a_library_prints_is_no_answer_of_a_command(
    libraries: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="cannot be had"):
        network_by_name("robustbench:Robust2019/Linf", "cifar10").pretrained((3, 32, 32), {}, tmp_path)
    printed = capsys.readouterr()
    assert "Downloading" in printed.err and not printed.out


def test_the_classes_of_a_file_are_those_of_its_last_layer() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5))
    weight = torch.zeros(9, 4)
    for content in ({"1.weight": weight}, {"module.1.weight": weight}, {"net": [{"x.1.weight": weight}]}):
        assert stored_classes(content, "1", network) == 9
    for content in ({}, {"11.weight": weight}, {"1.weight": torch.zeros(9, 3)}, [1], None):
        assert stored_classes(content, "1", network) is None


@pytest.mark.usefixtures("libraries")
@pytest.mark.parametrize(
    ("where", "asked", "model", "side"),
    [
        ("folder:photos", None, "timm:small", 24),
        ("folder:photos", None, "torchvision:resnet", 24),
        ("folder:photos", 40, "timm:small", 40),
        ("folder:photos", None, "resnet18", None),
        ("cifar10", None, "timm:small", None),
    ],
)
def test_a_folder_s_images_have_the_size_of_the_network_s_training(
    where: str, asked: int | None, model: str, side: int | None
) -> None:
    said: list[str] = []
    assert usual_size(where, asked, model, said.append) == side
    wanted = [f"images of 24x24 pixels, as {model} was trained with: --image-size changes it"]
    assert said == (wanted if side == 24 else [])


def test_every_library_says_its_form() -> None:
    assert all(kind.form.startswith(f"{package}:") for package, kind in LIBRARIES.items())
