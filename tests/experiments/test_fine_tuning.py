"""Networks of other libraries, and of code, trained further: first weights, normalization, and what a run stores."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from advdpnp import api, cli, data, models
from advdpnp.api.fine_tuning import load_initial
from advdpnp.callbacks import StopTraining
from advdpnp.data import SPECS
from advdpnp.experiments import Experiment, Initial, experiment, from_config
from advdpnp.external import allow
from advdpnp.models.adapted import Adapted
from advdpnp.models.classifier import Classifier
from advdpnp.models.libraries import network_by_name
from external.stand_ins import libraries

__all__ = ["libraries"]

SHORT = ("recipe.epochs=1", "recipe.train_images=64", "recipe.holdout=0", "recipe.attack.steps=1")
# Nothing changes in a network without BatchNorm.
STILL = (*SHORT, "recipe.lr=0", "recipe.weight_decay=0")


class Notes:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_note(self, text: str) -> None:
        self.texts.append(text)

    def on_step(self, *numbers: int) -> None: ...

    def on_epoch(self, line: dict[str, Any]) -> None: ...


@pytest.fixture
def gray(libraries: None, tmp_path: Path) -> nn.Module:
    """timm's network for digits with weights in w.pt, and in the hub, where it has ten classes."""
    network = network_by_name("timm:gray").untrained((1, 8, 8), 10, {}).eval()
    torch.save({"model": network.state_dict()}, tmp_path / "w.pt")
    return network


def described(tmp_path: Path, defense: str = "at", settings: tuple[str, ...] = STILL, **initial: Any) -> Experiment:
    first = Initial(**({"weights": str(tmp_path / "w.pt")} | initial))
    return experiment(f"digits/timm:gray/{defense}", settings=settings, initial=first)


def digits(count: int = 20) -> Tensor:
    return data.load("digits", "test").batch(torch.arange(count))[0]


def test_a_network_begins_with_its_file_and_keeps_its_last_layer_where_the_classes_are_as_many(
    gray: nn.Module, tmp_path: Path
) -> None:
    notes = Notes()
    run = api.train(described(tmp_path), tmp_path / "runs", callback=notes)
    x = digits()
    with torch.no_grad():
        expected = gray((x - 0.3) / 0.4)
        torch.testing.assert_close(api.load(run.folder)(x), expected, rtol=0, atol=1e-6)
    assert run.folder == tmp_path / "runs/digits/timm-gray/at/seed-0"
    assert "last one, for 10 classes, is kept" in " ".join(notes.texts)
    assert "mean 0.3 and std 0.4" in " ".join(notes.texts)
    assert "recipe.lr=0, recipe.epochs=1" in " ".join(notes.texts)


def test_a_last_layer_for_other_classes_is_replaced(libraries: None, tmp_path: Path) -> None:
    network = network_by_name("timm:gray").untrained((1, 8, 8), 4, {})
    torch.save(network.state_dict(), tmp_path / "w.pt")
    notes, wanted = Notes(), described(tmp_path)
    model = wanted.build()
    head = model.head.linear.weight.clone()  # type: ignore[union-attr]
    load_initial(model, wanted, None, notes.on_note)
    assert torch.equal(model.head.linear.weight, head)  # type: ignore[union-attr]
    assert torch.equal(model.backbone.network.conv.weight, network.conv.weight)  # type: ignore[union-attr]
    assert "for 4 classes, is replaced: a new LinearHead for 10 classes on 6 features" in " ".join(notes.texts)


@pytest.mark.parametrize(
    ("defense", "settings"),
    [
        ("adv-dpnp", ()),
        ("hat", ()),
        ("trades", ()),
        ("oc", ("defense.embedding=linear(16)",)),
        ("pcl", ("defense.pretraining=1",)),
    ],
)
def test_every_method_trains_it_and_its_run_is_evaluated_resumed_and_exported(
    gray: nn.Module, tmp_path: Path, defense: str, settings: tuple[str, ...]
) -> None:
    wanted = described(tmp_path, defense, (*SHORT, *settings))
    run = api.train(wanted, tmp_path / "runs")
    trained = next(module for module in api.load(run.folder).modules() if isinstance(module, Adapted))
    assert not torch.equal(trained.network.conv.weight, gray.conv.weight)  # type: ignore[union-attr]
    result = api.evaluate_run(run.folder, "clean", limit=40)
    again = api.train(wanted, tmp_path / "runs", resume=True)
    assert again.epochs() == run.epochs()
    api.export(run.folder, tmp_path / "out", images=8)
    assert api.evaluate_run(tmp_path / "out", "clean", limit=40)["clean_accuracy"] == result["clean_accuracy"]
    assert from_config(json.loads(json.dumps(wanted.config()))) == wanted


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(gray: nn.Module, tmp_path: Path) -> None:
    class Stop(Notes):
        def on_step(self, epoch: int, step: int, *rest: int) -> None:
            if step == 2:
                raise StopTraining

    wanted = described(tmp_path, "at", (*SHORT, "recipe.batch_size=16"))
    whole = api.train(wanted, tmp_path / "whole")
    with pytest.raises(StopTraining):
        api.train(wanted, tmp_path / "parts", callback=Stop())
    # Its first weights are in the stored state.
    parts = api.train(wanted, tmp_path / "parts", resume=True)
    assert parts.weights_path("last").read_bytes() == whole.weights_path("last").read_bytes()


