"""Training loops that people copy from the pages and examples: every layer learns in training mode."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

ROOT = Path(__file__).parents[1]
STEPS = 2


def code_of(path: Path) -> str:
    """What a page or notebook runs, in order; blocks with a title are files."""
    text = path.read_text()
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        return "\n".join("".join(cell["source"]) for cell in cells)
    if path.suffix == ".md":
        return "\n".join(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.M))
    return text


def files_of(path: Path) -> dict[str, str]:
    """Blocks with a title."""
    return dict(re.findall(r"^```python title=\"([^\"]+)\"\n(.*?)^```$", path.read_text(), re.DOTALL | re.M))


WRITTEN = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*")]
LOOPS = [path for path in WRITTEN if path.is_file() and "optimizer.step()" in code_of(path)]


class Enough(Exception):
    """A few steps have been seen."""


@pytest.fixture
def modes_of_learning() -> Iterator[list[dict[str, bool]]]:
    """For every step of an optimizer: mode of the last forward of each module whose own parameters it moves."""
    latest: dict[nn.Module, bool] = {}
    steps: list[dict[str, bool]] = []

    def forward(module: nn.Module, _inputs: object) -> None:
        latest[module] = module.training

    def step(optimizer: torch.optim.Optimizer, *_: object) -> None:
        moved = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        learning = {
            module: mode
            for module, mode in latest.items()
            if any(id(own) in moved for own in module.parameters(recurse=False))
        }
        steps.append({f"{place}. {module}": mode for place, (module, mode) in enumerate(learning.items())})
        if len(steps) == STEPS:
            raise Enough

    handles: list[Any] = [register_module_forward_pre_hook(forward), register_optimizer_step_pre_hook(step)]
    yield steps
    for handle in handles:
        handle.remove()


def test_loops_are_found_in_pages_examples_and_notebook() -> None:
    assert {"losses.md", "losses_in_your_loop.py", "attack_your_model.ipynb"} <= {path.name for path in LOOPS}


@pytest.mark.parametrize("path", LOOPS, ids=lambda path: path.name)
def test_a_loop_to_copy_learns_in_training_mode(
    path: Path, modes_of_learning: list[dict[str, bool]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files_of(path).items():
        (tmp_path / name).write_text(text)
        monkeypatch.delitem(sys.modules, Path(name).stem, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", [path.name])
    with pytest.raises(Enough):
        exec(compile(code_of(path), path.name, "exec"), {"__name__": "__main__"})
    assert len(modes_of_learning) == STEPS
    assert all(modes and all(modes.values()) for modes in modes_of_learning), modes_of_learning
