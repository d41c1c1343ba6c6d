"""The layers of docs/design.md: who may import whom."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "advdpnp"

# Layer -> modules of the project that it may import (besides itself), and third-party packages.
NUMERIC = {"torch"}
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "ranges": (set(), set()),
    "callbacks": (set(), set()),
    "noise": (set(), NUMERIC),
    "cuda_graphs": (set(), NUMERIC),
    "dtype": (set(), NUMERIC),
    "mode": (set(), NUMERIC),
    "threat": ({"noise"}, NUMERIC),
    "losses": (set(), NUMERIC),
    "metrics": ({"result_files"}, {"torch", "scipy"}),
    "models": (set(), NUMERIC),
    "attacks": ({"threat", "noise", "losses", "cuda_graphs", "mode"}, NUMERIC),
    "defenses": ({"attacks.projected_ascent", "losses", "models", "threat", "noise"}, NUMERIC),
    "data": ({"noise"}, {"torch", "numpy", "scipy", "PIL", "sklearn"}),
    "runs": (set(), {"torch", "numpy", "safetensors"}),
    "training": (
        {
            "cuda_graphs",
            "defenses.base",
            "data",
            "attacks",
            "models.classifier",
            "models.copying",
            "models.folding",
            "runs",
            "metrics",
            "losses",
            "noise",
            "threat",
        },
        NUMERIC,
    ),
    "evaluation": (
        {
            "attacks",
            "metrics",
            "data",
            "models.classifier",
            "models.folding",
            "result_files",
            "results",
            "runs",
            "losses",
            "noise",
            "threat",
            "mode",
        },
        {"torch", "numpy"},
    ),
    "experiments": ({"defenses", "training.recipe", "data", "models", "threat", "dtype"}, {"torch", "yaml"}),
    "results": ({"runs"}, set()),
    "result_files": ({"results", "runs"}, {"numpy"}),
    "report": ({"results", "runs"}, {"numpy", "matplotlib", "jinja2"}),
    "external": ({"data", "mode", "models.copying"}, {"torch", "safetensors"}),
    "predicting": (
        {"data", "evaluation", "models.classifier", "models.heads", "runs"},
        {"torch", "numpy", "matplotlib"},
    ),
    "exporting": (
        {"experiments", "models", "report.read", "results", "runs", "threat"},
        {"torch", "safetensors", "jinja2", "yaml", "onnx", "onnxruntime"},
    ),
    "progress": ({"results", "runs"}, {"rich", "torch"}),
}
# Declarations, which every layer may make.
EVERYWHERE = {"ranges", "callbacks"}
# What joins the layers may import all of them, but nothing imports the command line.
JOINTS = {"__init__", "deprecation", "api", "demo", "catalog", "cli", "bench"}


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            module = node.module or ""
            inside = PACKAGE.parent.joinpath(*module.split(".")).is_dir()
            found |= {f"{module}.{alias.name}" for alias in node.names} if inside else {module}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(PACKAGE)) for p in FILES])
def test_imports_stay_within_the_layer(path: Path) -> None:
    layer = layer_of(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "advdpnp":
            assert layer == "cli" or not rest.startswith("cli"), f"{path} imports the command line"
            if layer not in JOINTS and rest.partition(".")[0] != layer:
                allowed = LAYERS[layer][0] | EVERYWHERE
                assert any(rest == a or rest.startswith(a + ".") for a in allowed), f"{path} imports {name}"
        elif top not in sys.stdlib_module_names and layer not in JOINTS:
            assert top in LAYERS[layer][1], f"{path} imports {name}"


def test_every_layer_is_known() -> None:
    assert {layer_of(path) for path in FILES} <= set(LAYERS) | JOINTS


def test_no_file_is_a_drawer() -> None:
    assert not [p for p in FILES if p.stem in {"utils", "helpers", "misc", "common"}]
