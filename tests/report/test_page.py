import json
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from advdpnp.report import write_report

MakeRun = Callable[..., Path]
VOID = {"meta", "img", "br", "link", "hr", "input"}


class Page(HTMLParser):
    """Checks nesting, and collects what the page loads, says and links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data.strip())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def page(full_runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write_report(full_runs, tmp_path_factory.mktemp("out")).read_text())


def test_the_page_is_well_formed_and_accessible(page: Page) -> None:
    assert page.open == []
    assert all(image["alt"] for image in page.attributes("img")) and len(page.attributes("img")) == 7
    assert all(head["scope"] in ("col", "row", "rowgroup") for head in page.attributes("th"))
    assert page.attributes("html")[0]["lang"] == "en"
    anchors = {link["href"] for link in page.attributes("a") if (link["href"] or "").startswith("#")}
    targets = {f"#{attributes['id']}" for _, attributes in page.tags if "id" in attributes}
    assert anchors <= targets and {f"#{section['id']}" for section in page.attributes("section")} <= anchors


def test_the_page_loads_nothing_from_outside(page: Page) -> None:
    assert {tag for tag, _ in page.tags} & {"link", "iframe", "object"} == set()
    assert page.attributes("script") == [{}]
    assert all((image["src"] or "").startswith("data:image/svg+xml;base64,") for image in page.attributes("img"))
    outside = [link["href"] for link in page.attributes("a") if "//" in (link["href"] or "")]
    assert outside == ["https://arxiv.org/abs/2504.03782"]


def test_the_page_says_whose_work_it_is_and_how_numbers_were_made(page: Page) -> None:
    assert "Independent implementation of arXiv 2504.03782 ; not by the paper's authors." in page.text
    assert "Adv-DPNP" in page.text and "360 test images" in page.text
    for fact in (
        "advdpnp train digits/tiny/at --seed 0",
        "torch 2.13.0",
        "5 of 110 epochs in 6.0 s",
        "commit 0123456789",
    ):
        assert fact in page.text


def test_the_same_runs_give_the_same_bytes_in_any_order(make_run: MakeRun, tmp_path: Path) -> None:
    folders = [make_run("adv-dpnp", everything=True), make_run("at")]
    for out, order in (("a", folders), ("b", folders[::-1])):
        write_report(order, tmp_path / out)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert {path.as_posix() for path in files} >= {"index.html", "results.csv", "results.tex"}
    assert sum(path.suffix == ".svg" for path in files) == 5
    assert all((tmp_path / "a" / path).read_bytes() == (tmp_path / "b" / path).read_bytes() for path in files)


def test_seeds_and_precision_of_the_attacks_are_told_with_how_numbers_were_made(
    make_run: MakeRun, tmp_path: Path
) -> None:
    folder = make_run()
    path = folder / "eval/demo.json"
    seeds = {"count": 3, "worst_case": {"mean": 0.5333, "spread": 0.0115}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seeds": seeds, "search_precision": "bf16"}))
    text = Page(write_report([folder], tmp_path / "out").read_text()).text
    assert "demo: 3 seeds of the attacks" in text and "worst case 53.3 % on average, spread 1.1" in text
    assert "fp32 (attacks searched in bf16), chunks of 128" in text


def test_what_was_not_measured_is_said(make_run: MakeRun, tmp_path: Path) -> None:
    page = Page(write_report([make_run(), make_run("st", suite=None)], tmp_path / "out").read_text())
    assert page.open == []
    assert "Not measured: ST, seed 0 (digits/tiny)." in page.text
    assert "Not measured Accuracy against the radius of the attack Geometry of the features Adversarial" in page.text
    assert page.attributes("img") == []


def test_text_from_results_is_escaped(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tag="<b>&")
    text = write_report([folder], tmp_path / "out", title="a < b").read_text()
    assert "<h1>a &lt; b</h1>" in text and "AT +&lt;b&gt;&amp;" in text and "<b>" not in text


def test_an_earlier_report_is_replaced_whole_and_no_temporary_file_stays(make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = write_report([make_run()], out, title="first").read_text()
    second = write_report([make_run("trades")], out, title="second").read_text()
    assert "first" in first and "second" in second and "<title>first" not in second
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_read_is_named_on_the_page_and_the_rest_is_there(make_run: MakeRun, tmp_path: Path) -> None:
    folder, broken, out = make_run(everything=True), make_run("st"), tmp_path / "out"
    path = folder / "eval" / "demo.json"
    path.write_text("{")
    (broken / "config.json").write_text("{")
    with pytest.warns(UserWarning, match="left out: ") as said:
        page = Page(write_report([folder, broken, tmp_path / "nothing"], out).read_text())
    assert page.open == [] and len(page.attributes("img")) == 4
    text = page.text[page.text.rindex("What could not be read") :]
    for name in (path, broken, tmp_path / "nothing"):
        assert str(name) in text and any(f"left out: {name}" in str(one.message) for one in said)
    assert "evaluate the run again" in text and "train the run again" in text and "is not there" in text


def test_without_a_run_that_can_be_read_an_earlier_report_stays(make_run: MakeRun, tmp_path: Path) -> None:
    folder, out = make_run(), tmp_path / "out"
    before = write_report([folder], out).read_text()
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"no run can be read: .*config\.json is damaged"):
        write_report([folder], out)
    assert (out / "index.html").read_text() == before


def test_importing_the_report_loads_no_heavy_library() -> None:
    heavy = "{'torch', 'numpy', 'matplotlib', 'jinja2'}"
    code = f"import sys, advdpnp.report; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
