import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from advdpnp import api, data
from advdpnp.exporting import onnx_graph
from advdpnp.exporting.onnx_graph import OPSET, onnx_answers, onnx_bytes
from advdpnp.exporting.program import make_program

from .conftest import make_run

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


# Sums of hundreds of products in float32, one layer after another.
ROUNDING = 1000 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("name, shape", [("digits/tiny/adv-dpnp", (1, 8, 8)), ("digits/tiny-2d/at", (1, 8, 8))])
def test_onnxruntime_and_the_reference_evaluator_answer_as_the_classifier(
    name: str, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    model = api.load(make_run(tmp_path, name).folder, device="cpu")
    content = onnx_bytes(make_program(model, shape))
    slow = onnx.reference.ReferenceEvaluator(onnx.load_from_string(content))
    for batch in (1, 7, 128):
        x = torch.rand(batch, *shape)
        with torch.no_grad():
            logits = copy.deepcopy(model).double()(x.double()).numpy()
        for found in (onnx_answers(content)(x).numpy(), slow.run(None, {"images": x.numpy()})[0]):
            assert np.abs(found - logits).max() <= ROUNDING * np.abs(logits).max()


def test_graphs_say_what_goes_in_and_out_and_name_no_path(tmp_path: Path) -> None:
    model = api.load(make_run(tmp_path, "digits/tiny/adv-dpnp").folder, device="cpu")
    content = onnx_bytes(make_program(model, (1, 8, 8)))
    graph = onnx.load_from_string(content)
    (images,), (logits,) = graph.graph.input, graph.graph.output
    sizes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (images, logits)]
    assert (images.name, logits.name, sizes) == ("images", "logits", [["batch", 1, 8, 8], ["batch", 10]])
    assert [entry.version for entry in graph.opset_import if not entry.domain] == [OPSET]
    assert b".py" not in content
    assert content == onnx_bytes(make_program(model, (1, 8, 8)))


def test_a_missing_package_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ValueError, match=r'missing: onnxscript\. Install them with pip install "advdpnp\[onnx\]"'):
        onnx_graph.check_packages()


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.parametrize("backbone", ["resnet18", "wrn-16-1"])
def test_real_images_get_the_same_class(backbone: str, tmp_path: Path, real_data: Path) -> None:
    run = make_run(tmp_path / "run", f"cifar10/{backbone}/adv-dpnp")
    api.export(run.folder, tmp_path / "out", ["onnx"], images=100, data_root=real_data)
    x, _ = data.load("cifar10", "test", real_data).batch(torch.arange(100, 200))
    session = onnxruntime.InferenceSession(tmp_path / "out" / "model.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        logits = api.load(run.folder, device="cpu").double()(x.double())
    first, second = logits.topk(2).values.T
    clear = first - second > ROUNDING * logits.abs().max()
    found = torch.from_numpy(session.run(None, {"images": x.numpy()})[0])
    assert (found.argmax(1) == logits.argmax(1))[clear].all() and clear.double().mean() > 0.9
