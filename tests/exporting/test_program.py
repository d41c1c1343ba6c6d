import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from advdpnp import api
from advdpnp.exporting.program import make_program, program_answers, program_bytes

from .conftest import make_run

FOREIGN = """
import sys, torch, numpy as np
x = torch.from_numpy(np.load("x.npy"))
model = torch.export.load("model.pt2").module()
with torch.no_grad():
    np.save("logits.npy", torch.cat([model(x[:1]), model(x[1:8]), model(x[8:])]).numpy())
assert not [name for name in sys.modules if name.startswith("advdpnp")]
"""


def test_a_fresh_process_without_this_package_gets_the_same_logits(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "digits/tiny/adv-dpnp")
    api.export(run.folder, tmp_path / "out", ["torch-export"])
    x = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    np.save(tmp_path / "out" / "x.npy", x.numpy())
    # -I: neither the working directory nor PYTHONPATH is searched.
    subprocess.run([sys.executable, "-I", "-c", FOREIGN], cwd=tmp_path / "out", check=True)
    with torch.no_grad():
        expected = api.load(run.folder, device="cpu").double()(x.double()).numpy()
    # Sums of hundreds of products in float32, one layer after another.
    rounding = 1000 * np.finfo(np.float32).eps * np.abs(expected).max()
    assert np.abs(np.load(tmp_path / "out" / "logits.npy") - expected).max() <= rounding


def test_programs_name_no_path_of_this_machine_and_are_reproducible(tmp_path: Path) -> None:
    model = api.load(make_run(tmp_path, "cifar10/wrn-10-1/at").folder, device="cpu")
    content = program_bytes(make_program(model, (3, 32, 32)))
    assert b".py" not in content and str(Path(__file__).parents[2]).encode() not in content
    assert content == program_bytes(make_program(model, (3, 32, 32)))


def test_gradients_reach_the_images_of_a_loaded_program(tmp_path: Path) -> None:
    model = api.load(make_run(tmp_path, "digits/tiny/adv-dpnp").folder, device="cpu")
    answers = program_answers(program_bytes(make_program(model, (1, 8, 8))))
    gradients = []
    for network in (model, answers):
        x = torch.full((3, 1, 8, 8), 0.4, requires_grad=True)
        network(x).square().sum().backward()
        gradients.append(x.grad)
    rounding = 1000 * torch.finfo(torch.float32).eps * gradients[0].norm()
    assert 0 <= (gradients[1] - gradients[0]).norm() < rounding