def test_fine_tuning_has_a_tenth_of_the_rate_and_less_epochs_in_the_default_recipe_alone(
    gray: nn.Module, tmp_path: Path
) -> None:
    first = Initial(str(tmp_path / "w.pt"))
    tuned = experiment("digits/timm:gray/at", initial=first).recipe
    plain = experiment("digits/tiny/at").recipe
    assert (tuned.lr, tuned.epochs) == (plain.lr / 10, 20)
    assert replace(tuned, lr=plain.lr, epochs=plain.epochs) == plain
    assert (
        experiment("digits/timm:gray/at", "paper", initial=first).recipe == experiment("digits/tiny/at", "paper").recipe
    )
    assert experiment("digits/timm:gray/at", initial=Initial("untrained")).recipe == plain
    assert experiment("digits/timm:gray/at", settings=["recipe.lr=0.5"], initial=first).recipe.lr == 0.5


def test_names_with_slashes_and_normalizations_are_read_from_a_name(libraries: None) -> None:
    wanted = experiment("cifar10/torchvision:resnet/IMAGENET1K_V1/at")
    assert wanted.backbone == "torchvision:resnet/IMAGENET1K_V1" and wanted.initial == Initial(
        mean=(0.1, 0.1, 0.1), std=(0.5, 0.5, 0.5)
    )
    robust = experiment("cifar10/robustbench:Robust2019/Linf/at", initial=Initial("untrained"))
    assert robust.backbone == "robustbench:cifar10/Robust2019/Linf"
    assert robust.folder(Path("runs")) == Path("runs/cifar10/robustbench-cifar10-Robust2019-Linf/at/seed-0")
    assert robust.build()(torch.rand(2, 3, 32, 32)).shape == (2, 10)
    assert experiment("cifar10/timm:small/at").initial.mean == (0.5, 0.25, 0.125)  # type: ignore[union-attr]
    assert experiment("digits/timm:small/at").initial.mean == ()  # type: ignore[union-attr]


def test_what_cannot_begin_is_said_before_anything_is_stored(gray: nn.Module, tmp_path: Path) -> None:
    wanted, out = described(tmp_path), tmp_path / "runs"
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pt")
    for broken, message in (
        (described(tmp_path, weights=str(tmp_path / "other.pt")), "other.pt does not fit"),
        (described(tmp_path, weights="pretrained"), "the pretrained weights of timm:gray cannot be had"),
        (replace(wanted, initial=replace(wanted.initial, sha256="0")), r"w\.pt has changed since"),
    ):
        with pytest.raises(ValueError, match=message):
            api.train(broken, out)
    with pytest.raises(FileNotFoundError, match=r"no weights file at gone\.pt"):
        described(tmp_path, weights="gone.pt")
    with pytest.raises(ValueError, match=r"belong to a network such as timm:NAME.*got some for tiny"):
        experiment("digits/tiny/at", initial=Initial("untrained"))
    with pytest.raises(ValueError, match="--model-arg is for a network of your own code; got timm:gray"):
        described(tmp_path, arguments=("width=3",))
    with pytest.raises(ValueError, match="got none for timm:gray"):
        Experiment(SPECS["digits"], "timm:gray", wanted.defense, wanted.recipe)
    assert not out.exists()


def test_a_run_of_a_library_that_is_not_installed_says_so(
    gray: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = api.train(described(tmp_path), tmp_path / "runs")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ValueError, match="timm:gray needs the timm package: pip install timm"):
        api.load(run.folder)


