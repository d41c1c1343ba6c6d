"""Defenses from outside: what is refused, in one line and before anything is written, and what is never imported."""

import importlib.metadata
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from advdpnp import cli
from advdpnp.catalog import catalog
from advdpnp.defenses import AT, DEFENSES
from advdpnp.experiments import experiment, from_config, read_plugin, register_defense
from test_command import started

NOISY = Path(__file__).parents[2] / "examples/defense_package/noisy.py"
HEAD = """
from dataclasses import dataclass
from typing import ClassVar
import torch
from advdpnp.defenses import AT, Defense
from advdpnp.models.classifier import Classifier

"""
WHOLE = """@dataclass(frozen=True)
class Mine(Defense[Classifier]):
    name: ClassVar[str] = "mine"
    crafts: ClassVar[bool] = False

    def loss(self, model, batch, x_adv):
        return {"ce": batch.cross_entropy(model(batch.x)).mean()}
"""


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    known, path, modules = dict(DEFENSES), list(sys.path), set(sys.modules)
    yield
    DEFENSES.clear()
    DEFENSES.update(known)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("mine", "noisy"):
            del sys.modules[name]


def plugin(folder: Path, text: str = WHOLE) -> str:
    """A reference to the class Mine in a file of this text."""
    (folder / "mine.py").write_text(HEAD + text)
    return f"{folder / 'mine.py'}:Mine"


def test_a_class_of_a_file_is_known_by_its_name_and_may_be_named_again(tmp_path: Path) -> None:
    reference = plugin(tmp_path)
    assert read_plugin(reference) is read_plugin(reference) is DEFENSES["mine"]
    wanted = experiment("digits/tiny/mine")
    assert from_config(wanted.config()) == wanted
    assert "mine" not in str({key: value for key, value in wanted.config().items() if key != "defense"})
    assert wanted.config()["defense"] == {"name": "mine"}


def test_the_trial_leaves_the_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    read_plugin(plugin(tmp_path))
    assert torch.equal(torch.rand(3), expected)


