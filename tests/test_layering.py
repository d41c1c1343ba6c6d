"""The layers of docs/design.md, who may import whom; and of files: no circle, no long one, no class name twice."""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "advdpnp"

# Layer -> modules of the project that it may import (besides itself), and third-party packages.
NUMERIC = {"torch"}
LAYERS: dict[str, tuple[set[str], set[str]]] = {
    "ranges": (set(), set()),
    "allocator": (set(), set()),
    "stored_values": (set(), set()),
    "result_parts": ({"stored_values"}, set()),
    "declared_fields": ({"result_parts", "stored_values"}, set()),
    "callbacks": (set(), set()),
    "bounded_files": (set(), set()),
    "array_files": ({"bounded_files"}, {"numpy"}),
    "inert_pickle": (set(), set()),
    "torch_limits": ({"inert_pickle"}, set()),
    "indices": ({"array_files", "bounded_files", "stored_values"}, set()),
    "folder_names": (set(), set()),
    "importing": (set(), set()),
    "noise": (set(), {"torch", "numpy"}),
    "cuda_graphs": (set(), NUMERIC),
    "dtype": (set(), NUMERIC),
    "mode": (set(), NUMERIC),
    "threat": ({"noise"}, NUMERIC),
    "losses": (set(), NUMERIC),
    "metrics": ({"result_files"}, {"torch", "numpy", "scipy", "sklearn"}),
    "models": (set(), NUMERIC),
    "attacks": ({"threat", "noise", "losses", "cuda_graphs", "mode"}, NUMERIC),
    "defenses": ({"attacks.projected_ascent", "losses", "models", "threat", "noise"}, NUMERIC),
    "data": (
        {"bounded_files", "checksums", "noise", "stored_values"},
        {"torch", "numpy", "scipy", "PIL", "sklearn", "pillow_heif"},
    ),
    "signals": (set(), set()),
    "launch": (set(), set()),
    "lock": ({"bounded_files", "stored_values"}, set()),
    "fence": ({"bounded_files"}, set()),
    "weights_file": ({"bounded_files", "ranges", "stored_values"}, {"torch", "safetensors"}),
    "checksums": (set(), set()),
    "runs": (
        {"bounded_files", "checksums", "fence", "stored_values", "torch_limits", "weights_file"},
        {"torch", "numpy"},
    ),
    "training": (
        {
            "cuda_graphs",
            "defenses.base",
            "data",
            "attacks",
            "launch",
            "models.classifier",
            "models.copying",
            "models.first_layer",
            "models.folding",
            "models.packed_convolution",
            "runs",
            "metrics",
            "losses",
            "noise",
            "signals",
            "stored_values",
            "threat",
        },
        NUMERIC,
    ),
    "auditing": (
        {"attacks", "evaluation.model_checks", "losses", "metrics", "models.copying", "noise", "threat"},
        NUMERIC,
    ),
    "evaluation": (
        {
            "attacks",
            "metrics",
            "data",
            "models.classifier",
            "models.expected",
            "models.folding",
            "models.packed_convolution",
            "indices",
            "ood_results",
            "radii",
            "result_files",
            "result_parts",
            "results",
            "runs",
            "stored_values",
            "losses",
            "noise",
            "threat",
            "dtype",
            "mode",
        },
        {"torch", "numpy"},
    ),
    "experiments": (
        {
            "bounded_files",
            "defenses",
            "training.recipe",
            "attacks.projected_ascent",
            "data",
            "models",
            "threat",
            "noise",
            "dtype",
            "importing",
        },
        {"torch", "yaml"},
    ),
    "attack_words": (set(), set()),
    "radii": (set(), {"numpy"}),
    "audit_files": ({"result_parts", "runs", "stored_values"}, set()),
    "results": ({"attack_words", "audit_files", "declared_fields", "result_parts", "runs", "stored_values"}, set()),
    "same_weights": ({"runs"}, set()),
    "result_files": (
        {"checksums", "declared_fields", "indices", "radii", "results", "runs", "same_weights", "stored_values"},
        {"numpy"},
    ),
    "ood_results": (
        {"attack_words", "declared_fields", "indices", "result_parts", "results", "runs", "stored_values"},
        set(),
    ),
    "illustrations": ({"declared_fields", "indices", "result_parts", "results", "runs", "stored_values"}, set()),
    "report": (
        {
            "array_files",
            "attack_words",
            "audit_files",
            "bounded_files",
            "checksums",
            "illustrations",
            "indices",
            "lock",
            "ood_results",
            "result_files",
            "result_parts",
            "results",
            "runs",
            "same_weights",
            "stored_values",
        },
        {"numpy", "matplotlib", "jinja2"},
    ),
    "external": (
        {"data", "inert_pickle", "mode", "models", "importing", "torch_limits", "weights_file"},
        {"torch", "safetensors"},
    ),
    "predicting": (
        {"array_files", "data", "evaluation", "metrics", "models.classifier", "models.heads", "runs"},
        {"torch", "numpy", "matplotlib"},
    ),
    "explaining": (
        {
            "attack_words",
            "attacks",
            "bounded_files",
            "data",
            "evaluation",
            "lock",
            "noise",
            "ood_results",
            "predicting",
            "runs",
            "threat",
        },
        {"torch", "numpy", "matplotlib", "jinja2", "PIL"},
    ),
    "exporting": (
        {"experiments", "models", "report.read", "results", "runs", "stored_values", "threat"},
        {"torch", "safetensors", "jinja2", "yaml", "onnx", "onnxruntime"},
    ),
    "progress": ({"attack_words", "indices", "results", "runs", "stored_values"}, {"rich"}),
    "loggers": ({"runs", "stored_values"}, {"numpy", "tensorboard"}),
    "run_status": ({"lock", "runs", "stored_values"}, set()),
    "watching": ({"progress", "run_status", "runs"}, {"rich"}),
}
# Declarations, which every layer may make, and names.
EVERYWHERE = {"ranges", "callbacks", "folder_names"}
# What joins the layers may import all of them, but nothing imports the command line.
JOINTS = {"__init__", "__main__", "deprecation", "api", "demo", "catalog", "descriptions", "cli", "bench", "sweeping"}


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
            assert layer in ("cli", "__main__") or not rest.startswith("cli"), f"{path} imports the command line"
            if layer not in JOINTS and rest.partition(".")[0] != layer:
                allowed = LAYERS[layer][0] | EVERYWHERE
                assert any(rest == a or rest.startswith(a + ".") for a in allowed), f"{path} imports {name}"
        elif top not in sys.stdlib_module_names and layer not in JOINTS:
            assert top in LAYERS[layer][1], f"{path} imports {name}"


