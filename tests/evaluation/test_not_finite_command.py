"""Networks without finite gradients on the command line: the status, what is said, what is kept and what is shown."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from advdpnp import api, cli
from advdpnp.report import write_report
from external.networks import trained

# The gradient is NaN where images are far from the first ones of the test set, of which the network is tried first.
CODE = """
import torch
from torch import nn
from advdpnp import data

class Poison(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, bad):
        ctx.save_for_backward(bad)
        return logits.clone()

    @staticmethod
    def backward(ctx, gradient):
        (bad,) = ctx.saved_tensors
        return torch.where(bad[:, None], torch.nan, gradient), None

class Net(nn.Module):
    def __init__(self, sick=0):
        super().__init__()
        self.linear, self.sick = nn.Linear(64, 10), sick
        images = data.load("digits", "test").batch(torch.arange(360))[0].flatten(1)
        self.register_buffer("known", images[:16] if sick == 0 else images[100:100 + sick], persistent=False)

    def forward(self, x):
        logits = self.linear(x.flatten(1))
        near = torch.cdist(x.detach().flatten(1), self.known, p=torch.inf).amin(dim=1) < 0.25
        return Poison.apply(logits, near if self.sick else ~near)
"""
OPTIONS = ["evaluate", "--model", "sick_project:Net", "--weights", "w.pt", "--data", "digits", "--eps", "0.1"]
FOLDER = Path("runs/digits/Net/foreign/seed-0")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in the stranger's folder; its status, its output and the last line of its error stream."""
    (tmp_path / "sick_project.py").write_text(CODE)
    torch.save(trained().state_dict(), tmp_path / "w.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "sick_project", raising=False)

    def started(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["advdpnp", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out, (told.err.splitlines() or [""])[-1]

    return started


@pytest.mark.parametrize("attacks", [["--suite", "pgd20"], ["--attack", "apgd-ce:steps=3"]])
def test_too_many_images_without_a_gradient_end_with_status_2_and_what_was_found_is_kept(
    call: Any, attacks: list[str]
) -> None:
    name = "pgd20" if attacks[0] == "--suite" else "custom"
    for again in ([], ["--resume"]):
        status, out, said = call(*OPTIONS, *attacks, *again)
        assert status == 2 and out == ""
        assert "of 360 images are unevaluated" in said and "make its gradient finite" in said
        partial = FOLDER / f"eval/{name}.partial.json"
        assert said.endswith(f"kept in {partial}") and partial.is_file()
        assert not (FOLDER / f"eval/{name}.json").exists()


def test_a_few_such_images_are_stored_and_shown(call: Any, tmp_path: Path) -> None:
    status, out, _ = call(*OPTIONS, "--attack", "pgd:steps=3", "--model-arg", "sick=2")
    result = json.loads((FOLDER / "eval/custom.json").read_text())
    count = result["worst_case_unevaluated"]
    assert status == 0 and result["attacks"][0]["unevaluated"] == count and 1 <= count <= 3
    assert out.count(f"  {count} unevaluated") == 2
    write_report([FOLDER], tmp_path / "report")
    for name in ("index.html", "results.csv"):
        assert f"{count} of 360 images unevaluated" in (tmp_path / "report" / name).read_text()
    (_, row, _) = api.compare(FOLDER, FOLDER, "custom")
    assert row["left_out"] == count
