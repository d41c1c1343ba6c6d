import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from advdpnp.report.site import write_site
from report.conftest import make_run_under
from report.test_page import Page

MakeRun = Callable[..., Path]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two folders of runs, one of other files, and a run that cannot be read."""
    root = tmp_path / "results"
    make_run_under(root / "first")("at", data="cifar10", backbone="resnet8")
    again = make_run_under(root / "second")
    again("at", data="cifar10", backbone="resnet8", clean=0.8)
    (again("st") / "config.json").write_text("{")
    (root / "benchmark").mkdir()
    (root / "benchmark" / "times.json").write_text("{}")
    return root


def test_a_site_has_a_report_for_each_folder_and_says_what_is_not_read(results: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="left out: "):
        index = write_site(results, tmp_path / "site")
    page = Page(index.read_text())
    assert page.open == [] and "2 folders of results, 2 runs" in page.text
    links = [link["href"] for link in page.attributes("a") if not (link["href"] or "").startswith("https:")]
    assert links == ["reproduction.html", "first/index.html", "second/index.html"]
    assert all((tmp_path / "site" / str(link)).is_file() for link in links)
    assert "What could not be read" in page.text and "config.json is damaged" in page.text
    # Of both folders, which hold the same method and seed.
    assert "AT [first" in (tmp_path / "site" / "reproduction.html").read_text()


def test_the_same_results_give_the_same_bytes(results: Path, tmp_path: Path) -> None:
    shutil.rmtree(results / "second")
    sites = [tmp_path / "a", tmp_path / "b"]
    for site in sites:
        write_site(results, site)
    files = sorted(path.relative_to(sites[0]) for path in sites[0].rglob("*") if path.is_file())
    assert len(files) >= 5
    assert all((sites[0] / path).read_bytes() == (sites[1] / path).read_bytes() for path in files)