def test_every_layer_is_known() -> None:
    assert {layer_of(path) for path in FILES} <= set(LAYERS) | JOINTS


def test_no_file_is_a_drawer() -> None:
    assert not [p for p in FILES if p.stem in {"utils", "helpers", "misc", "common"}]


def test_no_file_is_longer_than_400_lines() -> None:
    assert not {str(p): n for p in FILES if (n := len(p.read_text().splitlines())) > 400}


def test_no_two_public_classes_share_a_name() -> None:
    classes = [node.name for p in FILES for node in ast.parse(p.read_text()).body if isinstance(node, ast.ClassDef)]
    assert not [name for name, count in Counter(classes).items() if count > 1 and not name.startswith("_")]


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in FILES}


def run_on_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that an import of the module runs, without those for type checkers alone."""
    for node in body:
        yield node
        if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            for inner in ("body", "orelse", "finalbody"):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from run_on_import(getattr(node, inner, []))
            for handler in getattr(node, "handlers", []):
                yield from run_on_import(handler.body)


def imported_on_import(path: Path) -> set[str]:
    """Modules of the package that a module needs before it is complete itself."""
    found = set()
    for node in run_on_import(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # A name of a package is one of its modules, or something that its __init__ defines.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found & MODULES.keys() - {module_of(path)}


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: imported_on_import(path) for module, path in MODULES.items()}
    assert sum(map(len, graph.values())) > len(graph)
    # Raises CycleError with the circle.
    TopologicalSorter(graph).prepare()
