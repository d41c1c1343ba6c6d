"""docs/scaling.md holds what its script computes."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def scaling() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scaling", ROOT / "benchmarks/scaling.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_all_reduce_takes_what_a_calculation_by_hand_gives(scaling: ModuleType) -> None:
    cluster = scaling.Cluster()
    # 44.7 MB over 8 GPUs: 7/4 of it at 360 GB/s, and 30 us.
    assert cluster.all_reduce(44.7e6, 8) == pytest.approx(1.75 * 44.7e6 / 360e9 + 30e-6)
    # Over 64 machines, 63/32 of an eighth of it at 45 GB/s more, and six doublings of 24 us.
    more = 63 / 32 * 44.7e6 / 8 / 45e9 + 6 * 24e-6
    assert cluster.all_reduce(44.7e6, 512) == pytest.approx(cluster.all_reduce(44.7e6, 8) + more)
    assert cluster.all_reduce(44.7e6, 512) == pytest.approx(0.64e-3, rel=0.01)


def test_the_page_has_the_tables_of_the_script(scaling: ModuleType) -> None:
    page = (ROOT / "docs/scaling.md").read_text().splitlines()
    assert [line for line in scaling.tables() if line and line not in page] == []