CODE = """
from pathlib import Path
from torch import nn

Path("ran").touch()

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.first = nn.Linear(64, width)
        self.last = nn.Linear(width, 10)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).relu())
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder, as the current one, with code that leaves a trace when it runs."""
    (tmp_path / "further.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(models, "_CODE", {})
    monkeypatch.delitem(sys.modules, "further", raising=False)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_code_is_trained_and_runs_for_nobody_who_does_not_name_it(
    code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = [part for setting in STILL for part in ("--set", setting)]
    allow("further.py:Net")
    network = models.build_network("further.py:Net", (1, 8, 8), ("width=5",))
    torch.save(network.state_dict(), "w.pt")
    train = ["train", "--data", "digits", "--model", "further.py:Net", "--model-arg", "width=5", "--weights", "w.pt"]
    assert call(monkeypatch, *train, "--mean", "0.5", "--std", "0.25", "--defense", "at", *sets) == 0
    run = "runs/digits/further.py-Net/at/seed-0"
    x = digits()
    with torch.no_grad():
        torch.testing.assert_close(api.load(run)(x), network((x - 0.5) / 0.25), rtol=0, atol=1e-5)
    # Another process, which has not been told.
    models._CODE.clear()
    sys.modules.pop("further")
    Path("ran").unlink()
    capsys.readouterr()
    for command in (["evaluate", run], ["predict", run, "further.py"], ["export", run, "--out", "out"]):
        assert call(monkeypatch, *command) == 2
        assert "is code, and no configuration makes it run" in capsys.readouterr().err
    assert call(monkeypatch, "train", "digits/further.py:Net/at") == 2
    assert not Path("ran").exists() and not Path("out").exists()
    assert call(monkeypatch, "evaluate", run, "--suite", "clean", "--limit", "20", "--model", "further.py:Net") == 0
    assert Path("ran").exists()
    assert call(monkeypatch, "export", run, "--out", "out", "--model", "further.py:Net") == 0
    capsys.readouterr()
    assert call(monkeypatch, "evaluate", run, "--model", "timm:small") == 2
    assert "is the code further.py:Net: give it as --model; got timm:small" in capsys.readouterr().err


def test_what_a_defense_puts_into_the_network_is_no_part_of_its_weights(
    code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OC's PReLUs, of which the file of a network with ReLUs says nothing."""
    text = CODE.replace("(x.flatten(1)).relu()", "(x.flatten(1)))").replace(
        "self.last(self.", "self.last(self.relu(self."
    )
    Path("further.py").write_text(text.replace("self.last = ", "self.relu = nn.ReLU()\n        self.last = "))
    allow("further.py:Net")
    network = models.build_network("further.py:Net", (1, 8, 8), ())
    torch.save(network.state_dict(), "w.pt")
    arguments = ["--data", "digits", "--model", "further.py:Net", "--weights", "w.pt", "--defense", "oc"]
    sets = [part for setting in (*STILL, "defense.embedding=linear(16)") for part in ("--set", setting)]
    assert call(monkeypatch, "train", *arguments, *sets) == 0
    model = api.load("runs/digits/further.py-Net/oc/seed-0")
    kept = next(module for module in model.modules() if isinstance(module, Adapted)).network
    assert isinstance(kept.relu, nn.PReLU) and kept.relu.weight.item() == 0.25
    assert torch.equal(kept.first.weight, network.first.weight)  # type: ignore[union-attr, arg-type]


def test_code_that_answers_otherwise_in_training_mode_is_refused_before_anything_is_stored(
    code: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CODE.replace("return self.last(", "y = self.last(") + "        return (y, y) if self.training else y\n"
    Path("further.py").write_text(text)
    assert call(monkeypatch, "train", "--data", "digits", "--model", "further.py:Net") == 2
    assert "gives a tuple, not a tensor, in training mode" in capsys.readouterr().err
    assert not Path("runs").exists()


def test_a_run_of_ours_needs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = api.train(experiment("digits/tiny/at", settings=SHORT), tmp_path).folder
    assert call(monkeypatch, "evaluate", str(run), "--model", "further.py:Net") == 2
    assert "is tiny, which needs no code: leave --model out" in capsys.readouterr().err


def test_the_classifier_of_a_library_has_a_state_without_normalization(libraries: None) -> None:
    model = experiment("cifar10/timm:small/at", initial=Initial("untrained")).build()
    assert isinstance(model, Classifier)
    names = {"backbone.network.conv", "head.linear"}
    assert set(model.state_dict()) == {f"{name}.{kind}" for name in names for kind in ("weight", "bias")}


def test_a_normalization_is_of_pixels_in_0_1_and_bytes_of_the_command_line_are_divided(
    gray: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for mean, std, message in (((0.1,), (), "as many numbers; got 1 and 0"), ((2.0,), (0.5,), "divide mean and std")):
        with pytest.raises(ValueError, match=message):
            Initial(mean=mean, std=std)
    sets = [part for setting in STILL for part in ("--set", setting)]
    begin = ["--weights", str(tmp_path / "w.pt"), "--mean", "51", "--std", "102", "--out", str(tmp_path / "runs")]
    assert call(monkeypatch, "train", "digits/timm:gray/at", *begin, *sets) == 0
    assert "mean and std above 1 are taken for those of bytes" in capsys.readouterr().err
    x = digits()
    with torch.no_grad():
        found = api.load(tmp_path / "runs/digits/timm-gray/at/seed-0")(x)
        torch.testing.assert_close(found, gray((x - 0.2) / 0.4), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--untrained", "--weights", "w.pt"), "--untrained leaves the weights to chance, and --weights gives w.pt"),
        (("--weights-key", "ema"), "--weights-key chooses from a weights file"),
        (("--mean", "0.5"), "--mean and --std go together"),
        (("--mean", "a", "--std", "1"), "--mean must be numbers"),
        (("--model", "further.py:Net"), "no file at further.py"),
        (("--model", "timm:gry"), "timm has no model 'gry'; nearest: gray"),
    ],
)
def test_bad_beginnings_are_one_line(
    gray: nn.Module,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    model = () if "--model" in arguments else ("--model", "timm:gray")
    assert call(monkeypatch, "train", "--data", "digits", *model, *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("advdpnp: ")]
    assert len(lines) == 1 and message in lines[0]
    assert not Path("runs").exists()
