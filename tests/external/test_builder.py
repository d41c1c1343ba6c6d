"""From a name on the command line to a network."""

import sys
from pathlib import Path

import pytest
from torch import nn

from advdpnp.external import build, parse_arguments
from external.stand_ins import libraries

__all__ = ["libraries"]

CODE = """
import sibling
from torch import nn

class Net(nn.Module):
    def __init__(self, width=3, scale=1.0, bias=True, act="relu"):
        super().__init__()
        self.seen = (width, scale, bias, act)
        self.layer = nn.Linear(width, 10)

class Zoo:
    small = Net

def no_module():
    return [1]

def broken(depth):
    raise RuntimeError("no such depth\\nof ours")

finished = Net(5)
number = 7
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stranger's folder, as the current one."""
    (tmp_path / "stranger_nets.py").write_text(CODE)
    (tmp_path / "sibling.py").write_text("")
    (tmp_path / "stranger_broken.py").write_text("import not_installed_at_all")
    (tmp_path / "stranger_syntax.py").write_text("def (:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("stranger_nets", "sibling", "stranger_broken", "stranger_syntax"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def built(reference: str, *arguments: str) -> nn.Module:
    return build(reference, parse_arguments(arguments), 10, (1, 8, 8))


def test_classes_factories_files_and_finished_modules_are_built(project: Path) -> None:
    arguments = ("width=4", "scale=0.5", "bias=False", "act=gelu")
    assert built("stranger_nets:Net", *arguments).seen == (4, 0.5, False, "gelu")
    assert built("stranger_nets:Zoo.small").seen == (3, 1.0, True, "relu")
    assert built("stranger_nets:finished").seen[0] == 5
    assert built("torch.nn:Identity").training
    (project / "deep").mkdir()
    (project / "stranger_nets.py").rename(project / "deep/elsewhere_nets.py")
    (project / "sibling.py").rename(project / "deep/sibling.py")
    assert built("deep/elsewhere_nets.py:Net", "width=6").seen[0] == 6
    assert built(f"{project}/deep/elsewhere_nets.py:Net").seen[0] == 3


@pytest.mark.parametrize(
    "reference, arguments, message",
    [
        ("stranger_nets", (), "--model must be pkg.module:callable"),
        ("stranger_nets:", (), "--model must be"),
        ("stranger_nest:Net", (), "no module 'stranger_nest'"),
        ("stranger_nets.deeper:Net", (), "no module 'stranger_nets.deeper'"),
        ("nowhere.py:Net", (), "no file at nowhere.py"),
        ("stranger_broken:Net", (), "No module named 'not_installed_at_all'): mend it, or install"),
        ("stranger_syntax.py:Net", (), "SyntaxError"),
        ("stranger_nets:Nett", (), "no 'Nett'; nearest: Net"),
        ("stranger_nets:number", (), "must be a class or function that returns an nn.Module; got builtins.int"),
        ("stranger_nets:no_module", (), "must return an nn.Module; got builtins.list"),
        ("stranger_nets:broken", (), "(depth) cannot be built with no arguments (TypeError"),
        ("stranger_nets:broken", ("depth=3",), "cannot be built with depth=3 (RuntimeError: no such depth)"),
        ("stranger_nets:Net", ("wide=3",), "unexpected keyword argument 'wide'"),
        ("stranger_nets:finished", ("width=3",), "takes no --model-arg; got width"),
        ("stranger_nets:Net", ("width",), "--model-arg takes name=value"),
        ("stranger_nets:Net", ("width=3", "width=4"), "given twice"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(
    project: Path, reference: str, arguments: tuple[str, ...], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        built(reference, *arguments)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.usefixtures("libraries")
def test_other_libraries_build_for_the_data_set_and_without_pretrained_weights() -> None:
    assert built("timm:small", "width=2").fc.weight.shape == (10, 2)
    assert built("timm:small", "in_chans=3").conv.weight.shape[1] == 3
    with pytest.raises(ValueError, match="timm has no model 'smal'; nearest: small"):
        built("timm:smal")


def test_values_are_read_as_python_would() -> None:
    texts = ("a=3", "b=-1e-2", "c=TRUE", "d=false", "e=a=b", "f=")
    assert parse_arguments(texts) == {"a": 3, "b": -0.01, "c": True, "d": False, "e": "a=b", "f": ""}
