"""timm, torchvision and RobustBench need a torchvision that imports, which a torch for CPUs alone has not: stand-ins.

They have the names, arguments, file layouts and errors of timm 1.0, torchvision 0.28 and RobustBench 1.1.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("timm", "torchvision", "robustbench")


def _forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-ins, imported anew."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "stand_ins"))
    _forget()
    yield
    _forget()


@pytest.fixture
def no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of them is installed."""
    for name in PACKAGES:
        monkeypatch.setitem(sys.modules, name, None)
