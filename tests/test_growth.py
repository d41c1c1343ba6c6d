"""How cost grows: exponents, memory, going on, and a page that says what is stored."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from advdpnp.runs import Json, read_json
from growth import measure as measuring
from growth.axes import AXES, Axis, Setting
from growth.exponents import fitted
from growth.measure import measure
from growth.page import PAGE, STORED, exponents_table, page
from growth.works import head_work, prepared
from peaks import LiveTensors
from peers.memory_text import least_over_ours, table


def test_a_power_is_found_as_it_is() -> None:
    found = fitted([1, 2, 8], [3, 12, 192])
    assert found.value == pytest.approx(2) and found.error == pytest.approx(0, abs=1e-12)
    assert (found.least, found.most) == (1, 8)


def test_the_error_is_that_of_a_calculation_by_hand() -> None:
    # In powers of e: x = -1, 0, 1 and y = 0, 1, 0. The line is flat at 1/3; residuals -1/3, 2/3, -1/3, their squares
    # 2/3 over one degree of freedom, over the spread of x, 2.
    found = fitted([math.exp(-1), 1, math.e], [1, math.e, 1])
    assert found.value == pytest.approx(0) and found.error == pytest.approx(math.sqrt(1 / 3))


def test_two_points_have_no_error() -> None:
    found = fitted([1, 10], [1, 100])
    assert found.value == pytest.approx(2) and math.isnan(found.error)
    assert found.exceeds(1.8) and not found.exceeds(1.95)


@pytest.mark.parametrize(("x", "y"), [([1], [1]), ([2, 2], [1, 3]), ([1, 2], [0, 1])])
def test_what_has_no_exponent_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="an exponent needs two points or more, all above 0"):
        fitted(x, y)


def test_live_tensors_are_those_that_are_held() -> None:
    given = torch.zeros(1000)
    with LiveTensors() as live:
        held = given + 1
        held.add_(1)
        view = held[:10]
        del held
        assert live.now == live.most == 4000
        del view
        assert live.now == 0
        (given + 1) + 2
    assert live.most == 8000


def test_what_autograd_keeps_is_alive() -> None:
    x = torch.zeros(1000, requires_grad=True)
    with LiveTensors() as live:
        loss = x.exp().exp().sum()
        assert live.now == 8000 + 4
        del loss
        assert live.now == 0


def test_a_process_knows_its_peak_whatever_started_it() -> None:
    held = torch.ones(40 * 2**20)
    code = "import peaks; print(peaks.peak_memory(lambda: bytearray(b'x') * (20 * 2**20), False)['process'])"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert held.sum() > 0 and 19 < float(found.stdout) < 25


SMALL = Setting("attack", batch=4, side=8, steps=1, width=4)


@pytest.mark.parametrize("work", ["training step", "attack", "evaluation", "predictions", "epoch"])
def test_every_work_goes_over_its_images(work: str) -> None:
    setting = Setting(work, batch=4, side=8, steps=1, width=0, images=9)  # type: ignore[arg-type]
    run, images = prepared(setting)
    run()
    assert images == 9
    head_work(setting)()


def test_a_measurement_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axis, ran = Axis("batch", "images", (4, 8), (SMALL,), 0, 1), []

    def in_a_process(setting: Setting) -> Json:
        if len(ran) == 1 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        ran.append(setting.batch)
        memory = {"process": float(setting.batch), "tensors": 1.0}
        return {"images": setting.batch, "memory_mib": memory, "seconds": [1.0], "load_average": 0.0}

    monkeypatch.setattr(measuring, "_in_a_process", in_a_process)
    with pytest.raises(KeyboardInterrupt):
        measure(tmp_path / "growth.json", lambda line: None, [axis])
    (tmp_path / "again").touch()
    found = measure(tmp_path / "growth.json", lambda line: None, [axis])
    assert ran == [4, 8] and len(read_json(tmp_path / "growth.json")["axes"]["batch"]) == 2
    assert "| -1.00 | 0 | 1.00 | 1 |" in exponents_table(found)


def test_a_growth_above_the_works_is_bold() -> None:
    rows = [
        {"setting": Setting("attack", batch).json(), "images": batch, "seconds": [float(batch**2)]}
        | {"memory_mib": {"process": float(batch), "tensors": 1.0}}
        for batch in (8, 32)
    ]
    assert "| **1.00** | 0 | 1.00 | 1 |" in exponents_table({"axes": {"batch": rows}})


def test_the_floor_of_memory_is_that_of_the_leanest_of_the_others() -> None:
    sides = {"a": {"process": 30.0}, "b": {"process": 10.0}, "ours": {"process": 20.0}, "ours, bf16": {"process": 5.0}}
    group = {"title": "work", "sides": sides}
    assert least_over_ours(group) == 0.5
    assert "takes 0.50x of ours, **under the floor**" in table({"groups": {"work": group}})
    assert least_over_ours({"title": "work", "sides": {"a": {"process": 30.0}}}) is None


def test_the_page_says_what_is_stored() -> None:
    stored = read_json(STORED)
    assert set(stored["axes"]) <= {axis.name for axis in AXES}
    assert PAGE.read_text(encoding="utf-8") == page(stored)