LOSS = '        return {"ce": batch.cross_entropy(model(batch.x)).mean()}\n'
BAD = {
    "no loss": (WHOLE[: WHOLE.index("    def loss")], "has no loss: define loss(self, model, batch, x_adv)"),
    "another shape": (WHOLE.replace(".mean()}", "}"), "loss, term 'ce' must have shape () for 4 images; got (4,)"),
    "no dict": (
        WHOLE.replace(LOSS, "        return model(batch.x).mean()\n"),
        "must return a dict of named scalar tensors",
    ),
    "no tensor": (
        WHOLE.replace(LOSS, '        return {"ce": 1.0}\n'),
        "must be a tensor of shape (); got builtins.float",
    ),
    "not finite": (WHOLE.replace(".mean()}", ".mean() / 0}"), "must be finite on images in [0, 1]"),
    "a loss that raises": (WHOLE.replace(LOSS, "        return {}['x']\n"), "loss raised KeyError: 'x'"),
    "a name that is taken": (
        WHOLE.replace('"mine"', '"at"'),
        "is called 'at', as advdpnp.defenses.at:AT is: rename it",
    ),
    "an experiment's name": (WHOLE.replace('"mine"', '"adv-dpnp-no-dpp"'), "as an experiment is"),
    "an odd name": (WHOLE.replace('"mine"', '"../x"'), "needs a name of small letters, digits and ._-"),
    "no name": (WHOLE.replace('    name: ClassVar[str] = "mine"\n', ""), "needs a name"),
    "no dataclass": (WHOLE.replace("@dataclass(frozen=True)\n", ""), "must be a frozen dataclass"),
    "not frozen": (WHOLE.replace("@dataclass(frozen=True)\nclass Mine(Defense[Classifier])", "class Mine"), "extends"),
    "a field without default": (
        WHOLE.replace("    def loss", "    size: float\n\n    def loss"),
        "give every field a default",
    ),
    "no class": ("Mine = 3\n", "must be a class that extends advdpnp.defenses.Defense; got builtins.int"),
    "raises on import": ("raise RuntimeError('no licence')\n", "cannot be imported (RuntimeError: no licence)"),
    "another network": (
        WHOLE + "\n    def build(self, backbone, num_classes):\n        return torch.nn.Linear(1, 1)\n",
        "build must return an advdpnp.models.classifier.Classifier; got torch.nn.modules.linear.Linear",
    ),
    "too few logits": (
        WHOLE + "\n    def build(self, backbone, num_classes):\n        return super().build(backbone, 3)\n",
        "must have shape (4, 10) for 4 images; got (4, 3)",
    ),
    "images of another shape": (
        WHOLE.replace("crafts: ClassVar[bool] = False", "crafts: ClassVar[bool] = True")
        + "\n    def perturb(self, model, batch, ascend):\n        return batch.x[:1]\n",
        "perturb must have shape (4, 3, 8, 8) for 4 images; got (1, 3, 8, 8)",
    ),
    "an objective that is a mean": (
        WHOLE + "\n    def objective(self, model, x, x_adv, y):\n        return x_adv.mean()\n",
        "objective must have shape (4,) for 4 images; got ()",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_fit_is_refused_in_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text, expected = BAD[case]
    monkeypatch.chdir(tmp_path)
    before = dict(DEFENSES)
    reference = plugin(tmp_path, text)
    status, out, complaint = started(cli.app, capsys, "train", "digits/tiny/mine", "--plugin", reference)
    assert (status, out, complaint.count("\n")) == (2, "", 1)
    assert expected in complaint
    assert before == DEFENSES and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("noisy", "--plugin must be pkg.module:Class or path/to/file.py:Class; got 'noisy'"),
        ("nothere.py:Noisy", "no file at nothere.py: --plugin must be"),
        ("no_such_module:Noisy", "no module 'no_such_module'"),
        (f"{NOISY}:Noise", "there is no 'Noise'; nearest: Noisy"),
    ],
)
def test_a_reference_that_leads_nowhere_says_what_it_must_be(reference: str, expected: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        read_plugin(reference)
    assert expected in str(caught.value)


def test_a_stored_run_imports_no_file_but_is_read_where_it_is_named_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    named = ["--plugin", f"{NOISY}:Noisy"]
    train = ["train", "digits/tiny/noisy", "--set", "recipe.epochs=1", "--set", "recipe.train_images=64"]
    assert started(cli.app, capsys, *train, *named)[0] == 0
    del DEFENSES["noisy"], sys.modules["noisy"]
    run = "runs/digits/tiny/noisy/seed-0"
    status, _, complaint = started(cli.app, capsys, "evaluate", run, "--suite", "clean", "--limit", "8")
    assert (status, complaint.count("\n")) == (2, 1)
    assert "unknown defense 'noisy'" in complaint and "--plugin pkg.module:Class" in complaint
    assert "noisy" not in sys.modules
    status, out, _ = started(cli.app, capsys, "evaluate", run, "--suite", "clean", "--limit", "8", *named)
    assert status == 0 and "clean" in out


def _installed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    points = importlib.metadata.EntryPoints([importlib.metadata.EntryPoint(name, value, "advdpnp.defenses")])
    monkeypatch.setattr("advdpnp.importing.entry_points", lambda group: points.select(group=group))


def test_an_installed_package_is_known_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(NOISY.parent))
    _installed(monkeypatch, "noisy", "noisy:Noisy")
    assert catalog("defenses")["defenses"]["noisy"] == "an installed package's: noisy:Noisy"
    assert "noisy" not in sys.modules
    assert experiment("digits/tiny/noisy", settings=["defense.size=0.3"]).defense.size == 0.3


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("noisy", "no_such_module:Noisy", "the installed defense 'noisy' (no_such_module:Noisy) cannot be imported"),
        ("loud", "noisy:Noisy", "the entry point 'loud' is noisy:Noisy, which is called 'noisy': use one name"),
    ],
)
def test_an_installed_package_that_is_broken_is_named(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(NOISY.parent))
    _installed(monkeypatch, name, value)
    with pytest.raises(ValueError) as caught:
        experiment(f"digits/tiny/{name}")
    assert expected in str(caught.value)


def test_a_defense_of_the_package_can_be_extended(tmp_path: Path) -> None:
    found = read_plugin(
        plugin(tmp_path, '@dataclass(frozen=True)\nclass Mine(AT):\n    name: ClassVar[str] = "mine"\n')
    )
    assert issubclass(found, AT) and register_defense(AT) is AT
