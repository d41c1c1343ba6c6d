import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from advdpnp.radii import radius_fields
from advdpnp.report import write_report
from advdpnp.report.radius_table import radius_table
from advdpnp.report.read import grouped, read_runs

MakeRun = Callable[..., Path]


def with_radii(folder: Path, *radii: float) -> Path:
    """The run with a search for the smallest eps in the place of its last attack."""
    (path,) = (folder / "eval").glob("*.json")
    result = json.loads(path.read_text())
    search = result["attacks"][-1] | {"name": "min-eps", "eps": "0.4", "steps": 10, "step_size": None}
    result["attacks"][-1] = search | radius_fields(np.array(radii, np.float32), 0.4)
    path.write_text(json.dumps(result))
    return folder


def test_a_line_has_the_quantiles_and_says_what_is_censored(make_run: MakeRun, tmp_path: Path) -> None:
    folder = with_radii(make_run(n=4), 0.1, 0.2, 0.0, float("inf"))
    (group,) = grouped(read_runs([folder]))
    table = radius_table(group)
    assert table is not None
    cells = dict(zip((column.head for column in table.columns), table.rows[0].cells, strict=True))
    assert cells["Search"].text.startswith("Min-eps-10: ℓ∞, ε = 0.4")
    assert cells["Median"].text == "0.2 (51/255)" and cells["5 %"].text == "0.1 (25.5/255)"
    assert cells["95 %"].text == "> 0.4" and cells["Mean"].text == "≥ 0.233 (59.5/255)"
    assert (cells["Right"].text, cells["Censored"].text) == ("3", "1")
    page = write_report([folder], tmp_path / "report").read_text()
    assert "The smallest eps of each image" in page and "0.2 (51/255)" in page


def test_other_results_have_no_such_part(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run()
    (group,) = grouped(read_runs([folder]))
    assert radius_table(group) is None
    assert "smallest eps" not in write_report([folder], tmp_path / "report").read_text()
