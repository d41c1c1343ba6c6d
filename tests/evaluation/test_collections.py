"""A table of the paper on digits: protocol and forecast first, each suite stored, finished ones skipped."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

import advdpnp
from advdpnp import api, data
from advdpnp.attacks import COLLECTIONS, suite
from advdpnp.attacks.collections import Collection, Part
from advdpnp.callbacks import Silent
from advdpnp.runs import read_json
from commands import call, train_quickly


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_note(self, text: str) -> None:
        self.lines.append(text)

    def on_forecast(self, seconds: float) -> None:
        self.lines.append("forecast")

    def on_attack(self, name: str, images: int) -> None:
        self.lines.append(f"{name}: {images}")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_quickly(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of two evaluations that take no time."""
    table = Collection("table0", "two", (Part("pgd20"), Part("text", 0.5)))
    monkeypatch.setitem(COLLECTIONS, table.name, table)
    return table.name


def test_protocol_and_forecast_come_before_the_first_attack(run: Path, short: str) -> None:
    told = Told()
    result = advdpnp.evaluate(run, short, limit=8, callback=told)
    begun = told.lines.index("clean: 8")
    assert told.lines[:begun] == [
        "table0: two; 8 test images",
        "  pgd20: PGD-20 alone",
        "    PGD-20: ℓ∞, ε = 0.1, step 0.0125, random start, 1 restart",
        f"  text-eps-0.05: {suite('text', 0.05).description}",
        "    FGSM: ℓ∞, ε = 0.05, starts at the image",
        "    PGD-20: ℓ∞, ε = 0.05, step 0.00625, random start, 1 restart",
        "2 of 2 evaluations are still to be made; together:",
        "forecast",
        "pgd20 (1 of 2)",
        "forecast",
    ]
    assert [one["suite"] for one in result["evaluations"]] == ["pgd20", "text-eps-0.05"]
    for one in result["evaluations"]:
        assert read_json(run / f"eval/{one['suite']}.json") == one


def test_what_is_finished_is_shown_and_not_measured_again(run: Path, short: str) -> None:
    whole = advdpnp.evaluate(run, short, limit=8)
    (run / "eval/text-eps-0.05.json").unlink()
    told = Told()
    again = advdpnp.evaluate(run, short, limit=8, callback=told)
    assert "1 of 2 evaluations are still to be made; together:" in told.lines
    assert again["evaluations"][0] == whole["evaluations"][0]
    assert sum(line == "clean: 8" for line in told.lines) == 1
    # All of it: no forecast, nothing measured.
    told = Told()
    advdpnp.evaluate(run, short, limit=8, callback=told)
    assert "forecast" not in told.lines and not [line for line in told.lines if line.endswith(": 8")]
    # Of other images it is another evaluation.
    told = Told()
    assert advdpnp.evaluate(run, short, limit=9, callback=told)["evaluations"][0]["n"] == 9
    assert told.lines.count("clean: 9") == 2


def test_the_forecast_counts_every_corruption(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def forecast(probe: object, left: list[tuple[object, int]]) -> float:
        counted.append(sum(images for _, images in left))
        raise KeyboardInterrupt

    monkeypatch.setattr("advdpnp.api.collections.forecast", forecast)
    with pytest.raises(KeyboardInterrupt):
        advdpnp.evaluate(run, "table5", limit=7)
    # Clean, and 19 corruptions at 5 severities.
    assert counted == [7 * (1 + 19 * 5)]


def test_from_the_command_line(run: Path, short: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", str(run), "--suite", short, "--limit", "8") == 0
    told = capsys.readouterr()
    assert told.out.count("first 8 test images") == 2 and f"advdpnp report {run}" in told.err
    assert call("evaluate", str(run), "--suite", short, "--limit", "8", "--json") == 0
    assert [one["n"] for one in json.loads(capsys.readouterr().out)["evaluations"]] == [8, 8]


def test_a_network_in_memory_and_another_radius(short: str) -> None:
    x, y = data.load("digits", "test").batch(torch.arange(6))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    result = advdpnp.evaluate(model, x, y, suite=short, eps=0.2)
    assert [one["attacks"][0]["eps"] for one in result["evaluations"]] == ["51/255", "0.1"]


def test_of_an_external_network(tmp_path: Path, short: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "import torch\n\n\ndef net():\n    torch.manual_seed(0)\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
    )
    arguments = ["--model", f"{code}:net", "--untrained", "--data", "digits", "--out", str(tmp_path / "runs")]
    # The command line prints warnings itself.
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert call("evaluate", *arguments, "--suite", short, "--limit", "6") == 0
    stored = tmp_path / "runs/digits/net/foreign/seed-0/eval"
    assert sorted(path.name for path in stored.iterdir()) == ["pgd20.json", "text-eps-0.05.json"]
    assert "suite pgd20" in capsys.readouterr().out


def test_a_network_that_cannot_be_attacked_is_refused_in_a_line(
    tmp_path: Path, short: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--model", "torch.nn:Identity", "--own-weights", "--data", "digits", "--out", str(tmp_path)]
    assert call("evaluate", *arguments, "--suite", short, "--limit", "4") == 2
    text = capsys.readouterr().err
    assert "no forecast" in text and text.splitlines()[-1].startswith("advdpnp: ") and "Traceback" not in text


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--suite", "table0", "--norm", "l2"], "leave norm l2 out"),
        (["--suite", "table0", "--limit", "9999"], "--limit must be from 1 to 360"),
        (["--suite", "table0", "--attack", "pgd"], "'table0' reads like the suite table0"),
        (["--suite", "tabel0"], "nearest: table0"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    run: Path, short: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("evaluate", str(run), *arguments) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("advdpnp: ")]
    assert len(lines) == 1 and message in lines[0]


def test_one_evaluation_alone_is_no_table(run: Path, short: str) -> None:
    with pytest.raises(ValueError, match="table0 is several evaluations"):
        api.evaluate_run(run, short)


def test_the_tables_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("list", "suites") == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COLLECTIONS)
